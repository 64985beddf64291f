//! Replaces the workers of an app one by one, new before old.
//!
//! ```text
//!             Start          ready            Retire old        old gone
//!  waiting ─────────▶ trial ───────▶ replaced ──────────▶ leaving ───────▶ done
//!                       │ failed, or too late
//!                       ▼
//!            Remove new; nobody else is started; the old one was never touched
//! ```
//!
//! The first trial is the canary: until it has succeeded there is no other. After it so many places
//! are under way at a time as [`Pace::parallel`] says. A failure ends the rollout: what is on trial is
//! removed, what was replaced stays, since its predecessor has gone.
//!
//! The machine says what to do by [`Rollout::next_action`]; it is told what happened, and has no clock and no
//! I/O. Whoever drives it calls `next_action` until it says `None` after every other method, and at
//! [`Rollout::poll_timeout`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::after;
use crate::id::{Instance, WorkerId};

/// How fast a rollout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many places are under way at the same time, after the canary. 0 counts as 1.
    pub parallel: usize,
    /// How long a new worker may take until it is ready. A time-out is a failure.
    pub patience: Duration,
}

impl Default for Pace {
    /// One at a time, each with half a minute.
    fn default() -> Self {
        Self { parallel: 1, patience: Duration::from_secs(30) }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the action counts as done"]
pub enum Action {
    /// Start a worker for the place, beside the one that fills it. To be followed by
    /// [`Rollout::started`] or [`Rollout::not_started`].
    Start(Instance),
    /// This new worker fills its place from now on; its predecessor, if there is one, is to be drained
    /// and stopped.
    Replace {
        /// Where.
        instance: Instance,
        /// Who fills it.
        new: WorkerId,
        /// Who leaves.
        old: Option<WorkerId>,
    },
    /// This new worker is to go: it failed, or the rollout did.
    Remove(WorkerId),
}

/// Why a rollout failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No new worker could be started for this place.
    NotStarted(Instance),
    /// This new worker ended before it was ready.
    Ended(Instance, WorkerId),
    /// This new worker was not ready in time.
    TooLate(Instance, WorkerId),
    /// It was called off.
    Cancelled,
}

/// How a rollout came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Places that have a new worker.
    pub replaced: u32,
    /// Why there are not more of them.
    pub failure: Option<Failure>,
}

/// A rollout under way.
#[derive(Debug)]
pub struct Rollout {
    pace: Pace,
    waiting: VecDeque<Instance>,
    /// Who fills each place that is not done.
    old: BTreeMap<Instance, WorkerId>,
    under_way: BTreeMap<Instance, Step>,
    actions: VecDeque<Action>,
    replaced: u32,
    failure: Option<Failure>,
    /// Predecessors stay: their end is not waited for.
    keeps_old: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Told to start.
    Starting,
    /// Not ready yet.
    Trial { new: WorkerId, until: Instant },
    /// The new one serves; this old one is on its way out.
    Leaving(WorkerId),
}

impl Rollout {
    /// A rollout over these places, each with the worker that fills it.
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = (Instance, Option<WorkerId>)>, pace: Pace) -> Self {
        let (mut waiting, mut old) = (VecDeque::new(), BTreeMap::new());
        for (instance, worker) in places {
            waiting.push_back(instance);
            old.extend(worker.map(|worker| (instance, worker)));
        }
        Self {
            pace,
            waiting,
            old,
            under_way: BTreeMap::new(),
            actions: VecDeque::new(),
            replaced: 0,
            failure: None,
            keeps_old: false,
        }
    }

    /// Likewise, but [`Action::Replace`] means that the predecessor stays beside: the next place does not
    /// wait for its end.
    #[must_use]
    pub fn keeping_old(self) -> Self {
        Self { keeps_old: true, ..self }
    }

    /// How fast it goes.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.failure.is_some() || self.under_way.len() >= self.room() {
            return None;
        }
        let instance = self.waiting.pop_front()?;
        self.under_way.insert(instance, Step::Starting);
        Some(Action::Start(instance))
    }

    /// How many places may be under way now.
    fn room(&self) -> usize {
        if self.replaced == 0 { 1 } else { self.pace.parallel.max(1) }
    }

    /// The place's new worker runs.
    pub fn started(&mut self, instance: Instance, new: WorkerId, now: Instant) {
        let until = after(now, self.pace.patience);
        self.under_way.insert(instance, Step::Trial { new, until });
        // Called off while it was being started.
        if self.failure.is_some() {
            self.remove_trials();
        }
    }

    /// The place got another worker meanwhile, by other hands: its last one had crashed.
    pub fn filled(&mut self, instance: Instance, worker: WorkerId) {
        let trial =
            matches!(self.under_way.get(&instance), Some(Step::Starting | Step::Trial { .. }));
        if trial || self.waiting.contains(&instance) {
            self.old.insert(instance, worker);
        }
    }

    /// No worker could be started for the place.
    pub fn not_started(&mut self, instance: Instance) {
        self.under_way.remove(&instance);
        self.fail(Failure::NotStarted(instance));
    }

    /// The worker is ready. Whoever is not on trial is none of this machine's business.
    pub fn ready(&mut self, worker: WorkerId) {
        let Some(instance) = self.trial_of(worker) else { return };
        let old = self.old.remove(&instance);
        self.replaced += 1;
        self.actions.push_back(Action::Replace { instance, new: worker, old });
        match old.filter(|_| !self.keeps_old) {
            Some(old) => drop(self.under_way.insert(instance, Step::Leaving(old))),
            None => drop(self.under_way.remove(&instance)),
        }
    }

    /// Nothing is left of the worker, or nothing of its first process.
    pub fn gone(&mut self, worker: WorkerId) {
        if let Some(instance) = self.trial_of(worker) {
            self.under_way.remove(&instance);
            self.fail(Failure::Ended(instance, worker));
        }
        // An old one that ended by itself: its place has nobody to be replaced any more.
        self.old.retain(|_, old| *old != worker);
        self.under_way.retain(|_, step| !matches!(step, Step::Leaving(old) if *old == worker));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        let late = self.trials().find(|(_, _, until)| *until <= now);
        if let Some((instance, new, _)) = late {
            self.fail(Failure::TooLate(instance, new));
        }
    }

    /// When [`Self::tick`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.trials().map(|(_, _, until)| until).min()
    }

    /// Calls it off.
    pub fn cancel(&mut self) {
        self.fail(Failure::Cancelled);
    }

    /// The new worker that is on trial for the place.
    #[must_use]
    pub fn on_trial(&self, instance: Instance) -> Option<WorkerId> {
        self.trials().find(|(place, _, _)| *place == instance).map(|(_, new, _)| new)
    }

    /// The new workers on trial, with the workers that they are to replace.
    pub fn candidates(&self) -> impl Iterator<Item = (WorkerId, Option<WorkerId>)> {
        self.trials().map(|(place, new, _)| (new, self.old.get(&place).copied()))
    }

    /// The new worker that failed, as soon as one has.
    #[must_use]
    pub const fn failed(&self) -> Option<WorkerId> {
        match self.failure {
            Some(Failure::Ended(_, worker) | Failure::TooLate(_, worker)) => Some(worker),
            Some(Failure::NotStarted(_) | Failure::Cancelled) | None => None,
        }
    }

    /// Whether the new program has proved itself: its first worker was ready.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.replaced > 0
    }

    /// How it ended, when nothing is left to be done or to be waited for.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let waits = !self.waiting.is_empty() && self.failure.is_none();
        let over = !waits && self.under_way.is_empty() && self.actions.is_empty();
        over.then_some(Outcome { replaced: self.replaced, failure: self.failure })
    }

    fn trials(&self) -> impl Iterator<Item = (Instance, WorkerId, Instant)> {
        self.under_way.iter().filter_map(|(instance, step)| match step {
            Step::Trial { new, until } => Some((*instance, *new, *until)),
            Step::Starting | Step::Leaving(_) => None,
        })
    }

    fn trial_of(&self, worker: WorkerId) -> Option<Instance> {
        self.trials().find(|(_, new, _)| *new == worker).map(|(instance, _, _)| instance)
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.remove_trials();
    }

    /// Those on trial go; nobody waits for their end, for their places have their old workers.
    fn remove_trials(&mut self) {
        let trials: Vec<(Instance, WorkerId)> =
            self.trials().map(|(instance, new, _)| (instance, new)).collect();
        for (instance, new) in trials {
            self.under_way.remove(&instance);
            self.actions.push_back(Action::Remove(new));
        }
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
