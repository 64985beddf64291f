//! `READY=1` in the way of `sd_notify(3)`, for programs that know service managers and not us.
//!
//! Where workers are to say that they are ready, each finds a datagram socket of its own in
//! `NOTIFY_SOCKET`. Its name is abstract, so that a worker with another user, or in another root, reaches
//! it as well, and nothing has to be removed. Anybody on this machine might write there: the kernel tells
//! who did ([unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), `SO_PASSCRED`), and only
//! processes of the worker itself are believed. Of what is said only that word counts.

use std::{
    ffi::OsString,
    hash::{BuildHasher, RandomState},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt},
    process::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::AbortHandle,
    time::sleep,
};

use super::{input::News, ready, task::Task};
use crate::id::WorkerId;

/// Where a program looks for the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Longer than what any program says.
const MOST: usize = 4096;
/// Messages are taken no faster than this: looking up who is meant costs more than sending.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket for a worker that is about to start.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    /// Without the zero byte before it.
    name: String,
}

impl Socket {
    /// Bound, and the kernel tells who writes to it.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub(super) fn open() -> io::Result<Self> {
        // Nobody can have taken a name that cannot be guessed.
        let name = format!("tine-notify-{:016x}", RandomState::new().hash_one(std::process::id()));
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self { fd: socket.into(), name })
    }

    /// For the worker's environment: `@` stands for the zero byte.
    pub(super) fn variable(&self) -> (OsString, OsString) {
        (VARIABLE.into(), format!("@{}", self.name).into())
    }

    /// Tells whenever somebody says `READY=1`, as long as the result lives.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch one more descriptor.
    pub(super) fn watch(self, worker: WorkerId, tell: mpsc::Sender<News>) -> io::Result<Watch> {
        let fd = ready::watch(self.fd, Interest::READABLE)?;
        let task = tokio::spawn(async move {
            while let Some(sender) = next_sender(&fd).await {
                if tell.send(News::SaysReady(worker, sender)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Watch(task.abort_handle()))
    }
}

/// Ends with the worker.
#[derive(Debug)]
pub(super) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The next process that says it is ready.
async fn next_sender(fd: &AsyncFd<OwnedFd>) -> Option<Pid> {
    loop {
        let mut ready = fd.readable().await.ok()?;
        match ready.try_io(receive) {
            Ok(Ok(Some(sender))) => return Some(sender),
            Ok(Ok(None)) => sleep(PAUSE).await,
            // Nothing is known of such an error, and it would come again at once.
            Ok(Err(_)) => return None,
            Err(_would_block) => {}
        }
    }
}

/// Who has sent it, if it says so.
fn receive(fd: &AsyncFd<OwnedFd>) -> io::Result<Option<Pid>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; MOST];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    // Descriptors that come with it have no room, and the kernel closes them: that is what a
    // `BARRIER=1` waits for.
    let got = recvmsg(fd, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
        _ => None,
    });
    let whole = !got.flags.contains(ReturnFlags::TRUNC);
    let says = whole && says_ready(&bytes[..got.bytes.min(MOST)]);
    Ok(sender.filter(|_| says))
}

/// Lines of `NAME=value`.
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

impl Task {
    /// Somebody says that the worker is ready.
    pub(super) fn said_ready_by(&mut self, id: WorkerId, sender: Pid) {
        let Some(worker) = self.workers.get(&id).filter(|worker| !worker.said_ready) else {
            return;
        };
        if worker.pid() == sender {
            return self.says_ready(id);
        }
        // It may be a child of a moment ago.
        let table = if worker.has_cgroup() {
            self.table_for(id)
        } else {
            self.table_since(Some(Instant::now()))
        };
        let worker = self.workers.get(&id);
        if worker.is_some_and(|worker| worker.members(&table).contains(&sender)) {
            self.says_ready(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_counts_among_whatever_lines() {
        assert!(says_ready(b"READY=1") && says_ready(b"STATUS=up\nREADY=1\n"));
        for other in [&b""[..], b"READY=0", b"XREADY=1", b"READY=10", b"STATUS=READY=1"] {
            assert!(!says_ready(other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn the_kernel_tells_who_has_said_so() {
        let socket = Socket::open().expect("there are descriptors");
        let (_, name) = socket.variable();
        let name = name.to_str().expect("it is ours").trim_start_matches('@').to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let client = UnixDatagram::unbound().expect("there are descriptors");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            client.send_to_addr(b"STATUS=nearly", &address).expect("it is bound");
            client.send_to_addr(b"READY=1", &address).expect("it is bound");
            let fd = ready::watch(socket.fd, Interest::READABLE).expect("it is watched");
            assert_eq!(next_sender(&fd).await, Some(rustix::process::getpid()));
        });
    }
}
