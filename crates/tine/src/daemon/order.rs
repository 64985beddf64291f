//! What the manager says to the task of an app.

use std::collections::BTreeSet;

use rustix::process::Signal;
use tokio::sync::oneshot;

use super::{app::Action, slot::Reason};
use crate::{
    api::{
        PortsReport,
        apps::{AppView, Detail, Outcome},
        told::ActionReply,
    },
    control::Replies,
    spec::{Env, Patch},
};

/// Work, carried out one after the other.
#[derive(Debug)]
pub(super) struct Order {
    pub todo: Todo,
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
    Reload { alter: Alter, parallel: Option<u32> },
    /// Have so many instances.
    Scale(Scale),
    /// Stop, and be forgotten.
    Delete,
    /// Stop with the manager.
    End,
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
}
