//! One worker's channel: a task that owns the socket and the session.
//!
//! ```text
//!  Task ──Order──▶ channel task ──lines──▶ worker
//!  Task ◀──News─── channel task ◀──lines── worker
//! ```

mod connections;
mod gone;
mod orders;
mod session;
mod talk;

use connections::Connection;
use gone::Gone;
pub(super) use gone::Mark;
use session::Session;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
};

use serde_json::value::RawValue;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

use super::{
    budget::{Budget, Permit},
    handing::Handed,
    input::News,
    letters::{LETTERS, Letter, Letters, Mailbox},
    ready,
    ticket::Ticket,
};
use crate::{
    id::WorkerId,
    wire::{
        lines::{self, Flushed, Received},
        node::HandleKind,
    },
};

/// Which language a worker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Node's.
    Node,
    /// Ours.
    Native,
}

/// Since when a channel is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// Since now.
    Now,
    /// A predecessor spoke on it, and may have been ended amidst a line.
    Before {
        /// The worker has said who it is.
        greeted: bool,
    },
}

/// Something to be said to a worker.
#[derive(Debug)]
pub(super) enum Order {
    NodeSeat {
        seq: u64,
        key: String,
        data: Option<Box<RawValue>>,
        kind: HandleKind,
        fd: OwnedFd,
    },
    NodeRoundRobin {
        seq: u64,
        key: String,
        data: Option<Box<RawValue>>,
        address: Option<SocketAddr>,
    },
    NodeError {
        seq: u64,
        data: Option<Box<RawValue>>,
        errno: i32,
    },
    NativeSeat {
        seq: u64,
        key: String,
        fd: OwnedFd,
    },
    NativeHandedOver {
        seq: u64,
        key: String,
        address: Option<SocketAddr>,
    },
    NativeError {
        seq: u64,
        errno: i32,
    },
    Acknowledge(u64),
    /// Nobody will answer the worker's request of this number.
    NoAnswer(u64),
    /// Close your listeners, finish, go.
    Leave,
    Connection {
        handed: Handed,
        key: Arc<str>,
        ticket: Arc<Ticket>,
    },
    /// The worker has ended: read what it said to the end, and close.
    ReadToEnd,
}

/// The task's end of a channel.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    // Bounded by what the task has to answer: one order for each question, and two connections in
    // flight for each listener.
    // In boxes, as letters are: a queue has room for 32 from its beginning, and most workers say nothing.
    orders: mpsc::UnboundedSender<Box<Order>>,
    post: mpsc::Sender<Box<Letter>>,
    dialect: Dialect,
    gone: Gone,
}

impl Channel {
    pub(super) fn mailbox(&self, worker: WorkerId) -> Mailbox {
        let orders = self.orders.downgrade();
        Mailbox { worker, dialect: self.dialect, post: self.post.clone(), orders }
    }

    pub(super) fn say(&self, order: Order) {
        self.gone.said();
        // A closed channel has told so, or is about to.
        let _ = self.orders.send(Box::new(order));
    }

    /// All that was said so far.
    pub(super) fn mark(&self) -> Mark {
        self.gone.mark()
    }

    /// Whether that has left this process.
    pub(super) fn is_out(&self, mark: Mark) -> bool {
        self.gone.is_out(mark)
    }

    pub(super) fn read_to_end(&self) {
        self.say(Order::ReadToEnd);
    }
}

/// Starts the channel's task.
pub(super) fn open(
    worker: WorkerId,
    (dialect, since): (Dialect, Since),
    socket: UnixStream,
    tell: mpsc::Sender<News>,
) -> io::Result<Channel> {
    socket.set_nonblocking(true)?;
    let socket = ready::watch(socket.into(), Interest::READABLE)?;
    let session = Session::begin(dialect, since);
    let (orders, inbox) = mpsc::unbounded_channel();
    let (post, mail) = mpsc::channel(LETTERS);
    let gone = Gone::default();
    let task = ChannelTask {
        worker,
        session,
        socket,
        full: None,
        connections: VecDeque::new(),
        sent: BTreeMap::new(),
        tell,
        mail,
        letters: Letters::default(),
        budget: Budget::new(),
        ending: false,
        carried_out: 0,
        gone: gone.clone(),
    };
    tokio::spawn(task.run(inbox));
    Ok(Channel { orders, post, dialect, gone })
}

struct ChannelTask {
    worker: WorkerId,
    session: Session,
    socket: AsyncFd<OwnedFd>,
    /// The same socket, while it takes no more. Who waits for room without need is woken whenever the
    /// worker reads: under hand-over once more for every connection.
    full: Option<AsyncFd<OwnedFd>>,
    /// Connections that are accepted as soon as they can be sent.
    connections: VecDeque<Connection>,
    /// Connections in flight by the session's number.
    sent: BTreeMap<u64, Handed>,
    tell: mpsc::Sender<News>,
    mail: mpsc::Receiver<Box<Letter>>,
    letters: Letters,
    budget: Budget,
    ending: bool,
    /// So many orders are in the socket or in the outbox.
    carried_out: u64,
    gone: Gone,
}

/// What the channel's loop wakes up for.
enum Wake {
    Order(Option<Box<Order>>),
    Letter(Box<Letter>),
    /// The owner has taken some of what the worker had said.
    Room(Option<Permit>),
    /// The owner has taken nothing for too long.
    Unheard,
    Readable,
    Writable,
}

impl ChannelTask {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Box<Order>>) {
        let news = match self.serve(&mut inbox).await {
            Ok(()) => News::ChannelClosed(self.worker),
            Err(error) => News::ChannelBroken(self.worker, error),
        };
        let _ = self.tell.send(news).await;
    }

    async fn serve(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Box<Order>>,
    ) -> Result<(), String> {
        loop {
            self.flush().map_err(in_words)?;
            self.connect().await?;
            let takes = self.letters.has_room(self.session.queued());
            let full = self.budget.is_used_up();
            let wake = tokio::select! {
                order = inbox.recv() => Wake::Order(order),
                Some(letter) = self.mail.recv(), if takes => Wake::Letter(letter),
                permit = self.budget.room(), if full => Wake::Room(permit),
                () = self.budget.unheard(), if full && self.letters.awaits_words() => Wake::Unheard,
                ready = self.socket.readable(), if !full => {
                    ready.map_err(in_words)?.retain_ready();
                    Wake::Readable
                }
                room = has_room(self.full.as_ref()) => {
                    room.map_err(in_words)?;
                    Wake::Writable
                }
            };
            match wake {
                Wake::Order(Some(order)) => self.carry_out(*order).await?,
                Wake::Order(None) => return Ok(()),
                Wake::Letter(letter) => {
                    self.connect_all().await?;
                    self.post(*letter).map_err(in_words)?;
                }
                Wake::Room(permit) => {
                    let said = self.budget.release(permit);
                    self.tell_held(said).await?;
                }
                Wake::Unheard => self.letters.end_the_wait(self.worker),
                Wake::Readable | Wake::Writable => {}
            }
            self.carry_out_all(inbox).await?;
            if self.ending {
                let said = self.budget.lift();
                self.tell_held(said).await?;
            }
            if !self.budget.is_used_up() && !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Sends what can be sent, and remembers whether that was all.
    fn flush(&mut self) -> io::Result<()> {
        self.full = None;
        let queued = self.session.queued();
        let flushed = lines::flush(self.socket.get_ref(), self.session.outbox())?;
        self.letters.went(queued - self.session.queued());
        match flushed {
            // What cannot be said any more is known by the end of what is heard.
            Flushed::All | Flushed::Closed => self.gone.sent(self.carried_out),
            Flushed::WouldBlock => {
                let twin = self.socket.get_ref().try_clone()?;
                self.full = Some(ready::watch(twin, Interest::WRITABLE)?);
            }
        }
        Ok(())
    }

    /// Reads what is there. `false`: the other end is closed, or the worker has ended and everything it
    /// had said is read.
    async fn read(&mut self) -> Result<bool, String> {
        loop {
            match self.receive().map_err(in_words)? {
                Received::Bytes(_) => {
                    self.tell_events().await?;
                    if self.budget.is_used_up() {
                        return Ok(true);
                    }
                    // A worker that never pauses is read a little at a time: what it is to be told
                    // goes first, and so do the others.
                    if !self.ending {
                        tokio::task::yield_now().await;
                        return Ok(true);
                    }
                }
                Received::Last(_) => {
                    self.tell_events().await?;
                    return Ok(!self.ending);
                }
                Received::Closed => return Ok(false),
                Received::WouldBlock => return Ok(!self.ending),
            }
        }
    }

    fn receive(&mut self) -> io::Result<Received> {
        let receiver = self.session.receiver();
        // At the end there is nothing to wait for, so it does not matter what tokio knows.
        if self.ending {
            return lines::receive(self.socket.get_ref(), receiver);
        }
        let mut got = Received::WouldBlock;
        let outcome = self.socket.try_io_mut(Interest::READABLE, |socket| {
            got = lines::receive(&*socket, receiver)?;
            match got {
                Received::Bytes(_) | Received::Closed => Ok(()),
                // To tokio both mean that it is to wait again.
                Received::Last(_) | Received::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(got),
        }
    }

    async fn tell_events(&mut self) -> Result<(), String> {
        while let Some(news) = self.take_news()? {
            let news = match news {
                News::Said(worker, said) => match self.budget.admit(said) {
                    Some(said) => News::Said(worker, said),
                    None => break,
                },
                other => other,
            };
            if self.tell.send(news).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The next news. What came with a descriptor has been acknowledged then, as by Node, whose program
    /// hears of it afterwards.
    fn take_news(&mut self) -> Result<Option<News>, String> {
        let queued = self.session.queued();
        let news = self.next_news()?;
        let answered = self.session.queued().saturating_sub(queued);
        // What was answered on the way does not wait for a handle's confirmation.
        self.letters.delayed(answered);
        if answered > 0 && matches!(news, Some(News::Said(..))) {
            self.flush().map_err(in_words)?;
        }
        Ok(news)
    }
}

/// Waits for room in a socket that is full.
async fn has_room(full: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match full {
        Some(socket) => socket.writable().await.map(drop),
        None => std::future::pending().await,
    }
}

/// An error with all its causes, as one line.
fn in_words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
