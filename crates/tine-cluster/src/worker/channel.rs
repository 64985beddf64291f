//! The talk with the primary.
//!
//! ```text
//!  ask() ── listen ──▶ primary ── seat, handed-over, error ──▶ channel's thread ──▶ ask()
//!                      primary ── connection ────────────────▶ channel's thread ──▶ Queue ──▶ accept()
//!                      primary ◀─ took ──────────────────────────────────────────────┘
//!  send() ─ message ─▶ primary ── message, reply ────────────▶ channel's thread ──▶ messages, request()
//! ```
//!
//! A connection is answered for when the program takes it, not when it arrives: so a busy worker is
//! sent one and no more, and what it has not taken when it dies another worker gets.
//!
//! The channel's thread reads always, and waits for nobody: neither for a program that does not take
//! what has come, nor for one that says more than the primary reads.

use std::{
    io::{self, ErrorKind},
    net::{Shutdown, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{self, Receiver},
    },
    thread,
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    inbox::{Inbox, Look},
    message::Message,
    outgoing::Outgoing,
    state::{Connections, Heard, Question, Reply, State},
    stop::Stop,
};
use crate::{
    json::Json,
    wire::{
        lines::{self, Received, receive},
        native::{LIMITS, ToPrimary, VERSION, decode, encode},
    },
};

/// A connection, and nothing else known of it.
pub(super) type Taken = OwnedFd;

/// The primary's answer.
pub(super) enum Answer {
    Seat(OwnedFd, Lease),
    HandedOver(Queue),
}

/// What tells the primary, when dropped, that a listener was closed.
#[derive(Debug)]
pub(super) struct Lease {
    key: String,
    client: Arc<Client>,
}

/// The connections of one listener that the primary holds.
#[derive(Debug)]
pub(super) struct Queue {
    address: Option<SocketAddr>,
    connections: Connections,
    lease: Lease,
}

/// This end of the channel. The channel's thread ends with it.
#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    socket: UnixStream,
    outgoing: Outgoing,
    /// A lock, because the channel's thread sleeps on the socket and hears no message of ours.
    state: Mutex<State>,
    pub(super) messages: Inbox<Message>,
}

impl Client {
    pub(super) fn start(channel: OwnedFd) -> io::Result<(Self, Stop)> {
        let socket = UnixStream::from(channel);
        socket.set_nonblocking(true)?;
        let (stop, writer) = Stop::new()?;
        let shared = Arc::new(Shared {
            socket,
            outgoing: Outgoing::new()?,
            state: Mutex::new(State::new(writer)),
            messages: Inbox::new(),
        });
        let client = Self { shared: Arc::clone(&shared) };
        client.shared.say(&ToPrimary::Hello { version: VERSION, pid: std::process::id() })?;
        thread::Builder::new().name("tine-channel".to_owned()).spawn(move || shared.serve())?;
        Ok((client, stop))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn ask(self: &Arc<Self>, question: Question) -> io::Result<Answer> {
        let (listen, answered) = self.shared.lock().question(question)?;
        self.shared.say(&ToPrimary::Listen(listen))?;
        let lease = |key| Lease { key, client: Arc::clone(self) };
        match answered.recv() {
            Ok(Reply::Seat(key, fd)) => Ok(Answer::Seat(fd, lease(key))),
            Ok(Reply::HandedOver { key, address, connections }) => {
                Ok(Answer::HandedOver(Queue { address, connections, lease: lease(key) }))
            }
            Ok(Reply::Error(error)) => Err(error),
            Err(mpsc::RecvError) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn ready(&self) -> io::Result<()> {
        self.shared.say(&ToPrimary::Ready)
    }

    /// This worker leaves by its own wish; from now on it is as if the primary had wanted it.
    pub(super) fn leave(&self) -> io::Result<()> {
        if self.shared.lock().stop() { self.shared.say(&ToPrimary::Leaving) } else { Ok(()) }
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.shared.lock().is_gone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Wakes the channel's thread. An error means that it is on its way already.
        drop(self.shared.socket.shutdown(Shutdown::Both));
    }
}

impl Lease {
    /// The socket is somebody else's from now on, who says nothing when it is closed.
    pub(super) fn keep(mut self) {
        self.key.clear();
    }

    fn say_taken(&self, connection: u64, accepted: bool) {
        // A primary that has gone needs no answer, and what was taken is ours either way.
        drop(self.client.shared.say(&ToPrimary::Took { connection, accepted }));
    }
}

impl Lease {
    /// Says that it was closed, once.
    fn close(&mut self) {
        if self.key.is_empty() {
            return;
        }
        let shared = &self.client.shared;
        let key = std::mem::take(&mut self.key);
        shared.lock().closed(&key);
        // Errors: without a primary there is nobody to tell.
        drop(shared.say(&ToPrimary::Close { key }));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Sleeps until there is a connection; `None` when none will come any more.
    pub(super) fn take(&self) -> Option<Taken> {
        let (connection, fd) = self.connections.take()?;
        self.lease.say_taken(connection, true);
        Some(fd)
    }

    /// Likewise, without sleeping.
    #[cfg(feature = "tokio")]
    pub(super) fn look(&self) -> Look<Taken> {
        match self.connections.look() {
            Look::Item((connection, fd)) => {
                self.lease.say_taken(connection, true);
                Look::Item(fd)
            }
            Look::Empty => Look::Empty,
            Look::Ended => Look::Ended,
        }
    }

    /// Readable as long as [`Self::look`] finds something but emptiness.
    #[cfg(feature = "tokio")]
    pub(super) fn signal(&self) -> io::Result<Arc<OwnedFd>> {
        self.connections.signal()
    }
}

impl Drop for Queue {
    /// What the program has not taken goes to another worker.
    fn drop(&mut self) {
        // First, or it would be sent the next one for each that it gives back.
        self.lease.close();
        self.connections.end();
        while let Look::Item((connection, _)) = self.connections.look() {
            self.lease.say_taken(connection, false);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, message: &ToPrimary) -> io::Result<()> {
        self.outgoing.say(&self.socket, encode(message))
    }

    pub(super) fn send(&self, message: &ToPrimary, fd: Option<OwnedFd>) -> io::Result<()> {
        self.outgoing.send(&self.socket, encode(message), fd)
    }

    /// Where the answer to the request of this number will come.
    pub(super) fn expect_answer(&self) -> (u64, Receiver<Option<Json>>) {
        self.lock().expect_answer()
    }

    pub(super) fn forget_answer(&self, seq: u64) {
        self.lock().forget_answer(seq);
    }

    /// The channel's thread, from beginning to end. Whatever ends the channel ends it for all who wait.
    fn serve(self: Arc<Self>) {
        let mut receiver = lines::Receiver::new(LIMITS);
        // Nobody else keeps it for the thread: when the client is dropped, so is the socket's use.
        let me = Arc::downgrade(&self);
        while self.wait().is_ok() && self.read(&mut receiver, &me).is_ok() {}
        self.outgoing.close();
        self.lock().end();
        self.messages.end();
        drop(self.socket.shutdown(Shutdown::Both));
    }

    /// Sleeps until there is something to read; writes what was left meanwhile.
    fn wait(&self) -> io::Result<()> {
        loop {
            let wake = self.outgoing.wake();
            let writes = self.outgoing.goes_on(&self.socket);
            let wanted = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(&wake, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            if !fds[1].revents().is_empty() {
                self.outgoing.woken();
            }
            if fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                return Ok(());
            }
        }
    }

    /// Reads what is there.
    fn read(&self, receiver: &mut lines::Receiver, me: &Weak<Self>) -> io::Result<()> {
        match receive(&self.socket, receiver)? {
            Received::Bytes(_) | Received::Last(_) => self.hear(receiver, me),
            Received::WouldBlock => Ok(()),
            Received::Closed => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn hear(&self, receiver: &mut lines::Receiver, me: &Weak<Self>) -> io::Result<()> {
        while let Some((message, fd)) = decode(receiver).map_err(io::Error::other)? {
            let heard = self.lock().hear(message, fd);
            match heard {
                Heard::Done => {}
                Heard::Refused(connection) => {
                    self.say(&ToPrimary::Took { connection, accepted: false })?;
                }
                Heard::Said(said) => {
                    // It ends after this thread only.
                    let _ = self.messages.push(said.into_message(me));
                }
            }
        }
        Ok(())
    }
}

/// The primary does not keep to the protocol, or the kernel could not give us what it sent.
pub(super) fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the primary's answer is of no use: {what}"))
}
