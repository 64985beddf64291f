//! One worker, as its primary sees it.

use std::{collections::BTreeSet, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use super::{
    LIMITS, Listen, Message, ProtocolError, QUEUE, Reply, Seat, ToPrimary, ToWorker, VERSION,
    decode, encode,
};
use crate::{
    json::Json,
    wire::lines::{Outbox, QueueFull, Receiver},
};

/// What a worker has to say. Two are equal if they say the same; descriptors are not compared.
#[derive(Debug)]
pub enum Event {
    /// It has started, and speaks our version. Comes first.
    Hello {
        /// The process that speaks, by its own account.
        pid: u32,
    },
    /// It wants to listen. Every question is to be answered once: [`Session::reply_seat`],
    /// [`Session::reply_handed_over`] or [`Session::reply_error`].
    Listen(Listen),
    /// Its word on a connection.
    Reply {
        /// As returned by [`Session::new_connection`].
        connection: u64,
        /// Taken. Otherwise it is to be given to another.
        accepted: bool,
    },
    /// It has closed a listener. The key may be one that it was never given.
    Close {
        /// As in the answer to its question.
        key: String,
    },
    /// It is ready to serve.
    Ready,
    /// It leaves by its own wish.
    Leaving,
    /// Its program says something to ours.
    Message {
        /// What.
        message: Json,
        /// To be given to [`Session::reply`] once, if it wants a reply.
        seq: Option<u64>,
        /// What came with it.
        fd: Option<OwnedFd>,
    },
    /// Its program answers a [`Session::request`].
    Answer {
        /// The request's, or any other number.
        seq: u64,
        /// What it says; `None` when no answer will come.
        message: Option<Json>,
    },
}

/// One worker's end of the conversation; the counterpart of [`node::Session`](crate::wire::node::Session).
/// Does no I/O and reads no clock.
///
/// The driver reads the channel **to its end** before it takes a connection for not accepted.
#[derive(Debug)]
pub struct Session {
    receiver: Receiver,
    outbox: Outbox,
    greeted: bool,
    next_connection: u64,
    /// Connections that the worker has not yet replied to.
    unreplied: BTreeSet<u64>,
    next_request: u64,
    /// The first line may be the rest of one of which a predecessor read the beginning.
    torn: bool,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hello { pid }, Self::Hello { pid: other }) => pid == other,
            (Self::Listen(listen), Self::Listen(other)) => listen == other,
            (
                Self::Reply { connection, accepted },
                Self::Reply { connection: number, accepted: other },
            ) => (connection, accepted) == (number, other),
            (Self::Close { key }, Self::Close { key: other }) => key == other,
            (Self::Ready, Self::Ready) | (Self::Leaving, Self::Leaving) => true,
            (
                Self::Message { message, seq, .. },
                Self::Message { message: other, seq: number, .. },
            ) => (message, seq) == (other, number),
            (Self::Answer { seq, message }, Self::Answer { seq: number, message: other }) => {
                (seq, message) == (number, other)
            }
            (_, _) => false,
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            receiver: Receiver::new(LIMITS),
            outbox: Outbox::new(QUEUE),
            greeted: false,
            next_connection: 1,
            unreplied: BTreeSet::new(),
            next_request: 1,
            torn: false,
        }
    }
}

impl Session {
    /// A worker with whom another primary spoke, which may have come to its end amidst a line. `first` is a
    /// number that it has not used; what answers to others is passed over.
    #[must_use]
    pub fn resumed(first: u64, greeted: bool) -> Self {
        Self { next_connection: first, next_request: first, greeted, torn: true, ..Self::default() }
    }

    /// Where to put what arrives, as [`receive`](crate::wire::lines::receive) does.
    pub const fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// What may go out now, for [`flush`](crate::wire::lines::flush).
    pub const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Bytes that wait for the socket.
    #[must_use]
    pub const fn bytes_queued(&self) -> usize {
        self.outbox.bytes()
    }

    /// The next event in what has arrived.
    ///
    /// # Errors
    ///
    /// When the worker does not keep to the protocol. It is then to be ended; the session must not
    /// be used any more.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        loop {
            let torn = std::mem::take(&mut self.torn);
            let (message, fd) = match decode(&mut self.receiver) {
                Err(_) if torn => continue,
                Ok(None) => {
                    self.torn = torn;
                    return Ok(None);
                }
                Ok(Some(decoded)) => decoded,
                Err(error) => return Err(error),
            };
            let event = self.interpret(message, fd)?;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// A descriptor that comes with anything but a message has no use, and is closed.
    fn interpret(
        &mut self,
        message: ToPrimary,
        fd: Option<OwnedFd>,
    ) -> Result<Option<Event>, ProtocolError> {
        if !self.greeted && !matches!(message, ToPrimary::Hello { .. }) {
            return Err(ProtocolError::NoHello);
        }
        Ok(match message {
            ToPrimary::Hello { version: VERSION, pid } => {
                self.greeted = true;
                Some(Event::Hello { pid })
            }
            ToPrimary::Hello { version: theirs, .. } => {
                return Err(ProtocolError::Version { theirs });
            }
            ToPrimary::Listen(listen) => Some(Event::Listen(listen)),
            ToPrimary::Took { connection, accepted } => {
                self.unreplied.remove(&connection).then_some(Event::Reply { connection, accepted })
            }
            ToPrimary::Close { key } => Some(Event::Close { key }),
            ToPrimary::Ready => Some(Event::Ready),
            ToPrimary::Leaving => Some(Event::Leaving),
            ToPrimary::Message(Message { seq, message, .. }) => {
                Some(Event::Message { message, seq, fd })
            }
            ToPrimary::Reply(Reply { seq, message }) => Some(Event::Answer { seq, message }),
            ToPrimary::Unknown => None,
        })
    }

    /// Gives the worker a socket, its own or one that all share: bound, and listening unless it is
    /// UDP.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_seat(
        &mut self,
        seq: u64,
        key: &str,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Result<(), QueueFull> {
        let seat = ToWorker::Seat(Seat { seq, key: key.to_owned(), fds: 1 });
        self.outbox.push(encode(&seat), Some(fd.into()))
    }

    /// Lets the worker listen by our hand: its connections will come by [`Self::new_connection`].
    /// `address` is what is bound, `None` for a path.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_handed_over(
        &mut self,
        seq: u64,
        key: &str,
        address: Option<SocketAddr>,
    ) -> Result<(), QueueFull> {
        self.say(&ToWorker::HandedOver { seq, key: key.to_owned(), address })
    }

    /// Tells why the worker cannot listen. `errno` is positive, as `bind(2)` sets it.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_error(&mut self, seq: u64, errno: i32) -> Result<(), QueueFull> {
        self.say(&ToWorker::Error { seq, errno })
    }

    /// Hands a connection over, and returns the number under which [`Event::Reply`] will speak of
    /// it. The caller keeps its share until then.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn new_connection(
        &mut self,
        key: &str,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Result<u64, QueueFull> {
        let connection = self.next_connection;
        let line = encode(&ToWorker::Connection { key: key.to_owned(), connection, fds: 1 });
        self.outbox.push(line, Some(fd.into()))?;
        self.next_connection += 1;
        self.unreplied.insert(connection);
        Ok(connection)
    }

    /// Asks the worker to stop accepting, to finish and to exit.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn stop(&mut self) -> Result<(), QueueFull> {
        self.say(&ToWorker::Stop)
    }

    /// Says something to the worker's program, with or without a socket.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn send(&mut self, message: Json, fd: Option<OwnedFd>) -> Result<(), QueueFull> {
        let fds = u32::from(fd.is_some());
        let line = encode(&ToWorker::Message(Message { seq: None, fds, message }));
        self.outbox.push(line, fd.map(Arc::new))
    }

    /// Asks the worker's program for something; [`Event::Answer`] will have the number returned here.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn request(&mut self, message: Json) -> Result<u64, QueueFull> {
        let seq = self.next_request;
        self.say(&ToWorker::Message(Message { seq: Some(seq), fds: 0, message }))?;
        self.next_request += 1;
        Ok(seq)
    }

    /// Answers a message that wants a reply; with `None` when there will never be one.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply(&mut self, seq: u64, message: Option<Json>) -> Result<(), QueueFull> {
        self.say(&ToWorker::Reply(Reply { seq, message }))
    }

    fn say(&mut self, message: &ToWorker) -> Result<(), QueueFull> {
        self.outbox.push(encode(message), None)
    }
}
