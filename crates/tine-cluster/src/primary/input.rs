//! What reaches the task: requests of the owner, and news of the workers.

use rustix::process::Signal;
use tine_linux::{
    balance::{BalanceError, Balancer, KernelOffsets},
    seccomp::Notification,
};
use tokio::sync::oneshot;

use super::event::Report;
use crate::{
    id::{ListenerId, WorkerId},
    wire::{native, node},
};

/// A request of the owner.
#[derive(Debug)]
pub(super) enum Command {
    /// Drain and stop every worker.
    Stop,
    /// Kill every worker.
    Kill,
    /// Pass a signal on.
    Signal(Signal),
    /// Take zombies away that are nobody's worker.
    ReapOrphans,
    /// Tell how things are.
    Report(oneshot::Sender<Report>),
}

/// What the task's loop wakes up for.
#[derive(Debug)]
pub(super) enum Input {
    /// The owner wants something.
    Command(Command),
    /// Nobody is left who could want something: the handles are gone.
    Abandoned,
    /// Something happened to a worker.
    News(News),
    /// A deadline has passed, or it is time to look.
    Tick,
}

/// A program, with what was learnt for the next one.
pub(super) type Loaded = Result<(Balancer, Option<KernelOffsets>), BalanceError>;

/// Something that happened.
#[derive(Debug)]
pub(super) enum News {
    /// The first process ended; it waits to be waited for.
    Exited(WorkerId),
    /// No process with the worker's filter is left.
    FilterGone(WorkerId),
    /// A call waits for an answer.
    Trapped(WorkerId, Notification),
    /// Both output pipes were read to their end; with the last lines.
    OutputEnded(WorkerId, Vec<Vec<u8>>),
    /// A Node worker said something.
    Node(WorkerId, Box<node::Event>),
    /// A worker that speaks our protocol said something.
    Native(WorkerId, native::Event),
    /// A worker answered for a connection.
    Answered {
        /// Who.
        worker: WorkerId,
        /// Of which listener.
        listener: ListenerId,
        /// Whether it took the connection.
        accepted: bool,
    },
    /// A worker's channel is closed and was read to its end.
    ChannelClosed(WorkerId),
    /// A worker does not keep to the protocol.
    ChannelBroken(WorkerId, String),
    /// A connection can be accepted.
    Acceptable(ListenerId),
    /// A listener's program was loaded, or was not.
    Loaded(ListenerId, Box<Loaded>),
}
