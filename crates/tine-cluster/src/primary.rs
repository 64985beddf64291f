//! The primary: starts workers, answers what they ask for, carries out the policy, and keeps them
//! running.
//!
//! ```text
//!   Cluster (handle) ──Command──▶ ┌──────┐ ──Event──▶ Events
//!                                 │ Task │
//!   pidfd, trap, channel, accept, │      │ ──▶ spawn, bind, listen, rotation, signals
//!   output: one small task each ──Input──▶ └──────┘
//! ```
//!
//! Messages go the short way, from the handle to the channel's own small task, so that a worker that
//! does not read holds up nobody but those who write to it.
//!
//! One task owns all state; everybody else sends it messages. What to do is decided by
//! [`crate::core`]; the modules here carry it out.

mod abandoned;
mod accept;
mod adopting;
mod approval;
mod asks;
mod balance;
mod beside;
mod budget;
mod caller;
mod census;
mod channel;
mod declared;
mod drain;
mod ends;
mod environment;
mod event;
mod exclusive;
mod foreign;
mod gate;
mod habits;
mod handing;
mod input;
mod inspect;
mod instances;
mod keep;
mod keeping;
mod leaving;
mod letters;
mod lifecycle;
mod listening;
mod loading;
mod messages;
mod native;
mod node;
mod notify;
mod output;
mod owner;
mod paths;
mod policy;
mod presumed;
mod probe;
mod quota;
mod reach;
mod readiness;
pub(crate) mod ready;
mod records;
mod recovery;
mod reload;
mod report;
mod reports;
mod requests;
mod restarting;
mod rolling;
mod seats;
mod settings;
mod shares;
mod shutdown;
mod spent;
mod start;
mod succession;
mod taken;
mod task;
mod telling;
mod ticket;
mod trap;
mod unfinished;
mod unwanted;
mod watch;
mod witness;
mod worker;

pub use beside::{GenerationError, NotKept};
pub use event::{AddressType, Ending, Event, ListeningAddress, Output, Stream, What};
pub use keep::{AdoptError, Keep, Kept};
pub use messages::{Reply, RequestError, SendError};
pub use owner::{ForkError, WorkerError};
pub use policy::PolicyError;
pub use reach::Reach;
pub use recovery::{Lost, Recovered, WhyLost, recover};
pub use reload::{Lack, Reload, ReloadError, Reloaded};
pub use reports::{InstanceReport, ListenerReport, Report, SeatReport, WorkerReport};
pub use restarting::InstanceError;
pub use settings::{
    CgroupLimits, Controller, Fork, Program, ProgramKind, Resource, Settings, Stdio, Tuning, User,
};
pub use start::cgroup_prefix;

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal};
use thiserror::Error;
use tine_linux::process::Exit;
use tokio::{
    sync::{self, mpsc},
    task::JoinHandle,
};

use crate::id::WorkerId;
use input::Command;
use letters::Mailbox;
use telling::Told;

/// A running cluster. Cheap to clone; every method queues a request and may be called at any time, in
/// any order, from any task.
///
/// None of them waits for [`Events`] to be taken, but those to which a worker's program has to say
/// something: [`Self::request`], and [`Self::send_with`] to Node. What waits for a worker to go, to come
/// or to be ready has an end: [`Settings::patience`], [`Reload::pace`].
#[derive(Clone, Debug)]
pub struct Cluster {
    commands: mpsc::Sender<Command>,
    /// Of every worker whose channel is open.
    mailboxes: sync::watch::Receiver<BTreeMap<WorkerId, Mailbox>>,
}

/// The cluster has ended, so nobody carries the request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the cluster has ended")]
pub struct Ended;

/// What a cluster tells, in order.
///
/// Lines that workers write wait here: if nobody takes them, the workers wait as with any full pipe.
/// So do messages: of each worker up to 1 MiB, or 1024, or 16 with a socket; what is more stays in its
/// channel and in the worker. No message is lost, and no other worker waits. But a worker whose channel
/// is not read is handed no connections, for its answers come the same way: take the events.
///
/// Of what a worker can do as often as it likes ([`What::Listening`], [`What::Refused`], [`What::Unfit`],
/// [`What::Trouble`]) 64 events wait; of those beyond only the number is told ([`What::Missed`]), and when
/// all was taken, on what the worker listens by then. No step of a worker's life is left out.
#[derive(Debug)]
pub struct Events {
    lifecycle: mpsc::UnboundedReceiver<Told>,
    output: mpsc::Receiver<Event>,
    /// The end of a worker, that waits until so many lines are told that were written before.
    held: Option<(Event, usize)>,
    task: JoinHandle<Ending>,
}

/// Requests that may wait; more make their senders wait.
const COMMANDS: usize = 64;
/// Lines that may wait for the owner of the events.
const LINES: usize = 256;

impl Cluster {
    /// Starts the workers, on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time enabled.
    #[must_use]
    pub fn start(settings: Settings) -> (Self, Events) {
        let (commands, requests) = mpsc::channel(COMMANDS);
        // Bounded by the processes that can start and end: what else they do is counted in `quota`, and
        // what they say in `budget`.
        let (tell, lifecycle) = mpsc::unbounded_channel();
        let (lines, output) = mpsc::channel(LINES);
        let (directory, mailboxes) = sync::watch::channel(BTreeMap::new());
        let task = task::Task::new(settings, (tell, lines), directory);
        let task = tokio::spawn(task.run(requests));
        (Self { commands, mailboxes }, Events { lifecycle, output, held: None, task })
    }

    /// Goes on with a cluster that another process began, from what its
    /// [`Settings::keeper`] has kept: its workers are this one's then, and those that served notice
    /// nothing. [`What::Adopted`] tells of each, first of all.
    ///
    /// A worker that was not ready yet is replaced; a reload that was under way is given up. The
    /// settings should be those that the cluster had: they hold for what happens from now on.
    ///
    /// The workers are no children of this process, so it is told how they ended:
    /// [`Self::child_ended`].
    ///
    /// # Errors
    ///
    /// When what was kept cannot be understood. Nothing was done to the workers then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn adopt(settings: Settings, kept: Vec<Kept>) -> Result<(Self, Events), AdoptError> {
        let estate = adopting::Estate::read(kept)?;
        let (commands, requests) = mpsc::channel(COMMANDS);
        let (tell, lifecycle) = mpsc::unbounded_channel();
        let (lines, output) = mpsc::channel(LINES);
        let (directory, mailboxes) = sync::watch::channel(BTreeMap::new());
        let mut task = task::Task::new(settings, (tell, lines), directory);
        task.take_over(estate)?;
        let task = tokio::spawn(task.run(requests));
        Ok((Self { commands, mailboxes }, Events { lifecycle, output, held: None, task }))
    }

    /// Ends this cluster, and does nothing to its workers: all that a successor needs is kept. Returns
    /// when nothing more is put.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn leave(&self) -> Result<(), Ended> {
        self.ask(Command::Leave).await
    }

    /// How a process ended that was started by a predecessor, from whoever was its parent and has waited
    /// for it. One that is nobody's worker is of no interest.
    ///
    /// Since Linux 6.15 the kernel tells by itself; without either the end counts as a failure.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn child_ended(&self, pid: Pid, exit: Exit) -> Result<(), Ended> {
        self.order(Command::ChildEnded(pid, exit)).await
    }

    /// Takes every worker out of rotation, lets connections finish, then stops the workers.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn stop(&self) -> Result<(), Ended> {
        self.order(Command::Stop).await
    }

    /// Kills every worker with all that descends from it.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn kill(&self) -> Result<(), Ended> {
        self.order(Command::Kill).await
    }

    /// Sends a signal to the first process of every worker.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn signal(&self, signal: Signal) -> Result<(), Ended> {
        self.order(Command::Signal(signal)).await
    }

    /// Takes away zombies among this process's children that are nobody's worker: for a subreaper, at
    /// every `SIGCHLD`.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn reap_orphans(&self) -> Result<(), Ended> {
        self.order(Command::ReapOrphans).await
    }

    /// What it looks like now.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn report(&self) -> Result<Report, Ended> {
        self.ask(Command::Report).await
    }

    async fn order(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }
}

impl Events {
    /// The next event; `None` when the cluster has ended and everything was told.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take_held() {
                return Some(event);
            }
            tokio::select! {
                biased;
                Some(told) = self.lifecycle.recv() => match told.event {
                    // Its lines came before, and wait in the other queue.
                    event @ Event { what: What::Exited { .. }, .. } => {
                        self.held = Some((event, self.output.len()));
                    }
                    event => return Some(event),
                },
                Some(event) = self.output.recv() => return Some(event),
                else => return None,
            }
        }
    }

    fn take_held(&mut self) -> Option<Event> {
        let (event, lines) = self.held.take()?;
        if lines > 0
            && let Ok(line) = self.output.try_recv()
        {
            self.held = Some((event, lines - 1));
            return Some(line);
        }
        Some(event)
    }

    /// How the cluster ended. To be asked when [`Self::next`] gave `None`; waits for that otherwise.
    ///
    /// # Errors
    ///
    /// When its task panicked or its runtime is shutting down.
    pub async fn ending(self) -> Result<Ending, tokio::task::JoinError> {
        drop((self.lifecycle, self.output));
        self.task.await
    }
}
