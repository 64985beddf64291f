//! What the owner thinks of workers on trial.

use std::collections::BTreeSet;

use super::{Cluster, Ended, input::Command, task::Task};
use crate::id::WorkerId;

/// Of whom the owner has approved, where that is asked for.
#[derive(Debug)]
pub(super) struct Approval(Option<BTreeSet<WorkerId>>);

impl Approval {
    pub(super) fn new(is_asked_for: bool) -> Self {
        Self(is_asked_for.then(BTreeSet::new))
    }

    pub(super) fn has(&self, worker: WorkerId) -> bool {
        self.0.as_ref().is_none_or(|approved| approved.contains(&worker))
    }

    pub(super) fn give(&mut self, worker: WorkerId) {
        if let Some(approved) = &mut self.0 {
            approved.insert(worker);
        }
    }
}

impl Cluster {
    /// The worker is well, for all that the owner can tell: a reload that waits for that
    /// ([`Reload::approval`](super::Reload::approval)) goes on when the worker is ready otherwise, too. Does nothing
    /// without one.
    ///
    /// # Errors
    ///
    /// When the cluster has ended already.
    pub async fn approve(&self, worker: WorkerId) -> Result<(), Ended> {
        self.order(Command::Approve(worker)).await
    }
}

impl Task {
    pub(super) fn approve(&mut self, worker: WorkerId) {
        if let Some(rolling) = &mut self.rolling {
            rolling.approved(worker);
        }
    }
}
