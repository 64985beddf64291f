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
    /// How many words it is.
    pub const WORDS: usize = 5;

    /// For another process that has the same listener, which can answer it then.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let pid = self.thread.map_or(0, Pid::as_raw_pid);
        let (kind, fd, place, number) = match self.call {
            Call::Bind { fd, address, length } => (1, fd, address, length),
            Call::Listen { fd, backlog } => (2, fd, 0, backlog.cast_unsigned()),
            Call::SetV6Only { fd, value } => (3, fd, value, 0),
            Call::Other => (4, 0, 0, 0),
        };
        [
            self.id,
            pair(pid.cast_unsigned(), kind),
            pair(fd.cast_unsigned(), number),
            place,
            !self.id,
        ]
    }

    /// What was made of one; `None` if these words were not, or not as a whole.
    #[must_use]
    pub fn from_words(words: [u64; Self::WORDS]) -> Option<Self> {
        let [id, first, second, place, check] = words;
        let ((pid, kind), (fd, number)) = (halves(first), halves(second));
        let fd = fd.cast_signed();
        let call = match kind {
            1 => Call::Bind { fd, address: place, length: number },
            2 => Call::Listen { fd, backlog: number.cast_signed() },
            3 => Call::SetV6Only { fd, value: place },
            4 => Call::Other,
            _ => return None,
        };
        (check == !id).then_some(Self { id, thread: Pid::from_raw(pid.cast_signed()), call })
    }

    /// No other of the same listener has it.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    fn read(words: &[u64]) -> Self {
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

/// Two fields of 32 bits that share a word.
#[expect(clippy::cast_possible_truncation, reason = "each takes its half")]
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_the_same_after_it_was_words() {
        let calls = [
            Call::Bind { fd: 7, address: u64::MAX - 9, length: 28 },
            Call::Listen { fd: -1, backlog: -5 },
            Call::SetV6Only { fd: i32::MAX, value: 1 << 40 },
            Call::Other,
        ];
        for call in calls {
            let one = Notification { id: u64::MAX - 3, thread: Pid::from_raw(4711), call };
            assert_eq!(Notification::from_words(one.to_words()), Some(one));
        }
        let stranger = Notification { id: 1, thread: None, call: calls[0] };
        assert_eq!(Notification::from_words(stranger.to_words()), Some(stranger));
        assert_eq!(Notification::from_words([0; Notification::WORDS]), None);
        let mut half = stranger.to_words();
        half[0] = 2;
        assert_eq!(Notification::from_words(half), None);
    }
}
