//! What reaches the task: requests of the owner, and news of the workers.

use std::collections::BTreeSet;

use std::io;

use rustix::process::{Pid, Signal};
use tine_linux::{
    balance::{BalanceError, Balancer, KernelOffsets},
    process::Exit,
    seccomp::Notification,
};
use tokio::sync::oneshot;

use super::{
    Fork, ForkError, GenerationError, PolicyError, Program, Reload, ReloadError, Reloaded, Tuning,
    WorkerError, budget::Said, handing::Handed, policy::Intent, reports::Report, restarting::Done,
};
use crate::{
    id::{Instance, ListenerId, WorkerId},
    policy::Policy,
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
    /// Send a signal to one worker.
    SignalOne(WorkerId, Signal, oneshot::Sender<Result<(), WorkerError>>),
    /// Start one more worker.
    Fork(Box<Fork>, oneshot::Sender<Result<WorkerId, ForkError>>),
    /// Start another program from now on.
    Setup(Box<Program>),
    /// Replace the workers of all instances, and tell how it went.
    Reload(Box<Reload>, oneshot::Sender<Result<Reloaded, ReloadError>>),
    /// Have another policy hold.
    Policy(Policy, Intent, oneshot::Sender<Result<(), PolicyError>>),
    /// Let an old generation go.
    Promote(oneshot::Sender<Result<(), GenerationError>>),
    /// Go back to it.
    Revert(oneshot::Sender<Result<BTreeSet<Instance>, GenerationError>>),
    /// Stop replacing.
    CancelReload,
    /// The owner approves of this worker.
    Approve(WorkerId),
    /// Keep so many workers running.
    Scale(u32, oneshot::Sender<Result<(), WorkerError>>),
    /// Empty one instance.
    StopInstance(Instance, Done),
    /// Fill one instance, if it is empty.
    StartInstance(Instance, Done),
    /// Fill this instance anew, or all of them.
    Restart(Option<Instance>, Done),
    /// Go on with these settings.
    Configure(Box<Tuning>),
    /// Let workers leave, and tell when they are gone.
    Disconnect(Leavers, oneshot::Sender<Result<(), WorkerError>>),
    /// Take zombies away that are nobody's worker.
    ReapOrphans,
    /// A process has ended so that is no child of this one.
    ChildEnded(Pid, Exit),
    /// End, and leave the workers to a successor.
    Leave(oneshot::Sender<()>),
    /// Tell how things are.
    Report(oneshot::Sender<Report>),
}

/// Who is to leave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leavers {
    /// This worker.
    One(WorkerId),
    /// All of them.
    All,
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

impl News {
    /// The worker of whom something else may be so from now on. The messages of programs, and answers for
    /// connections, change nothing that a successor would need.
    pub(super) const fn touches(&self) -> Option<WorkerId> {
        match self {
            Self::Exited(worker)
            | Self::FilterGone(worker)
            | Self::Trapped(worker, _)
            | Self::TrappedBefore(worker, _)
            | Self::Node(worker, _)
            | Self::Native(worker, _)
            | Self::SaysReady(worker, _)
            | Self::ChannelClosed(worker)
            | Self::ChannelBroken(worker, _) => Some(*worker),
            Self::OutputEnded(..)
            | Self::Said(..)
            | Self::Answered { .. }
            | Self::Unaccepted { .. }
            | Self::Acceptable(_)
            | Self::Loaded(..) => None,
        }
    }
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum News {
    /// The first process ended; it waits to be waited for.
    Exited(WorkerId),
    /// No process with the worker's filter is left.
    FilterGone(WorkerId),
    /// A call waits for an answer.
    Trapped(WorkerId, Notification),
    /// The primary before had taken this call, and not answered it.
    TrappedBefore(WorkerId, Notification),
    /// Both output pipes were read to their end; with the last lines.
    OutputEnded(WorkerId, Vec<Vec<u8>>),
    /// A Node worker said something.
    Node(WorkerId, Box<node::Event>),
    /// A worker that speaks our protocol said something.
    Native(WorkerId, native::Event),
    /// A worker's program said something to ours.
    Said(WorkerId, Box<Said>),
    /// A worker answered for a connection.
    Answered {
        /// Who.
        worker: WorkerId,
        /// For which one.
        handed: Handed,
        /// Whether it took the connection.
        accepted: bool,
    },
    /// What a worker was to be sent could not be accepted.
    Unaccepted {
        /// Who.
        worker: WorkerId,
        /// Which one.
        handed: Handed,
        /// Why; `EAGAIN` where nobody waited any more.
        error: io::Error,
    },
    /// A worker's channel is closed and was read to its end.
    ChannelClosed(WorkerId),
    /// A worker does not keep to the protocol.
    ChannelBroken(WorkerId, String),
    /// This process says that the worker is ready, in the way of `sd_notify(3)`.
    SaysReady(WorkerId, Pid),
    /// A connection can be accepted.
    Acceptable(ListenerId),
    /// A listener's program was loaded, or was not.
    Loaded(ListenerId, Box<Loaded>),
}
