//! Accepts connections for hand-over.

use std::{io, os::fd::OwnedFd, time::Duration};

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
pub(super) struct Gate(watch::Sender<Flow>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    Paused,
    /// What waits is still accepted; then the socket stops listening.
    Closing,
}

impl Gate {
    pub(super) fn set(&self, open: bool) {
        let now = if open { Flow::Open } else { Flow::Paused };
        self.0
            .send_if_modified(|flow| *flow != Flow::Closing && std::mem::replace(flow, now) != now);
    }

    /// For good.
    pub(super) fn close(&self) {
        self.0.send_replace(Flow::Closing);
    }
}

/// Accepts from `socket` until the gate is closed or dropped.
pub(super) fn start(listener: ListenerId, socket: OwnedFd, tell: mpsc::Sender<News>) -> Gate {
    let (gate, flow) = watch::channel(Flow::Open);
    tokio::spawn(async move {
        let Ok(socket) = ready::watch(socket, Interest::READABLE) else { return };
        let mut dropped = flow.clone();
        tokio::select! {
            () = accept(listener, socket, flow, tell) => (),
            // Only the end of the sender ends this wait.
            () = async { while dropped.changed().await.is_ok() {} } => (),
        }
    });
    Gate(gate)
}

/// Empties the queue, and refuses everybody from then on.
async fn accept_the_last(listener: ListenerId, socket: &OwnedFd, tell: &mpsc::Sender<News>) {
    while let Ok(connection) = accept_one(socket) {
        if tell.send(News::Accepted(listener, connection)).await.is_err() {
            return;
        }
    }
    // It listens in the seat's descriptor as well, which is the same socket.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
}

async fn accept(
    listener: ListenerId,
    socket: AsyncFd<OwnedFd>,
    mut flow: watch::Receiver<Flow>,
    tell: mpsc::Sender<News>,
) {
    let mut paused = false;
    loop {
        match flow.wait_for(|flow| *flow != Flow::Paused).await.map(|flow| *flow) {
            Ok(Flow::Open | Flow::Paused) => {}
            Ok(Flow::Closing) => return accept_the_last(listener, socket.get_ref(), &tell).await,
            Err(_) => return,
        }
        let result = tokio::select! {
            result = socket.async_io(Interest::READABLE, accept_one) => result,
            _ = flow.changed() => continue,
        };
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
fn accept_one(socket: &OwnedFd) -> io::Result<OwnedFd> {
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
