//! The supervisor's end of the trap: receive a question, answer it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{io::Errno, process::Pid};

use super::Call;
use crate::checked;

/// The descriptor on which the trapped calls of one tree of processes arrive.
///
/// Readable when a call waits; "hung up" when no process with the filter is left: the whole tree is
/// gone, however its members were started.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// Room for one notification, at the size the running kernel uses, in words for alignment.
    room: usize,
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    id: u64,
    /// The thread that made the call; not necessarily the leader of its process. `None` when the
    /// caller lives in a pid namespace that this process cannot see.
    pub thread: Option<Pid>,
    /// What it asked for.
    pub call: Call,
}

/// `struct seccomp_notif` as of Linux 5.0, in 64-bit words: id, pid and flags, nr and arch,
/// instruction pointer, six arguments.
const NOTIF_WORDS: usize = 10;

const fn request(direction: u32, number: u32, size: u32) -> libc::Ioctl {
    ((direction << 30) | (size << 16) | ((b'!' as u32) << 8) | number) as libc::Ioctl
}
const READ_WRITE: u32 = 3;
const WRITE: u32 = 1;
const NOTIF_RECV: libc::Ioctl = request(READ_WRITE, 0, 80);
const NOTIF_SEND: libc::Ioctl = request(READ_WRITE, 1, 24);
const NOTIF_ID_VALID: libc::Ioctl = request(WRITE, 2, 8);
const NOTIF_ADDFD: libc::Ioctl = request(WRITE, 3, 24);

/// Let the call go on in the kernel as if there were no trap.
const FLAG_CONTINUE: u32 = 1;
/// Put the descriptor at a given number, replacing what is there.
const ADDFD_SETFD: u32 = 1;

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

impl Listener {
    /// Takes the descriptor that `seccomp(2)` with `SECCOMP_FILTER_FLAG_NEW_LISTENER` gave.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell the sizes of its notifications.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd, room: notification_words()? })
    }

    /// `SECCOMP_IOCTL_NOTIF_RECV` — takes the next waiting call, or `None` when its caller was killed
    /// meanwhile. Blocks when none waits: call it when the descriptor is readable.
    ///
    /// # Errors
    ///
    /// As the ioctl tells.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        // The kernel wants the buffer zeroed.
        let mut words = vec![0u64; self.room];
        // SAFETY: `words` is zeroed, aligned for the struct and at least as long as the running
        // kernel said its `struct seccomp_notif` is; the kernel writes into it during the call only.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_RECV, words.as_mut_ptr()) };
        match checked(rc) {
            Ok(_) => Ok(Some(Notification::read(&words))),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::INTR) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// `SECCOMP_IOCTL_NOTIF_ID_VALID` — whether the caller still waits. What was read from the caller
    /// by its number is to be believed only if this is true afterwards.
    #[must_use]
    pub fn is_waiting(&self, notification: &Notification) -> bool {
        let id = notification.id;
        // SAFETY: `id` is a live u64 for the whole call; the kernel reads eight bytes.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_ID_VALID, &raw const id) };
        rc == 0
    }

    /// Answers with the result of the call: 0, or the error that the caller shall see.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the caller no longer waits.
    pub fn answer(&self, to: &Notification, result: Result<(), Errno>) -> io::Result<()> {
        let error = result.map_or_else(|errno| -errno.raw_os_error(), |()| 0);
        self.respond(&Response { id: to.id, value: 0, error, flags: 0 })
    }

    /// Lets the kernel carry out the call as the caller made it.
    ///
    /// The caller could change its arguments meanwhile: fit for "this is not my business", not for
    /// checking rights.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the caller no longer waits.
    pub fn pass(&self, notification: &Notification) -> io::Result<()> {
        self.respond(&Response { id: notification.id, value: 0, error: 0, flags: FLAG_CONTINUE })
    }

    fn respond(&self, response: &Response) -> io::Result<()> {
        let response: *const Response = response;
        // SAFETY: `response` points to a live struct of the size that the request number carries;
        // the kernel copies it.
        checked(unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_SEND, response) })?;
        Ok(())
    }

    /// `SECCOMP_IOCTL_NOTIF_ADDFD` with `SETFD` — puts `socket` in place of the caller's descriptor
    /// `number`, close-on-exec as asked. The caller still waits for its answer.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the caller no longer waits, `EBADF` when `number` is out of its range.
    pub fn replace(
        &self,
        notification: &Notification,
        number: i32,
        socket: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> io::Result<()> {
        let valid = |number: i32| u32::try_from(number).map_err(|_| io::Error::from(Errno::BADF));
        let (source, target) = (valid(socket.as_raw_fd())?, valid(number)?);
        let target_flags = if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 };
        let add = AddFd { id: notification.id, flags: ADDFD_SETFD, source, target, target_flags };
        // SAFETY: `add` is a live struct of the size that the request number carries, and `source`
        // in it is kept open by the borrow; the kernel copies the struct.
        checked(unsafe { libc::ioctl(self.fd.as_raw_fd(), NOTIF_ADDFD, &raw const add) })?;
        Ok(())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Notification {
    fn read(words: &[u64]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "two 32-bit fields share a word")]
        let halves = |word: u64| (word as u32, (word >> 32) as u32);
        let (pid, _flags) = halves(words[1]);
        let (nr, _arch) = halves(words[2]);
        let args = std::array::from_fn(|n| words[4 + n]);
        Self {
            id: words[0],
            thread: Pid::from_raw(pid.cast_signed()),
            call: Call::read(nr.cast_signed(), args),
        }
    }
}

/// `SECCOMP_GET_NOTIF_SIZES` — how much room the running kernel needs; never less than we read.
fn notification_words() -> io::Result<usize> {
    let mut sizes = [0u16; 3];
    // SAFETY: `struct seccomp_notif_sizes` is three u16; the array is live and writable for the call.
    let rc = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, sizes.as_mut_ptr())
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::from(sizes[0]).div_ceil(8).max(NOTIF_WORDS))
}
