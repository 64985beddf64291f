//! Accepts connections for hand-over.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{io::Errno, net::SocketFlags};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
};

use super::{input::News, ready};
use crate::id::ListenerId;

/// After the descriptors ran out: how long until the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether connections are accepted now. Accepting ends when this is dropped.
#[derive(Debug)]
pub(super) struct Gate(Option<watch::Sender<bool>>);

impl Gate {
    pub(super) fn set(&self, open: bool) {
        if let Some(sender) = &self.0 {
            sender.send_if_modified(|was| std::mem::replace(was, open) != open);
        }
    }

    /// Ends accepting.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}

/// Accepts from `socket` until the gate is dropped.
pub(super) fn start(listener: ListenerId, socket: OwnedFd, tell: mpsc::Sender<News>) -> Gate {
    let (gate, open) = watch::channel(true);
    tokio::spawn(async move {
        let Ok(socket) = ready::watch(socket, Interest::READABLE) else { return };
        let mut closed = open.clone();
        let work = accept(listener, socket, open, tell);
        tokio::select! {
            () = work => (),
            // Only the end of the sender ends this wait.
            () = async { while closed.changed().await.is_ok() {} } => (),
        }
    });
    Gate(Some(gate))
}

async fn accept(
    listener: ListenerId,
    socket: AsyncFd<OwnedFd>,
    mut open: watch::Receiver<bool>,
    tell: mpsc::Sender<News>,
) {
    let mut paused = false;
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let result = socket
            .async_io(Interest::READABLE, |socket: &OwnedFd| accept_one(socket.as_fd()))
            .await;
        let news = match result {
            Ok(connection) if paused => {
                paused = false;
                if tell.send(News::AcceptPaused(listener, None)).await.is_err() {
                    return;
                }
                News::Accepted(listener, connection)
            }
            Ok(connection) => News::Accepted(listener, connection),
            Err(error) => {
                // Said once; the connections wait in the kernel meanwhile.
                if !paused && tell.send(News::AcceptPaused(listener, Some(error))).await.is_err() {
                    return;
                }
                paused = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if tell.send(news).await.is_err() {
            return;
        }
    }
}

/// Non-blocking, for Node does not set that on what it is passed.
pub(super) fn accept_one(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        match rustix::net::accept_with(socket, flags) {
            Ok(connection) => return Ok(connection),
            // The client has gone again, or the network has: accept(2) says to try the next one.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::NETDOWN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
