//! Forks a young process into a watchdog and what it watches, and lets one go on as another program.

use std::{
    ffi::{CString, OsStr, c_int},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    process::{Pid, Signal},
};

use crate::{checked, process::Process};

/// Which of the two this process has become.
#[derive(Debug)]
pub enum Side {
    /// The parent; holds the child.
    Watchdog(Process),
    /// The child; gets the signal that was agreed on, if one was, when the parent ends.
    Watched,
}

/// `fork(2)` — splits this process in two that go on from here.
///
/// # Errors
///
/// When the process has threads already (a fork would lose them, and any lock they hold), or the
/// kernel refuses.
pub fn split(when_parent_ends: Option<Signal>) -> io::Result<Side> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with threads cannot be split"));
    }
    let parent = rustix::process::getpid();
    // SAFETY: this is the only thread, so the child is a complete copy of this process and may go on
    // like any single-threaded program.
    let pid = checked(unsafe { libc::fork() })?;
    match Pid::from_raw(pid) {
        Some(child) => Ok(Side::Watchdog(Process::open(child)?)),
        None => watched(parent, when_parent_ends),
    }
}

fn watched(parent: Pid, signal: Option<Signal>) -> io::Result<Side> {
    rustix::process::set_parent_process_death_signal(signal)?;
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::other("the watchdog ended at once"));
    }
    Ok(Side::Watched)
}

/// A signal that this process was sent, with who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number.
    pub number: i32,
    /// It came from the terminal (or the kernel otherwise), which sends it to the whole foreground
    /// process group, children included.
    pub from_kernel: bool,
}

/// The signals that a watchdog waits for, blocked so that none is lost.
#[derive(Clone, Debug)]
pub struct Inbox {
    set: libc::sigset_t,
}

impl Inbox {
    /// `sigprocmask(2)` — blocks `signals` in this thread, to be taken by [`Self::next`].
    ///
    /// # Errors
    ///
    /// As the call tells.
    pub fn open(signals: &[i32]) -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: writes the set that it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the call before.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: `set` is a valid set; a number that is no signal is refused.
            checked(unsafe { libc::sigaddset(&raw mut set, *signal) })?;
        }
        // SAFETY: `set` is valid for the call; the old mask is not asked for.
        checked(unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())
        })?;
        Ok(Self { set })
    }

    /// `sigprocmask(2)` — lets the signals through again, for the watched side.
    ///
    /// # Errors
    ///
    /// As the call tells.
    pub fn close(self) -> io::Result<()> {
        let set = &raw const self.set;
        // SAFETY: `set` is valid for the call; the old mask is not asked for.
        checked(unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, set, std::ptr::null_mut()) })?;
        Ok(())
    }

    /// `sigwaitinfo(2)` — waits for the next of them.
    ///
    /// # Errors
    ///
    /// As the call tells; never `EINTR`.
    pub fn next(&self) -> io::Result<Sent> {
        loop {
            let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: `set` is a valid set and `info` is writable for the call.
            let number = unsafe { libc::sigwaitinfo(&raw const self.set, info.as_mut_ptr()) };
            if number < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            // SAFETY: zeroed at first and filled by the kernel; every field is an integer or bytes.
            let info = unsafe { info.assume_init() };
            return Ok(Sent { number, from_kernel: info.si_code == libc::SI_KERNEL });
        }
    }
}

impl Inbox {
    /// `signalfd(2)` — the same, for who waits for other things as well.
    ///
    /// # Errors
    ///
    /// As the call tells.
    ///
    /// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html)
    pub fn descriptor(&self) -> io::Result<SignalFd> {
        let set = &raw const self.set;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `set` is valid for the call, which copies it; -1 asks for a new descriptor.
        let number = checked(unsafe { libc::signalfd(-1, set, flags) })?;
        // SAFETY: the call has just made it, and nobody else knows of it.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(number) }))
    }
}

/// Readable while one of an [`Inbox`]'s signals waits.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// `read(2)` — the next signal, if one waits.
    ///
    /// # Errors
    ///
    /// As the call tells.
    pub fn next(&self) -> io::Result<Option<Sent>> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut info));
        match read {
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Ok(length) if length == info.len() => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error.into()),
        }
        // `ssi_signo` is the first field, `ssi_code` the third; each has four bytes.
        let field = |at: usize| [info[at], info[at + 1], info[at + 2], info[at + 3]];
        let (number, code) = (i32::from_ne_bytes(field(0)), i32::from_ne_bytes(field(8)));
        Ok(Some(Sent { number, from_kernel: code == libc::SI_KERNEL }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a descriptor is called in this process: for [`take_over`] in the program that comes next.
#[must_use]
pub fn number_of(descriptor: impl AsFd) -> i32 {
    descriptor.as_fd().as_raw_fd()
}

/// `execv(2)` — goes on as another program, in the same process, with these descriptors and the
/// environment and the signal mask of now. Comes back only if that fails; nothing is different then.
///
/// Other threads end. If there are any, none of them may start a process meanwhile: it would get the
/// descriptors too.
///
/// [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html)
#[must_use]
pub fn become_program(program: &Path, args: &[&OsStr], kept: &[BorrowedFd<'_>]) -> io::Error {
    let all = [program.as_os_str()].into_iter().chain(args.iter().copied());
    let words: Result<Vec<CString>, _> = all.map(|word| CString::new(word.as_bytes())).collect();
    let Ok(words) = words else { return io::ErrorKind::InvalidInput.into() };
    let ends = [std::ptr::null()];
    let pointers: Vec<_> = words[1..].iter().map(|word| word.as_ptr()).chain(ends).collect();
    if let Err(error) = kept.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty())) {
        return error.into();
    }
    // SAFETY: the path ends with a zero, and so do the words that `pointers` points to, which ends with a
    // null pointer; all of them live in `words` until the call comes back, if it ever does.
    let _ = unsafe { libc::execv(words[0].as_ptr(), pointers.as_ptr()) };
    let error = io::Error::last_os_error();
    for fd in kept {
        // It was possible a moment ago, and the descriptor is borrowed since.
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
    error
}

/// Takes a descriptor that the program before has left to this one ([`become_program`]).
///
/// What was left has no `FD_CLOEXEC`; all that is opened in this program has it, and so has what was
/// taken before. So each is taken once, and nothing that has an owner already.
///
/// # Errors
///
/// When the number is that of nothing, of one of the three standard streams, or of something else.
pub fn take_over(number: c_int) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::other("the standard streams belong to everybody"));
    }
    // SAFETY: not negative, and only looked at: a number that is nothing is refused by the kernel.
    let seen = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(seen)?.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::other("this descriptor was not left by the program before"));
    }
    fcntl_setfd(seen, FdFlags::CLOEXEC)?;
    // SAFETY: without `FD_CLOEXEC` it came from the program before, and was not taken yet: it has no
    // other owner, and since it has the flag it cannot be taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
