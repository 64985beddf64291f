//! Where connections for hand-over come from.
//!
//! ```text
//!   Perhaps ──nobody waits───▶ Watched ──readable──▶ Perhaps
//!      ▲  └───accept: EMFILE──▶ Paused ───time───────────┘
//! ```
//!
//! The kernel tells how many wait, and each of them is worth a [`Ticket`]: what has a taker is accepted when it
//! is sent. Somebody waits at the socket only while it is known that there is nobody without a ticket:
//! under load no connection wakes anybody, for the next is taken when a worker has answered.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::SocketFlags};
use tine_linux::socket;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, mpsc},
    task::AbortHandle,
};

use super::{
    input::News,
    ready,
    ticket::{Ticket, Unredeemed},
};
use crate::id::ListenerId;

/// After the descriptors ran out: how long until the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// For so long accepting has to go well until that is worth a word.
const CALM: Duration = Duration::from_secs(1);

/// A listening socket, and whoever waits at it. Nobody does any more when this is dropped.
#[derive(Debug)]
pub(super) struct Source {
    socket: Arc<OwnedFd>,
    unredeemed: Unredeemed,
    state: State,
    shortage: Shortage,
    empty: Arc<Notify>,
    watcher: AbortHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be connections.
    Perhaps,
    /// There are none, and the watcher will tell of the next.
    Watched,
    /// Accepting failed; it is tried again then.
    Paused(Instant),
}

/// What [`Source::take`] found.
#[derive(Debug)]
pub(super) enum Taken {
    /// A connection.
    Connection(Ticket),
    /// None at the moment.
    Nothing,
    /// Some that can wait where they are.
    NoNeed,
    /// Accepting pauses from now on, for this reason.
    Pauses(io::Error),
}

impl Source {
    /// Accepts from `socket`, which is non-blocking and listens.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch one more descriptor.
    pub(super) fn open(
        listener: ListenerId,
        socket: OwnedFd,
        tell: mpsc::Sender<News>,
    ) -> io::Result<Self> {
        let twin = ready::watch(socket.try_clone()?, Interest::READABLE)?;
        let empty = Arc::new(Notify::new());
        let watcher = tokio::spawn(watch(listener, twin, Arc::clone(&empty), tell)).abort_handle();
        let (socket, unredeemed) = (Arc::new(socket), Unredeemed::default());
        let (state, shortage) = (State::Perhaps, Shortage::default());
        Ok(Self { socket, unredeemed, state, shortage, empty, watcher })
    }

    /// A ticket for one more connection, if there is one that has none. Not before [`Self::resume`] if it has
    /// paused. Without a `taker` it is accepted at once, and only where the kernel's queue has become long.
    pub(super) fn take(&mut self, has_taker: bool, now: Instant) -> Taken {
        match self.state {
            State::Watched | State::Paused(_) => return Taken::Nothing,
            State::Perhaps => {}
        }
        // Of UNIX paths the kernel does not tell.
        let Ok(queue) = socket::accept_queue(&self.socket) else { return self.accept(now) };
        let without = usize::try_from(queue.length).unwrap_or(usize::MAX);
        if without <= self.unredeemed.count() {
            return self.nothing();
        }
        match (has_taker, queue.length > queue.limit / 2) {
            (true, _) => Taken::Connection(Ticket::for_next(&self.socket, &self.unredeemed)),
            (false, true) => self.accept(now),
            (false, false) => Taken::NoNeed,
        }
    }

    fn nothing(&mut self) -> Taken {
        self.state = State::Watched;
        self.empty.notify_one();
        Taken::Nothing
    }

    fn accept(&mut self, now: Instant) -> Taken {
        match accept_one(self.socket.as_fd()) {
            Ok(connection) => {
                self.went_well();
                Taken::Connection(Ticket::For(Arc::new(connection)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.nothing(),
            Err(error) => self.failed(error, now).map_or(Taken::Nothing, Taken::Pauses),
        }
    }

    /// A connection was accepted.
    pub(super) fn went_well(&mut self) {
        self.shortage.accepted();
    }

    /// None could be: it is tried again by and by. The error, if it is to be told; that is done once, and the
    /// connections wait in the kernel meanwhile.
    pub(super) fn failed(&mut self, error: io::Error, now: Instant) -> Option<io::Error> {
        self.state = State::Paused(now + PAUSE);
        self.shortage.failed(now).then_some(error)
    }

    /// The watcher saw a connection.
    pub(super) fn readable(&mut self) {
        if self.state == State::Watched {
            self.state = State::Perhaps;
        }
    }

    /// A pause that is over is none, whether or not anybody is there to take a connection: its end is
    /// not to be waited for again.
    pub(super) fn resume(&mut self, now: Instant) {
        match self.state {
            State::Paused(until) if now >= until => self.state = State::Perhaps,
            State::Paused(_) | State::Perhaps | State::Watched => {}
        }
    }

    /// As if the descriptors had run out.
    #[cfg(test)]
    pub(super) fn pause(&mut self, until: Instant) {
        self.state = State::Paused(until);
    }

    /// Whether [`Self::take`] may find one at once.
    pub(super) fn may_have(&self) -> bool {
        self.state == State::Perhaps
    }

    /// Whether accepting goes well again, for the first time since it paused.
    pub(super) fn recovers(&mut self, now: Instant) -> bool {
        self.shortage.ends(now)
    }

    /// When to try again after a pause, or to say that there are no more of them.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Paused(until) => Some(until),
            State::Perhaps | State::Watched => self.shortage.end(),
        }
    }
}

/// Whether descriptors have run out of late. While they are scarce accepting fails and succeeds in
/// turns, which is one thing to tell and not many.
#[derive(Debug, Default)]
struct Shortage {
    /// When accepting failed last; told and not over.
    last: Option<Instant>,
    /// It has succeeded since then.
    accepted: bool,
}

impl Shortage {
    /// Whether that is news.
    fn failed(&mut self, now: Instant) -> bool {
        self.accepted = false;
        self.last.replace(now).is_none()
    }

    fn accepted(&mut self) {
        self.accepted = true;
    }

    fn end(&self) -> Option<Instant> {
        self.last.filter(|_| self.accepted).map(|last| last + CALM)
    }

    /// Whether it is over now.
    fn ends(&mut self, now: Instant) -> bool {
        let over = self.end().is_some_and(|end| now >= end);
        if over {
            self.last = None;
        }
        over
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Waits at a socket that is empty. Readiness is forgotten before it is told: what comes after that
/// sets it again, and what came before is found by those who are told.
async fn watch(
    listener: ListenerId,
    socket: AsyncFd<OwnedFd>,
    empty: Arc<Notify>,
    tell: mpsc::Sender<News>,
) {
    loop {
        empty.notified().await;
        match socket.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is shutting down.
            Err(_) => return,
        }
        if tell.send(News::Acceptable(listener)).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_that_comes_and_goes_is_told_once_and_ends_when_it_stays_away() {
        let (mut shortage, now) = (Shortage::default(), Instant::now());
        assert!(shortage.failed(now));
        for turn in 1..20u32 {
            shortage.accepted();
            assert!(!shortage.ends(now + PAUSE * turn));
            assert!(!shortage.failed(now + PAUSE * turn));
        }
        let last = now + PAUSE * 19;
        assert_eq!(shortage.end(), None, "nothing was accepted since");
        shortage.accepted();
        assert_eq!(shortage.end(), Some(last + CALM));
        assert!(shortage.ends(last + CALM));
        assert!(!shortage.ends(last + CALM * 2));
        assert!(shortage.failed(last + CALM * 3));
    }
}
