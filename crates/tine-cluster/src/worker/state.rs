//! What this side of the channel has to remember.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, ErrorKind, PipeWriter},
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, Sender},
    },
};

use super::{
    channel::{Shared, nonsense},
    inbox::Inbox,
    message,
};
use crate::{
    descriptor::Descriptor,
    json::Json,
    wire::native::{Listen, Message, ToWorker, Wanted},
};

/// Connections that were handed over, by their numbers, until the program takes them.
pub(super) type Connections = Arc<Inbox<(u64, OwnedFd)>>;

#[derive(Debug)]
pub(super) struct State {
    next_seq: u64,
    asked: HashMap<u64, Asked>,
    requests: HashMap<u64, Sender<Option<Json>>>,
    queues: HashMap<String, Connections>,
    /// How often each address with port 0 was asked for, and how many of these are open.
    any_port: BTreeMap<Wanted, AnyPort>,
    /// Which of them has this name.
    named: HashMap<String, Wanted>,
    /// Dropped when this worker is to stop.
    stop: Option<PipeWriter>,
    gone: bool,
}

/// What a program wants.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) wanted: Wanted,
    pub(super) backlog: Option<u32>,
    pub(super) exclusive: bool,
}

#[derive(Debug)]
struct Asked {
    wanted: Wanted,
    answer: Sender<Reply>,
}

#[derive(Debug, Default)]
struct AnyPort {
    next: u32,
    open: u32,
}

/// What the channel's thread tells the thread that asked.
pub(super) enum Reply {
    Seat(String, OwnedFd),
    HandedOver { key: String, address: Option<SocketAddr>, connections: Connections },
    Error(io::Error),
}

/// What is to be done about what was heard.
pub(super) enum Heard {
    Done,
    /// Nobody here can take this connection.
    Refused(u64),
    /// The program is spoken to.
    Said(Said),
}

/// A message of the primary's program.
pub(super) struct Said {
    message: Message,
    fd: Option<OwnedFd>,
}

impl Said {
    /// What is no socket that can be sent is closed: only a primary that is none of ours sends such.
    pub(super) fn into_message(self, shared: &Weak<Shared>) -> message::Message {
        let reply = self.message.seq.map(|seq| message::Reply::new(seq, Weak::clone(shared)));
        let descriptor = self.fd.and_then(|fd| Descriptor::try_from(fd).ok());
        message::Message { message: self.message.message, descriptor, reply }
    }
}

impl State {
    pub(super) fn new(stop: PipeWriter) -> Self {
        Self {
            next_seq: 1,
            asked: HashMap::new(),
            requests: HashMap::new(),
            queues: HashMap::new(),
            any_port: BTreeMap::new(),
            named: HashMap::new(),
            stop: Some(stop),
            gone: false,
        }
    }

    const fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    pub(super) fn question(&mut self, question: Question) -> io::Result<(Listen, Receiver<Reply>)> {
        if self.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let Question { wanted, backlog, exclusive } = question;
        let (answer, answered) = mpsc::channel();
        let seq = self.take_seq();
        let index = self.index(&wanted);
        self.asked.insert(seq, Asked { wanted: wanted.clone(), answer });
        Ok((Listen { seq, wanted, backlog, index, exclusive }, answered))
    }

    /// Node's rule: the questions are numbered in their order, from 0 again when all are closed.
    fn index(&mut self, wanted: &Wanted) -> u32 {
        if !wanted.is_any_port() {
            return 0;
        }
        let numbers = self.any_port.entry(wanted.clone()).or_default();
        numbers.next += 1;
        numbers.open += 1;
        numbers.next - 1
    }

    /// The program has closed what has this name.
    pub(super) fn closed(&mut self, key: &str) {
        self.queues.remove(key);
        let Some(wanted) = self.named.remove(key) else { return };
        if let Some(numbers) = self.any_port.get_mut(&wanted) {
            numbers.open -= 1;
            if numbers.open == 0 {
                self.any_port.remove(&wanted);
            }
        }
    }

    pub(super) fn expect_answer(&mut self) -> (u64, Receiver<Option<Json>>) {
        let (answer, answered) = mpsc::channel();
        let seq = self.take_seq();
        // Without a primary the receiver is told at once: the other end is dropped.
        if !self.gone {
            self.requests.insert(seq, answer);
        }
        (seq, answered)
    }

    pub(super) fn forget_answer(&mut self, seq: u64) {
        self.requests.remove(&seq);
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes in one message.
    pub(super) fn hear(&mut self, message: ToWorker, fd: Option<OwnedFd>) -> Heard {
        match message {
            ToWorker::Seat(seat) => self.answer(seat.seq, &seat.key, |key| match fd {
                Some(fd) => Reply::Seat(key, fd),
                None => Reply::Error(nonsense("the socket did not arrive")),
            }),
            ToWorker::HandedOver { seq, key, address } => {
                let connections = Connections::new(Inbox::new());
                // Before the answer, for connections may follow at once; not after a stop, so that
                // the queue is at its end.
                if self.stop.is_some() {
                    self.queues.insert(key.clone(), Arc::clone(&connections));
                } else {
                    connections.end();
                }
                self.answer(seq, &key, |key| Reply::HandedOver { key, address, connections });
            }
            ToWorker::Error { seq, errno } => self.refuse(seq, errno),
            ToWorker::Connection { key, connection, .. } => {
                let sent = self.queues.get(&key).zip(fd).map(|(to, fd)| to.push((connection, fd)));
                if !matches!(sent, Some(Ok(()))) {
                    return Heard::Refused(connection);
                }
            }
            ToWorker::Stop => {
                self.stop();
            }
            ToWorker::Message(message) => return Heard::Said(Said { message, fd }),
            ToWorker::Reply(reply) => {
                if let Some(asked) = self.requests.remove(&reply.seq) {
                    // Who asked may have lost patience.
                    let _ = asked.send(reply.message);
                }
            }
            ToWorker::Unknown => {}
        }
        Heard::Done
    }

    fn answer(&mut self, seq: u64, key: &str, reply: impl FnOnce(String) -> Reply) {
        let Some(Asked { wanted, answer }) = self.asked.remove(&seq) else { return };
        let reply = reply(key.to_owned());
        if wanted.is_any_port() {
            self.named.insert(key.to_owned(), wanted);
        }
        // Who asked may have panicked; the socket is closed then.
        drop(answer.send(reply));
    }

    fn refuse(&mut self, seq: u64, errno: i32) {
        // As in Node, it counts among those that are open.
        if let Some(Asked { answer, .. }) = self.asked.remove(&seq) {
            drop(answer.send(Reply::Error(io::Error::from_raw_os_error(errno))));
        }
    }

    /// No more connections. Whether this is the first that was heard of it.
    pub(super) fn stop(&mut self) -> bool {
        // First the reason, for whoever sees the end of a queue looks for it.
        let first = self.stop.take().is_some();
        self.end_queues();
        first
    }

    fn end_queues(&mut self) {
        for (_, queue) in self.queues.drain() {
            queue.end();
        }
    }

    /// The channel is closed.
    pub(super) fn end(&mut self) {
        self.gone = true;
        self.asked.clear();
        self.requests.clear();
        self.end_queues();
    }
}
