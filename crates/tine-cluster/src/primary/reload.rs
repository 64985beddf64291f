//! What a rolling replacement is asked for with, and how it can fail.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use thiserror::Error;
use tine_linux::{process::Exit, spawn::SpawnError};

use super::{Cluster, Ended, Program, beside::NotKept, input::Command};
use crate::{
    address::ListenKey,
    core::{generations::Beside, rollout::Pace},
    id::{Instance, WorkerId},
};

/// A rolling replacement of all workers.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    /// What runs from now on; the program as it is when not said.
    pub program: Option<Program>,
    /// Only the workers of these instances are replaced; those of all when not said. Replacements of the
    /// others run the new program all the same.
    pub only: Option<BTreeSet<Instance>>,
    /// How fast.
    pub pace: Pace,
    /// The old workers are kept beside the new ones, for [`Cluster::revert`] to go back to or
    /// [`Cluster::promote`] to let go; they are drained and stopped when not said. If such a reload
    /// fails, the old ones fill all their places again.
    pub beside: Option<Beside>,
    /// A new worker is ready only when the owner has approved of it as well ([`Cluster::approve`]).
    pub approval: bool,
}

/// Every worker was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// How many.
    pub replaced: u32,
}

/// Why not every worker was replaced.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The cluster is coming to its end.
    #[error("the cluster is stopping")]
    Stopping,
    /// Another one is under way.
    #[error("a reload is under way")]
    Busy,
    /// Old workers cannot be kept.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// It was called off.
    #[error("the reload was called off after {replaced} workers")]
    Cancelled {
        /// Places that have a new worker.
        replaced: u32,
    },
    /// A new worker could not be started.
    #[error("start a worker for instance {instance}, after {replaced} others")]
    NotStarted {
        /// For which place.
        instance: Instance,
        /// Places that have a new worker.
        replaced: u32,
        /// Why.
        source: SpawnError,
    },
    /// A new worker ended before it was ready.
    #[error("the new worker {worker} of instance {instance} ended before it was ready")]
    EndedEarly {
        /// For which place.
        instance: Instance,
        /// Which worker.
        worker: WorkerId,
        /// Places that have a new worker.
        replaced: u32,
        /// How it ended.
        exit: Option<Exit>,
        /// The last lines that it wrote.
        last_lines: Vec<Vec<u8>>,
    },
    /// A new worker was not ready in time, and was removed.
    #[error("the new worker {worker} of instance {instance} was not ready in {patience:?}")]
    TooLate {
        /// For which place.
        instance: Instance,
        /// Which worker.
        worker: WorkerId,
        /// Places that have a new worker.
        replaced: u32,
        /// How long it was given.
        patience: Duration,
        /// What it still lacked then.
        lack: Lack,
        /// When that was found, before it was told to go.
        decided: Instant,
        /// The last lines that it wrote, also on its way out.
        last_lines: Vec<Vec<u8>>,
    },
}

/// What a new worker lacked when its time was up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// Its program was to say that it is ready, and did not.
    Word,
    /// It does not listen wherever its predecessor does.
    Listener {
        /// Where it should.
        missing: Vec<ListenKey>,
        /// Where it does, and its predecessor does not.
        elsewhere: Vec<ListenKey>,
    },
    /// It has nothing to say and nowhere to listen, and had not lived for
    /// [`min_uptime`](crate::core::backoff::Limits::min_uptime).
    Time,
    /// Its owner was to approve of it ([`Cluster::approve`]), and did not.
    Approval,
    /// Somebody else had told it to go.
    Life,
}

impl Cluster {
    /// Replaces the workers of all instances, one by one, new before old, and returns when it is done.
    ///
    /// A new worker is ready when it listens wherever its predecessor does, and has said so if
    /// [`wait_ready`](super::Settings::wait_ready) is set; one that has neither to do,
    /// when it has lived for [`min_uptime`](crate::core::backoff::Limits::min_uptime). Then the old one
    /// is drained and stopped. The first is the canary: if it fails, no old worker was touched, and the
    /// program stays as it was. A later failure ends the reload too; what was replaced stays replaced.
    ///
    /// It goes on if the future is dropped. Instances that are empty get a worker as well. Forked workers
    /// are not its business.
    ///
    /// # Errors
    ///
    /// When a new worker cannot be had, with the reason; when another reload is under way.
    pub async fn reload(&self, reload: Reload) -> Result<Reloaded, ReloadError> {
        self.ask(|done| Command::Reload(Box::new(reload), done)).await?
    }

    /// Calls off a reload that is under way: who is not ready yet goes again. Does nothing without one.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn cancel_reload(&self) -> Result<(), Ended> {
        self.order(Command::CancelReload).await
    }
}
