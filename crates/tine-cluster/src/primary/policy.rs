//! Another policy for an app that runs.
//!
//! Where the mechanism stays the same, only what chooses is exchanged: the sockets stay in their group,
//! with all that waits in them. Where it does not, workers of before and after could not share the port.

use std::io;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Cluster, Ended, balance::GroupError, input::Command, task::Task};
use crate::{
    id::ListenerId,
    policy::{Choice, Mechanism, NotToBeHad, Policy},
};

/// Why the policy stays as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// It cannot be had here at all.
    #[error(transparent)]
    NotToBeHad(#[from] NotToBeHad),
    /// It takes another mechanism, and so other sockets.
    #[error("{listener} is served by {from}, and the policy takes {to}")]
    OtherMechanism {
        /// Where.
        listener: String,
        /// What carries out the policy of now.
        from: Mechanism,
        /// What would carry out the other one.
        to: Mechanism,
    },
    /// The kernel has refused.
    #[error("change who gets the next connection")]
    Refused(#[source] io::Error),
}

/// Whether it is only asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Ask,
    Change,
}

impl Cluster {
    /// Has another policy hold from now on, for listeners that are there too. Nothing that waits in a
    /// queue is touched.
    ///
    /// # Errors
    ///
    /// When a listener would need another mechanism than it has; then nothing is changed.
    pub async fn set_policy(&self, policy: Policy) -> Result<(), PolicyError> {
        self.ask(|done| Command::Policy(policy, Intent::Change, done)).await?
    }

    /// Whether [`Self::set_policy`] could be done now.
    ///
    /// # Errors
    ///
    /// Those that it would give.
    pub async fn check_policy(&self, policy: Policy) -> Result<(), PolicyError> {
        self.ask(|done| Command::Policy(policy, Intent::Ask, done)).await?
    }
}

impl Task {
    pub(super) fn change_policy(
        &mut self,
        (policy, intent): (Policy, Intent),
        done: oneshot::Sender<Result<(), PolicyError>>,
    ) {
        let before = std::mem::replace(&mut self.settings.policy, policy);
        let result = match self.choices() {
            Ok(choices) if intent == Intent::Change => self.choose_again(choices),
            other => {
                self.settings.policy = before;
                other.map(drop)
            }
        };
        // Whoever asked may have given up.
        let _ = done.send(result);
    }

    /// What is chosen for each listener under the policy of now.
    fn choices(&self) -> Result<Vec<(ListenerId, Choice)>, PolicyError> {
        let choice = |(id, it): (ListenerId, &crate::core::registry::Listener)| {
            let choice = self.choose(it.key.transport, it.acquisition)?;
            if self.seats.is_loading(id) {
                return Err(PolicyError::Refused(io::ErrorKind::WouldBlock.into()));
            }
            let (from, to) = (it.choice.mechanism, choice.mechanism);
            if from == to {
                return Ok((id, choice));
            }
            Err(PolicyError::OtherMechanism { listener: it.key.to_string(), from, to })
        };
        self.seats.registry().listeners().map(choice).collect()
    }

    fn choose_again(&mut self, choices: Vec<(ListenerId, Choice)>) -> Result<(), PolicyError> {
        let changed: Result<(), GroupError> =
            choices.into_iter().try_for_each(|(id, choice)| self.seats.choose_again(id, choice));
        changed.map_err(|error| PolicyError::Refused(io::Error::other(error)))
    }
}
