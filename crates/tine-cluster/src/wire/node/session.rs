//! One worker, as its primary sees it.

use std::{collections::BTreeSet, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Answer, HandleKind, Malformed, ProtocolError, QueryServer, UserHandle,
    incoming::{self, Cluster, Incoming},
    lane::Lane,
    outgoing::{self, Body},
};
use crate::wire::lines::{self, Outbox, QueueFull, Receiver};

/// What a worker may make its primary hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line that the worker may say.
    pub line: usize,
    /// The most that may wait for the worker to read.
    pub queue: usize,
}

impl Default for Limits {
    /// 64 MiB: more than the 32 MB messages that Node is known to carry; and as much may wait, beside
    /// what belongs to the protocol.
    fn default() -> Self {
        Self { line: 64 << 20, queue: 65 << 20 }
    }
}

/// What a worker has to say.
#[derive(Debug)]
pub enum Event {
    /// Node started. Comes first, before any code of the app has run.
    Online,
    /// It wants to listen. Every question is to be answered once: [`Session::reply_seat`],
    /// [`Session::reply_round_robin`] or [`Session::reply_error`]. Errors without delay: Node 20
    /// crashes if the app has closed its server meanwhile.
    QueryServer {
        /// To be given back in the answer.
        seq: u64,
        /// Where it wants to listen.
        query: QueryServer,
    },
    /// It listens, on the port said here. Not said if the app closed its server at once.
    Listening(QueryServer),
    /// It has closed a listener. The key may be one that it was never given.
    Close {
        /// As in the [`Answer`].
        key: String,
    },
    /// It is about to leave. To be answered with [`Session::acknowledge`], or it never does.
    ExitedAfterDisconnect {
        /// To be acknowledged.
        seq: u64,
    },
    /// Its word on a connection.
    Reply {
        /// As returned by [`Session::new_connection`].
        ack: u64,
        /// Taken, before any code of the app has seen it. Otherwise it is to be given to another.
        accepted: bool,
    },
    /// A socket did not reach the worker, and was sent four times. Its caller still has it.
    HandleRefused(Refused),
    /// A socket sent by [`Session::send_user_handle`] has reached the worker.
    HandleArrived(u64),
    /// `process.send(…)`.
    User(Box<RawValue>),
    /// `process.send(…, handle)`. The worker has been told that it arrived.
    UserHandle {
        /// What came with it.
        message: Box<RawValue>,
        /// `net.Socket`, `net.Server`, `dgram.Socket`, `net.Native` …
        kind: String,
        /// The socket, if it is one: anything can be sent.
        fd: OwnedFd,
    },
}

/// Which socket did not reach its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A connection, by the number that [`Session::new_connection`] returned.
    Connection(u64),
    /// A seat, by the number of the question that it answered.
    Seat(u64),
    /// What went with a message, by the number that [`Session::send_user_handle`] returned.
    Message(u64),
}

/// One worker's end of the conversation. Does no I/O and reads no clock.
///
/// The driver reads the channel **to its end** before it takes a connection for not accepted, and
/// drops the session then; that closes whatever was in flight.
#[derive(Debug)]
pub struct Session {
    receiver: Receiver,
    lane: Lane,
    seq: u64,
    /// Sockets that went with messages so far.
    handles: u64,
    /// Connections that the worker has not yet replied to.
    unreplied: BTreeSet<u64>,
    /// The worker marks its internal messages, and heeds ours only if they are marked: it is Bun.
    marks: bool,
    /// The worker is on its way out: it expects no answers to its questions any more.
    leaving: bool,
    /// The first line may be the rest of one of which a predecessor read the beginning.
    torn: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Session {
    /// A worker that has not said anything yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        // One is in flight at a time; some more for a worker that puts them before their lines.
        let receiver = Receiver::new(lines::Limits { line: limits.line, descriptors: 16 });
        let lane = Lane::new(limits.queue);
        let unreplied = BTreeSet::new();
        let (marks, leaving, torn) = (false, false, false);
        Self { receiver, lane, seq: 0, handles: 0, unreplied, marks, leaving, torn }
    }

    /// A worker with whom another primary spoke, which may have come to its end amidst a line. `first` is a
    /// number that it has not used; what answers to others is passed over.
    #[must_use]
    pub fn resumed(first: u64) -> Self {
        Self { seq: first, torn: true, ..Self::default() }
    }

    /// Where to put what arrives, as [`lines::receive`] does.
    pub const fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// What may go out now, for [`lines::flush`]. To be looked at again after every call of another
    /// method, [`Self::next_event`] included.
    pub const fn outbox(&mut self) -> &mut Outbox {
        self.lane.outbox()
    }

    /// Bytes that wait, be it for the socket or for the worker to confirm a handle.
    #[must_use]
    pub const fn bytes_queued(&self) -> usize {
        self.lane.bytes()
    }

    /// Whether a handle is on its way: what is said now waits until the worker has confirmed it.
    #[must_use]
    pub const fn awaits_handle(&self) -> bool {
        self.lane.waits()
    }

    /// The next event in what has arrived. What needs no decision is answered on the way.
    ///
    /// # Errors
    ///
    /// When the worker does not keep to the protocol, or does not read what it is told. It is then
    /// to be ended; the session must not be used any more.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        while let Some(line) = self.receiver.next_line()? {
            self.marks |= line.first() == Some(&incoming::MARK);
            let torn = std::mem::take(&mut self.torn);
            let incoming = match incoming::parse(&line) {
                Err(_) if torn => continue,
                parsed => parsed?,
            };
            let event = self.interpret(incoming, &line)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn interpret(
        &mut self,
        incoming: Incoming,
        line: &[u8],
    ) -> Result<Option<Event>, ProtocolError> {
        match incoming {
            Incoming::Cluster(cluster) => return Ok(self.cluster(*cluster)),
            Incoming::Handle { kind, message } => return self.handle(kind, message, line),
            Incoming::HandleArrived => {
                if let Some(Refused::Message(number)) = self.lane.arrived()? {
                    return Ok(Some(Event::HandleArrived(number)));
                }
            }
            Incoming::HandleMissing => return Ok(self.missing()?),
            Incoming::SocketCount { key } => {
                self.lane.push(outgoing::socket_count(key.as_deref()))?;
            }
            Incoming::SocketClose { key } => {
                self.lane.push(outgoing::all_closed(key.as_deref()))?;
            }
            Incoming::User(message) => return Ok(Some(Event::User(message))),
            Incoming::Unknown => {}
        }
        Ok(None)
    }

    fn cluster(&mut self, said: Cluster) -> Option<Event> {
        match said {
            Cluster::Online => Some(Event::Online),
            // Node's own primary says nothing either (`queryServer` in primary.js).
            Cluster::QueryServer { .. } if self.leaving => None,
            Cluster::QueryServer { seq, query } => Some(Event::QueryServer { seq, query }),
            Cluster::Listening(query) => Some(Event::Listening(query)),
            Cluster::Close { key } => Some(Event::Close { key }),
            Cluster::ExitedAfterDisconnect { seq } => {
                self.leaving = true;
                Some(Event::ExitedAfterDisconnect { seq })
            }
            Cluster::Reply { ack, accepted } => {
                self.unreplied.remove(&ack).then_some(Event::Reply { ack, accepted })
            }
            Cluster::Unknown => None,
        }
    }

    /// The worker stays silent, and outlives its channel, until a handle of its own is answered.
    fn handle(
        &mut self,
        kind: String,
        message: Box<RawValue>,
        line: &[u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let fd = self.receiver.claim();
        self.lane.push_at_once(outgoing::handle_answer(fd.is_some()))?;
        let Some(fd) = fd else { return Ok(None) };
        match incoming::message(message).map_err(|source| malformed(line, source))? {
            Incoming::User(message) => Ok(Some(Event::UserHandle { message, kind, fd })),
            // A handle within a handle.
            Incoming::Handle { .. } => Ok(None),
            // No internal message needs a socket of the worker's.
            other => self.interpret(other, line),
        }
    }

    fn missing(&mut self) -> Result<Option<Event>, QueueFull> {
        let Some(refused) = self.lane.missing()? else { return Ok(None) };
        let is_open = match refused {
            // A worker may have replied for what it now says it never got.
            Refused::Connection(seq) => self.unreplied.remove(&seq),
            Refused::Seat(_) | Refused::Message(_) => true,
        };
        Ok(is_open.then_some(Event::HandleRefused(refused)))
    }

    /// Lets the worker listen on a socket of its own, or on one that it shares. The presence of the
    /// socket is what tells Node so. It must be bound, and is best given `O_NONBLOCK`.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_seat(
        &mut self,
        to: Answer<'_>,
        kind: HandleKind,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Result<(), QueueFull> {
        let seq = self.take_seq();
        let text = outgoing::cluster_with_handle(Body::reply(to, Some(0), None), seq, kind);
        self.lane.push_handle(text, fd.into(), Refused::Seat(to.seq))
    }

    /// Lets the worker believe that it listens; its connections will come by
    /// [`Self::new_connection`]. `sockname` is what `server.address()` shows, `None` for a path.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_round_robin(
        &mut self,
        to: Answer<'_>,
        sockname: Option<SocketAddr>,
    ) -> Result<(), QueueFull> {
        self.say(Body::reply(to, None, sockname))
    }

    /// Tells why the worker cannot listen. `errno` is negative, as libuv's are: -98 for `EADDRINUSE`.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn reply_error(&mut self, to: Answer<'_>, errno: i32) -> Result<(), QueueFull> {
        self.say(Body::reply(to, Some(errno), None))
    }

    /// Hands a connection over, and returns the number under which [`Event::Reply`] or
    /// [`Event::HandleRefused`] will speak of it. It must have `O_NONBLOCK`: Node does not set it.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn new_connection(
        &mut self,
        key: &str,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Result<u64, QueueFull> {
        let seq = self.take_seq();
        let body = Body::new_connection(key);
        let text = outgoing::cluster_with_handle(body, seq, HandleKind::Stream);
        self.lane.push_handle(text, fd.into(), Refused::Connection(seq))?;
        self.unreplied.insert(seq);
        Ok(seq)
    }

    /// Answers [`Event::ExitedAfterDisconnect`].
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn acknowledge(&mut self, seq: u64) -> Result<(), QueueFull> {
        self.say(Body::Acknowledge { ack: seq })
    }

    /// Asks the worker to close its listeners, finish its connections and leave. To be said once:
    /// at the second time Node closes its channel and goes on serving.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn disconnect(&mut self) -> Result<(), QueueFull> {
        self.leaving = true;
        self.say(Body::disconnect())
    }

    /// What `process.on('message')` gets.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn send_user(&mut self, message: &RawValue) -> Result<(), QueueFull> {
        self.lane.push(outgoing::user(message))
    }

    /// Likewise, with a socket; [`Event::HandleArrived`] or [`Event::HandleRefused`] will speak of it
    /// by the number returned here. A stream or listener must have `O_NONBLOCK`: Node does not set it.
    ///
    /// # Errors
    ///
    /// When too much waits for the worker.
    pub fn send_user_handle(
        &mut self,
        message: &RawValue,
        kind: UserHandle,
        fd: impl Into<Arc<OwnedFd>>,
    ) -> Result<u64, QueueFull> {
        let number = self.take_handle();
        let text = outgoing::user_with_handle(message, kind);
        self.lane.push_handle(text, fd.into(), Refused::Message(number))?;
        Ok(number)
    }

    /// Likewise, from anything that can be written as JSON.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::DoesNotRead`] when too much waits for the worker, and
    /// [`ProtocolError::Malformed`] when the value has no form in JSON.
    pub fn send_user_value(&mut self, value: &impl Serialize) -> Result<(), ProtocolError> {
        let message = to_raw_value(value).map_err(|error| malformed(b"", error.into()))?;
        Ok(self.send_user(&message)?)
    }

    fn say(&mut self, body: Body<'_>) -> Result<(), QueueFull> {
        let seq = self.take_seq();
        let mut text = outgoing::cluster(body, seq);
        if self.marks {
            text.insert(0, incoming::MARK);
        }
        self.lane.push(text)
    }

    const fn take_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    const fn take_seq(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }
}

fn malformed(line: &[u8], source: Malformed) -> ProtocolError {
    ProtocolError::Malformed { excerpt: lines::excerpt(line), source }
}
