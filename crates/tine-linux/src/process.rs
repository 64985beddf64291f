//! A process held by its pidfd.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// `struct pidfd_info` of `linux/pidfd.h`, as it was first: later kernels fill what they are given room
/// for.
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pids: [u32; 3],
    ids: [u32; 8],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`.
const INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::Ioctl =
    (3 << 30 | (size_of::<PidfdInfo>() as libc::Ioctl) << 16 | 0xff << 8 | 0x0b) as libc::Ioctl;

/// A process held by descriptor, so that its number cannot come to mean another process.
///
/// The descriptor becomes readable when the process has ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit` with this code, `0…255`.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

impl Process {
    /// `pidfd_open(2)` — holds the process that has this number now.
    ///
    /// The caller must know that the number still means the process it has in mind: because it is
    /// the caller's own child and not waited for yet, or by looking at it again afterwards.
    ///
    /// # Errors
    ///
    /// `ESRCH` when there is no such process, `EINVAL` (`ENOENT` since Linux 6.9) when the number is
    /// that of a thread.
    ///
    /// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
    pub fn open(pid: Pid) -> io::Result<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, fd })
    }

    /// Takes over a pidfd of a process that had this number when it was opened: from whoever opened it.
    ///
    /// The number is believed: it is for `/proc` and for people, signals go by the descriptor.
    #[must_use]
    pub const fn adopt(pid: Pid, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// `PIDFD_GET_INFO` of [ioctl_pidfd(2)] — how a process ended that is no child of this one, once its
    /// parent has waited for it; `None` until then, and before Linux 6.15, which cannot tell.
    ///
    /// [ioctl_pidfd(2)]: https://man7.org/linux/man-pages/man2/PIDFD_GET_INFO.2const.html
    #[must_use]
    pub fn told_exit(&self) -> Option<Exit> {
        let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the request names the size of `PidfdInfo`, which is the kernel's first version of
        // `struct pidfd_info`; it reads and writes that many bytes of it during the call only.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_INFO, &raw mut info) };
        if done != 0 || info.mask & INFO_EXIT == 0 {
            return None;
        }
        // As wait(2) has it: the signal in the low seven bits, or the code above them.
        Some(match info.exit_code & 0x7f {
            0 => Exit::Code(u8::try_from(info.exit_code >> 8 & 0xff).unwrap_or(u8::MAX)),
            signal => Exit::Signal(signal),
        })
    }

    /// Its number: something to print, or to find it below `/proc` while it is held.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// `pidfd_send_signal(2)` — sends a signal to this process and to no other.
    ///
    /// # Errors
    ///
    /// `ESRCH` when it has ended and was waited for, `EPERM` when it is somebody else's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// `waitid(2)` with `P_PIDFD` — waits until it has ended, and takes the zombie away.
    ///
    /// # Errors
    ///
    /// `ECHILD` when it is not a child of this process, or was waited for already.
    pub fn wait(&self) -> io::Result<Exit> {
        let wait = || waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED);
        let status = rustix::io::retry_on_intr(wait)?;
        status.map(|status| exit_of(&status)).ok_or_else(|| rustix::io::Errno::CHILD.into())
    }

    /// `waitid(2)` with `P_PIDFD` — how it ended, or `None` while it runs. Takes the zombie away.
    ///
    /// # Errors
    ///
    /// `ECHILD` when it is not a child of this process, or was waited for already.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.fd.as_fd()), options)?;
        Ok(status.map(|status| exit_of(&status)))
    }
}

/// Reads what `waitid` told.
pub(crate) fn exit_of(status: &rustix::process::WaitIdStatus) -> Exit {
    if let Some(code) = status.exit_status() {
        // The kernel keeps the low eight bits only (`_exit(2)`).
        return Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
    }
    Exit::Signal(status.terminating_signal().unwrap_or(0))
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Exit {
    /// The exit code that a shell would show: a signal counts as 128 and its number.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

macro_rules! signals {
    ($($name:ident),+) => {
        /// The name of a signal, `SIGTERM` for 15; `None` for real-time signals.
        #[must_use]
        pub fn signal_name(number: i32) -> Option<&'static str> {
            $(if number == libc::$name { return Some(stringify!($name)); })+
            None
        }

        /// The signal of this name: `SIGTERM`, `TERM`, `term` or `15`.
        #[must_use]
        pub fn signal_from_name(name: &str) -> Option<Signal> {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
            $(if bare == &stringify!($name)[3..] { return Signal::from_named_raw(libc::$name); })+
            Signal::from_named_raw(name.parse().ok()?)
        }
    };
}

signals!(
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
    SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_with_and_without_prefix_and_by_number() {
        for name in ["SIGTERM", "TERM", "term", "15"] {
            assert_eq!(signal_from_name(name), Some(Signal::TERM));
        }
        assert_eq!(signal_from_name("SIGNOTHING"), None);
        assert_eq!(signal_name(9), Some("SIGKILL"));
    }

    #[test]
    fn how_a_process_ended_is_told_to_others_once_its_parent_has_waited() {
        for (script, end) in [("exit 7", Exit::Code(7)), ("kill -9 $$", Exit::Signal(9))] {
            let mut shell = std::process::Command::new("/bin/sh");
            let mut child = shell.args(["-c", script]).spawn().expect("a shell");
            let pid = Pid::from_child(&child);
            let process = Process::open(pid).expect("a child");
            let other = Process::adopt(pid, process.as_fd().try_clone_to_owned().expect("room"));
            child.wait().expect("a child");
            // Before Linux 6.15 nobody knows.
            assert!(other.told_exit().is_none_or(|told| told == end), "{:?}", other.told_exit());
        }
    }

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
        assert_eq!(Exit::Signal(9).to_string(), "was killed by SIGKILL");
        assert_eq!(Exit::Signal(9).shell_code(), 137);
    }
}
