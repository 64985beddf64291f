//! Looks into workers, with somebody's help where this process may not.
//!
//! `pidfd_getfd(2)` and `process_vm_readv(2)` take the right to trace. Yama (`ptrace_scope` 1, as Ubuntu has it)
//! gives an ordinary user that right over its own descendants only: over the workers that this process has
//! started, and not over those that it took over from another one. An ancestor of both may do it for it.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{io::Errno, process::Pid};
use tine_linux::{foreign, process::Process};

/// Looks into workers for a primary that may not do so itself: a process that is their ancestor.
///
/// Both methods are called from the cluster's own task, which serves nobody meanwhile: they must answer, or
/// give up, within a fraction of a second.
pub trait Reach: fmt::Debug + Send + Sync {
    /// `pidfd_getfd(2)` — a duplicate of the process's descriptor of this number.
    ///
    /// # Errors
    ///
    /// The kernel's, or why nobody could be asked.
    fn duplicate(&self, of: &Process, number: i32) -> io::Result<OwnedFd>;

    /// `process_vm_readv(2)` — what lies at that address of the thread's process, as long as `into`.
    ///
    /// # Errors
    ///
    /// The kernel's, or why nobody could be asked.
    fn read_memory(&self, of: Pid, address: u64, into: &mut [u8]) -> io::Result<()>;
}

/// What this process can see of its workers, by itself or by somebody else.
#[derive(Debug)]
pub(super) struct Sight {
    by: Option<Arc<dyn Reach>>,
    /// Who was asked may not, either, or does not answer. All workers run the same program as the same
    /// user, so that holds for the next one as well.
    no_descriptors: AtomicBool,
    no_memory: AtomicBool,
}

impl Sight {
    pub(super) const fn new(by: Option<Arc<dyn Reach>>) -> Self {
        Self { by, no_descriptors: AtomicBool::new(false), no_memory: AtomicBool::new(false) }
    }

    pub(super) fn duplicate(&self, of: &Process, number: i32) -> io::Result<OwnedFd> {
        let own = foreign::duplicate(of, number);
        self.or_by_another(own, &self.no_descriptors, |reach| reach.duplicate(of, number))
    }

    pub(super) fn read_memory(&self, of: Pid, address: u64, into: &mut [u8]) -> io::Result<()> {
        let own = foreign::read_memory(of, address, into);
        self.or_by_another(own, &self.no_memory, |reach| reach.read_memory(of, address, into))
    }

    fn or_by_another<T>(
        &self,
        own: io::Result<T>,
        in_vain: &AtomicBool,
        ask: impl FnOnce(&dyn Reach) -> io::Result<T>,
    ) -> io::Result<T> {
        let refusal = match own {
            Err(refusal) if is_forbidden(&refusal) => refusal,
            other => return other,
        };
        let Some(reach) = &self.by else { return Err(refusal) };
        if in_vain.load(Ordering::Relaxed) {
            return Err(refusal);
        }
        match ask(reach.as_ref()) {
            Err(error) if is_forbidden(&error) || is_silence(&error) => {
                in_vain.store(true, Ordering::Relaxed);
                Err(refusal)
            }
            answer => answer,
        }
    }
}

/// A filter answers `EPERM` or `ENOSYS`; a security module `EACCES`.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS))
}

/// Nobody is there, or whoever is does not run.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    matches!(error.kind(), TimedOut | BrokenPipe | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug)]
    struct Answers {
        with: Errno,
        asked: AtomicUsize,
    }

    impl Reach for Answers {
        fn duplicate(&self, _: &Process, _: i32) -> io::Result<OwnedFd> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Err(self.with.into())
        }

        fn read_memory(&self, _: Pid, _: u64, into: &mut [u8]) -> io::Result<()> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            into.fill(7);
            Ok(())
        }
    }

    fn asked(with: Errno) -> (Sight, Arc<Answers>) {
        let answers = Arc::new(Answers { with, asked: AtomicUsize::new(0) });
        (Sight::new(Some(answers.clone())), answers)
    }

    fn refused() -> io::Result<u8> {
        Err(Errno::PERM.into())
    }

    fn ask(sight: &Sight, own: io::Result<u8>) -> io::Result<u8> {
        sight.or_by_another(own, &sight.no_memory, |reach| {
            let mut byte = [0];
            reach.read_memory(rustix::process::getpid(), 0, &mut byte)?;
            Ok(byte[0])
        })
    }

    #[test]
    fn another_is_asked_where_this_process_may_not_and_nowhere_else() {
        let (sight, answers) = asked(Errno::PERM);
        assert_eq!(ask(&sight, Ok(1)).ok(), Some(1));
        assert!(ask(&sight, Err(Errno::FAULT.into())).is_err());
        assert_eq!(answers.asked.load(Ordering::Relaxed), 0);
        assert_eq!(ask(&sight, refused()).ok(), Some(7));
        assert_eq!(ask(&sight, refused()).ok(), Some(7));
        assert_eq!(answers.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_may_not_either_is_not_asked_again_and_who_found_nothing_is() {
        for (errno, times) in [(Errno::PERM, 1), (Errno::TIMEDOUT, 1), (Errno::BADF, 3)] {
            let (sight, answers) = asked(errno);
            let own = Process::open(rustix::process::getpid()).expect("it is there");
            for _ in 0..3 {
                let ask = |reach: &dyn Reach| reach.duplicate(&own, 0).map(|_| 0);
                let answer = sight.or_by_another(refused(), &sight.no_descriptors, ask);
                assert!(answer.is_err());
            }
            assert_eq!(answers.asked.load(Ordering::Relaxed), times, "{errno}");
            assert_eq!(ask(&sight, refused()).ok(), Some(7), "memory is another matter");
        }
    }
}
