//! The talk with the primary.
//!
//! ```text
//!  ask() ── listen ──▶ primary ── seat, handed-over, error ──▶ reader thread ──▶ ask()
//!                      primary ── connection ────────────────▶ reader thread ──▶ Queue ──▶ accept()
//!                      primary ◀─ took ──────────────────────────────────────────┘
//! ```
//!
//! A connection is answered for when the program takes it, not when it arrives: so a busy worker is
//! sent one and no more, and what it has not taken when it dies another worker gets.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, ErrorKind, PipeWriter},
    net::{Shutdown, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use super::stop::Stop;
use crate::wire::{
    lines::{self, Flushed, Outbox, Received, flush, receive},
    native::{LIMITS, Listen, QUEUE, ToPrimary, ToWorker, VERSION, Wanted, decode, encode},
};

/// A connection, and nothing else known of it.
pub(super) type Taken = OwnedFd;

/// The primary's answer.
pub(super) enum Answer {
    Seat(OwnedFd),
    HandedOver(Queue),
}

/// The connections of one listener that the primary holds.
#[derive(Debug)]
pub(super) struct Queue {
    key: String,
    address: Option<SocketAddr>,
    connections: Receiver<(u64, OwnedFd)>,
    client: Arc<Client>,
}

/// This end of the channel. The reader thread ends with it.
#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    /// A lock, because several threads say lines, and none may come into the middle of another.
    outbox: Mutex<Outbox>,
    /// A lock, because the reader thread sleeps in `recvmsg` and hears no message of ours.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_seq: u64,
    asked: HashMap<u64, Sender<Reply>>,
    queues: HashMap<String, Sender<(u64, OwnedFd)>>,
    /// How often each address with port 0 was asked for.
    any_port: BTreeMap<Wanted, u32>,
    /// Dropped when the primary wants this worker to stop.
    stop: Option<PipeWriter>,
    gone: bool,
}

/// What the reader thread tells the thread that asked.
enum Reply {
    Seat(OwnedFd),
    HandedOver { key: String, address: Option<SocketAddr>, connections: Receiver<(u64, OwnedFd)> },
    Error(io::Error),
}

impl Client {
    pub(super) fn start(channel: OwnedFd) -> io::Result<(Self, Stop)> {
        let socket = UnixStream::from(channel);
        socket.set_nonblocking(false)?;
        let (stop, writer) = Stop::new()?;
        let state = State {
            next_seq: 1,
            asked: HashMap::new(),
            queues: HashMap::new(),
            any_port: BTreeMap::new(),
            stop: Some(writer),
            gone: false,
        };
        let outbox = Mutex::new(Outbox::new(QUEUE));
        let shared = Arc::new(Shared { socket, outbox, state: Mutex::new(state) });
        let client = Self { shared: Arc::clone(&shared) };
        client.shared.say(&ToPrimary::Hello { version: VERSION, pid: std::process::id() })?;
        thread::Builder::new().name("tine-channel".to_owned()).spawn(move || shared.read())?;
        Ok((client, stop))
    }

    pub(super) fn ask(
        self: &Arc<Self>,
        wanted: Wanted,
        backlog: Option<u32>,
    ) -> io::Result<Answer> {
        let (answer, answered) = mpsc::channel();
        let listen = self.shared.lock().question(wanted, backlog, answer)?;
        self.shared.say(&ToPrimary::Listen(listen))?;
        match answered.recv() {
            Ok(Reply::Seat(fd)) => Ok(Answer::Seat(fd)),
            Ok(Reply::HandedOver { key, address, connections }) => {
                let client = Arc::clone(self);
                Ok(Answer::HandedOver(Queue { key, address, connections, client }))
            }
            Ok(Reply::Error(error)) => Err(error),
            Err(mpsc::RecvError) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn ready(&self) -> io::Result<()> {
        self.shared.say(&ToPrimary::Ready)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Wakes the reader thread. An error means that it is on its way already.
        drop(self.shared.socket.shutdown(Shutdown::Both));
    }
}

impl Queue {
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Sleeps until there is a connection; `None` when none will come any more.
    pub(super) fn take(&self) -> Option<Taken> {
        let (connection, fd) = self.connections.recv().ok()?;
        // A primary that has gone needs no answer, and the connection is ours either way.
        drop(self.client.shared.say(&ToPrimary::Took { connection, accepted: true }));
        Some(fd)
    }
}

impl Drop for Queue {
    /// What the program has not taken goes to another worker.
    fn drop(&mut self) {
        let shared = &self.client.shared;
        shared.lock().queues.remove(&self.key);
        let key = std::mem::take(&mut self.key);
        // Errors: without a primary there is nobody to tell.
        drop(shared.say(&ToPrimary::Close { key }));
        for (connection, _) in self.connections.try_iter() {
            drop(shared.say(&ToPrimary::Took { connection, accepted: false }));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, message: &ToPrimary) -> io::Result<()> {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.push(encode(message), None).map_err(io::Error::other)?;
        match flush(&self.socket, &mut outbox)? {
            Flushed::All | Flushed::WouldBlock => Ok(()),
            Flushed::Closed => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// The reader thread, from beginning to end. Whatever ends the channel ends it for all who wait.
    fn read(&self) {
        let mut receiver = lines::Receiver::new(LIMITS);
        while let Ok(Received::Bytes(_) | Received::Last(_) | Received::WouldBlock) =
            receive(&self.socket, &mut receiver)
        {
            if self.hear(&mut receiver).is_err() {
                break;
            }
        }
        self.lock().end();
        drop(self.socket.shutdown(Shutdown::Both));
    }

    fn hear(&self, receiver: &mut lines::Receiver) -> io::Result<()> {
        while let Some((message, fd)) = decode(receiver).map_err(io::Error::other)? {
            let refused = self.lock().hear(message, fd);
            if let Some(connection) = refused {
                self.say(&ToPrimary::Took { connection, accepted: false })?;
            }
        }
        Ok(())
    }
}

impl State {
    fn question(
        &mut self,
        wanted: Wanted,
        backlog: Option<u32>,
        answer: Sender<Reply>,
    ) -> io::Result<Listen> {
        if self.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.asked.insert(seq, answer);
        let index = self.index(&wanted);
        Ok(Listen { seq, wanted, backlog, index })
    }

    fn index(&mut self, wanted: &Wanted) -> u32 {
        let any_port = match wanted {
            Wanted::Tcp { address, .. } | Wanted::Udp { address, .. } => address.port() == 0,
            Wanted::Unix { .. } => false,
        };
        if !any_port {
            return 0;
        }
        let next = self.any_port.entry(wanted.clone()).or_insert(0);
        *next += 1;
        *next - 1
    }

    /// Takes in one message. Returns the number of a connection that nobody here can take.
    fn hear(&mut self, message: ToWorker, fd: Option<OwnedFd>) -> Option<u64> {
        match message {
            ToWorker::Seat(seat) => {
                let lost = || Reply::Error(nonsense("the socket did not arrive"));
                self.answer(seat.seq, fd.map_or_else(lost, Reply::Seat));
            }
            ToWorker::HandedOver { seq, key, address } => {
                let (queue, connections) = mpsc::channel();
                // Before the answer, for connections may follow at once; not after a stop, so that
                // the queue is at its end.
                if self.stop.is_some() {
                    self.queues.insert(key.clone(), queue);
                }
                self.answer(seq, Reply::HandedOver { key, address, connections });
            }
            ToWorker::Error { seq, errno } => {
                self.answer(seq, Reply::Error(io::Error::from_raw_os_error(errno)));
            }
            ToWorker::Connection { key, connection, .. } => {
                let sent = self.queues.get(&key).zip(fd).map(|(to, fd)| to.send((connection, fd)));
                return (!matches!(sent, Some(Ok(())))).then_some(connection);
            }
            ToWorker::Stop => {
                self.stop = None;
                self.queues.clear();
            }
            ToWorker::Message(_) | ToWorker::Reply(_) | ToWorker::Unknown => {}
        }
        None
    }

    fn answer(&mut self, seq: u64, reply: Reply) {
        if let Some(asked) = self.asked.remove(&seq) {
            // Who asked may have panicked; the socket is closed then.
            drop(asked.send(reply));
        }
    }

    fn end(&mut self) {
        self.gone = true;
        self.asked.clear();
        self.queues.clear();
    }
}

/// The primary does not keep to the protocol, or the kernel could not give us what it sent.
pub(super) fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the primary's answer is of no use: {what}"))
}
