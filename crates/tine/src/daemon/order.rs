//! What the manager says to the task of an app.

use std::{collections::BTreeSet, convert::Infallible};

use rustix::process::{Pid, Signal};
use tine_linux::process::Exit;
use tokio::sync::{mpsc, oneshot, watch};

use super::{app::Action, slot::Reason};
use crate::{
    api::{
        PortsReport,
        apps::{AppView, Detail, Outcome},
        reload::Rolling,
        told::ActionReply,
    },
    control::Replies,
    spec::{Env, Millis, Patch},
};

/// Work, carried out one after the other.
#[derive(Debug)]
pub(super) struct Order {
    pub todo: Todo,
    /// Connections have so long to finish this once.
    pub drain_timeout: Option<Millis>,
    /// Hears of progress.
    pub progress: Option<Replies>,
    pub answer: oneshot::Sender<Outcome>,
}

/// Which work.
#[derive(Debug)]
pub(super) enum Todo {
    /// Run what does not run.
    Start(Which),
    /// Drain and stop.
    Stop(Which),
    /// Stop and start, with these changes.
    Restart { which: Which, alter: Alter, reason: Reason },
    /// Start and stop, with these changes.
    Reload { which: Which, alter: Alter, rolling: Rolling },
    /// Go back to what ran before.
    Rollback,
    /// Let go of what is kept beside.
    Promote,
    /// Have so many instances.
    Scale(Scale),
    /// Stop, and be forgotten.
    Delete,
    /// Stop with the manager.
    End,
    /// Leave workers alone: they are the next manager's.
    Leave(Departure),
}

/// All apps leave at the same time.
#[derive(Debug)]
pub(super) struct Departure {
    /// Dropped by each that has nothing else to do any more.
    pub here: mpsc::Sender<Infallible>,
    /// All are here.
    pub go: watch::Receiver<bool>,
}

/// Which workers of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those with these ids.
    Ids(BTreeSet<u32>),
}

impl Which {
    pub(super) fn has(&self, id: u32) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(&id),
        }
    }

    /// Nobody is meant.
    pub(super) fn has_none(&self) -> bool {
        match self {
            Self::All => false,
            Self::Ids(ids) => ids.is_empty(),
        }
    }
}

/// What changes about an app.
#[derive(Clone, Debug, Default)]
pub(super) struct Alter {
    pub patch: Patch,
    /// The patch says all that there is to say.
    pub whole: bool,
    /// Takes the place of the inherited environment.
    pub inherited: Option<Env>,
}

/// How many instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    To(u32),
    Up(u32),
    Down(u32),
}

/// A question, or something that is done at once, also while an order is under way.
#[derive(Debug)]
pub(super) enum Query {
    View {
        detail: Detail,
        answer: oneshot::Sender<AppView>,
    },
    /// `None`: it does not run.
    Ports(oneshot::Sender<Option<PortsReport>>),
    /// Restarts are counted from zero.
    Reset(Which, oneshot::Sender<()>),
    /// Files are not watched any more.
    Unwatch(oneshot::Sender<()>),
    /// Log files are emptied.
    Flush(Which, oneshot::Sender<()>),
    ReopenLogs,
    Signal {
        which: Which,
        signal: Signal,
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// A line for its standard input, or a message for its channel.
    Send {
        id: u32,
        line: String,
        message: bool,
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Programs carry out an action.
    Trigger {
        which: Which,
        action: Action,
        answer: oneshot::Sender<Vec<ActionReply>>,
    },
    /// What waits for readiness waits no longer: something else is wanted by now.
    Interrupt,
    /// A reload is called off.
    CancelReload,
    /// What is stopping is killed.
    Kill,
    /// A process has ended that the watchdog had for a child.
    Ended(Pid, Exit),
}
