//! Sockets that a process was started with, claimed by the name of the environment variable that
//! holds their number.
//!
//! Neither std nor rustix can do this safely: a number says nothing about who owns it. What makes it
//! sound here is that the kernel tells inherited descriptors from others. Those that survived
//! `execve` have no `FD_CLOEXEC`; everything that std and rustix open in this process has it, and so
//! has what was claimed before. So only a descriptor without the flag is taken, and taking it sets
//! the flag.

use std::{
    env::{self, VarError},
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::fstat,
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::{AddressFamily, SocketType, sockopt},
};
use thiserror::Error;

/// One claim at a time: between reading the flag and setting it another thread must not read it.
static CLAIMING: Mutex<()> = Mutex::new(());

/// Why an inherited socket could not be claimed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The variable is there and names no descriptor.
    #[error("{name}={value:?} is no number of an inherited descriptor")]
    Number {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// The number is that of nothing, or of something that was not inherited.
    #[error("{name}: descriptor {number} was not inherited, or was claimed before")]
    NotInherited {
        /// The variable.
        name: String,
        /// The number in it.
        number: c_int,
    },
    /// The number has come to mean something else, as in a grandchild that got the variable only.
    #[error("{name}: descriptor {number} is not the socket that was meant")]
    Other {
        /// The variable.
        name: String,
        /// The number in it.
        number: c_int,
    },
    /// The descriptor could not be looked at.
    #[error("{name}: look at descriptor {number}")]
    Io {
        /// The variable.
        name: String,
        /// The number in it.
        number: c_int,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Claims the UNIX stream socket whose number the environment variable `name` holds: once, and it is
/// `CLOEXEC` from then on. `None` if there is no such variable.
///
/// The value is the number, or `number:inode` to have the socket's inode checked as well, in the
/// manner of systemd's `JOURNAL_STREAM`: children of the process inherit the variable, but not the
/// socket. 0, 1 and 2 belong to std and are refused.
///
/// # Errors
///
/// When the variable is set but what it names was not inherited, was claimed before, or is not such
/// a socket.
pub fn claim(name: &str) -> Result<Option<OwnedFd>, ClaimError> {
    let value = match env::var(name) {
        Ok(value) => value,
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(value)) => value.to_string_lossy().into_owned(),
    };
    let Some((number, inode)) = parse(&value) else {
        return Err(ClaimError::Number { name: name.to_owned(), value });
    };
    take(name, number, inode).map(Some)
}

fn parse(value: &str) -> Option<(c_int, Option<u64>)> {
    let (number, inode) = match value.split_once(':') {
        Some((number, inode)) => (number, Some(inode.parse().ok()?)),
        None => (value, None),
    };
    let number = number.parse().ok().filter(|&number| number > libc::STDERR_FILENO)?;
    Some((number, inode))
}

fn take(name: &str, number: c_int, inode: Option<u64>) -> Result<OwnedFd, ClaimError> {
    let name = name.to_owned();
    let _one_at_a_time = CLAIMING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `F_GETFD` takes no pointer, and with a number that is not open it only fails.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 || flags & libc::FD_CLOEXEC != 0 {
        return Err(ClaimError::NotInherited { name, number });
    }
    // SAFETY: the number was open a moment ago and without `FD_CLOEXEC`, so it is one that `execve`
    // left us and that nobody in this process owns: owners in Rust open with the flag, and `claim`
    // sets it under the lock that is held here. Hence nobody closes it while this borrow lives,
    // which is not beyond this function. The number is above 2, so never -1.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    match is_the_one(fd, inode) {
        Ok(true) => {}
        Ok(false) => return Err(ClaimError::Other { name, number }),
        Err(source) => return Err(ClaimError::Io { name, number, source }),
    }
    fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|error| ClaimError::Io {
        name,
        number,
        source: error.into(),
    })?;
    debug_assert!(fcntl_getfd(fd).is_ok_and(|flags| flags.contains(FdFlags::CLOEXEC)));
    // SAFETY: as above nobody owned it, and from now on its flag keeps `claim` from giving it to a
    // second owner. It is an ordinary descriptor, closed by `close`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) })
}

fn is_the_one(fd: BorrowedFd<'_>, inode: Option<u64>) -> io::Result<bool> {
    let stat = fstat(fd)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Ok(false);
    }
    Ok(inode.is_none_or(|inode| inode == stat.st_ino)
        && sockopt::socket_domain(fd)? == AddressFamily::UNIX
        && sockopt::socket_type(fd)? == SocketType::STREAM)
}

/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC` — keeps every descriptor above standard error from the
/// programs that this process executes: those too that it was started with and that nobody claimed.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.11.
///
/// [close_range(2)](https://man7.org/linux/man-pages/man2/close_range.2.html)
pub fn keep_from_children() -> io::Result<()> {
    let (first, last) = (libc::STDERR_FILENO + 1, libc::c_uint::MAX);
    // SAFETY: with this flag the call closes nothing; it sets `FD_CLOEXEC`, which takes no descriptor away
    // from whoever owns it in this process.
    let rc =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_number_above_stderr_and_perhaps_an_inode() {
        assert_eq!(parse("3"), Some((3, None)));
        assert_eq!(parse("17:4026531840"), Some((17, Some(4_026_531_840))));
        for wrong in ["", "2", "0", "-1", "3:", ":3", "three", "3:x", "99999999999"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    fn inherited(fd: &OwnedFd) {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        (ours.into(), theirs.into())
    }

    #[test]
    fn a_socket_is_claimed_once_and_closed_on_exec_from_then_on() {
        let (_ours, theirs) = pair();
        inherited(&theirs);
        let inode = fstat(&theirs).unwrap().st_ino;
        let number = std::os::fd::IntoRawFd::into_raw_fd(theirs);
        let claimed = take("X", number, Some(inode)).unwrap();
        assert!(fcntl_getfd(&claimed).unwrap().contains(FdFlags::CLOEXEC));
        let again = take("X", number, None).unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("X: descriptor {number} was not inherited, or was claimed before")
        );
    }

    #[test]
    fn what_was_opened_here_is_not_taken_from_its_owner() {
        let (_ours, theirs) = pair();
        let refused = take("X", theirs.as_raw_fd(), None).unwrap_err();
        assert!(matches!(refused, ClaimError::NotInherited { .. }), "{refused}");
    }

    #[test]
    fn another_thing_under_the_number_is_refused_and_left_alone() {
        let (_ours, theirs) = pair();
        inherited(&theirs);
        let wrong_inode = take("X", theirs.as_raw_fd(), Some(1)).unwrap_err();
        assert!(matches!(wrong_inode, ClaimError::Other { .. }), "{wrong_inode}");
        let udp = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for fd in [&udp, &file] {
            inherited(fd);
            let refused = take("X", fd.as_raw_fd(), None).unwrap_err();
            assert!(matches!(refused, ClaimError::Other { .. }), "{refused}");
            assert!(!fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC), "left as it was");
        }
    }

    #[test]
    fn without_the_variable_there_is_nothing_to_claim() {
        assert!(claim("TINE_TEST_NO_SUCH_VARIABLE").unwrap().is_none());
    }
}
