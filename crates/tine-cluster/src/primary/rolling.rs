//! Replaces the workers of the instances, new before old: carries out what [`rollout`] decides.
//!
//! A new worker runs beside the one that it is to replace, with a seat of its own where seats are not
//! shared, and gets its share of connections as soon as it listens. The old one is drained when the
//! new one is ready, and not before.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;
use tine_linux::{process::Exit, spawn::SpawnError};
use tokio::sync::oneshot;

use super::{Cluster, Ended, Program, beside::NotKept, input::Command, task::Task};
use crate::{
    core::{
        generations::Beside,
        instance::Filling,
        rollout::{Action, Failure, Outcome, Pace, Rollout},
    },
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
        /// The last lines that it wrote.
        last_lines: Vec<Vec<u8>>,
    },
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

/// A reload under way.
#[derive(Debug)]
pub(super) struct Rolling {
    rollout: Rollout,
    /// When it was gone over last.
    looked: Instant,
    /// Something about it is different since then.
    stale: bool,
    /// What ran before.
    before: Arc<Program>,
    /// Why no worker could be started.
    error: Option<SpawnError>,
    /// Of the new worker that failed, once all is known of it.
    last_words: Option<LastWords>,
    done: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// How a worker ended, and the last lines that it wrote.
type LastWords = (Option<Exit>, Vec<Vec<u8>>);

impl Task {
    pub(super) fn reload(
        &mut self,
        reload: Reload,
        done: oneshot::Sender<Result<Reloaded, ReloadError>>,
    ) {
        let refusal = match (self.stopping, &self.rolling) {
            (true, _) => Some(ReloadError::Stopping),
            (false, Some(_)) => Some(ReloadError::Busy),
            (false, None) => {
                let beside = reload.beside;
                beside.and_then(|beside| self.cannot_keep(beside)).map(ReloadError::NotKept)
            }
        };
        if let Some(error) = refusal {
            let _ = done.send(Err(error));
            return;
        }
        self.let_the_old_go();
        let before = Arc::clone(&self.program);
        if let Some(beside) = reload.beside {
            self.begin_to_keep(beside, Arc::clone(&before));
        }
        if let Some(program) = reload.program {
            self.program = Arc::new(program);
        }
        let chosen = |it: &Instance| reload.only.as_ref().is_none_or(|only| only.contains(it));
        let places = (0u32..).map(Instance).zip(&self.places).filter(|(it, _)| chosen(it));
        let places = places.filter_map(|(instance, place)| match place.filling() {
            Filling::Worker(worker) => Some((instance, Some(worker))),
            Filling::Waiting { .. } | Filling::Finished | Filling::GivenUp => {
                Some((instance, None))
            }
            // Its owner wants nobody there.
            Filling::Empty => None,
        });
        let mut rollout = Rollout::new(places, reload.pace);
        if reload.beside.is_some() {
            rollout = rollout.keeping_old();
        }
        let (looked, stale) = (Instant::now(), false);
        let (error, last_words) = (None, None);
        self.rolling = Some(Rolling { rollout, looked, stale, before, error, last_words, done });
    }

    pub(super) fn cancel_reload(&mut self) {
        if let Some(rolling) = &mut self.rolling {
            rolling.rollout.cancel();
        }
    }

    /// The cluster stops, and with it whatever was to be replaced.
    pub(super) fn abandon_reload(&mut self) {
        if let Some(rolling) = self.rolling.take() {
            let _ = rolling.done.send(Err(ReloadError::Stopping));
        }
    }

    /// The reload goes as far as it can at the moment.
    pub(super) fn roll(&mut self, now: Instant) {
        let Some(mut rolling) = self.rolling.take() else { return };
        rolling.looked = now;
        rolling.stale = false;
        let candidates: Vec<_> = rolling.rollout.candidates().collect();
        for (new, old) in candidates {
            if self.can_replace(new, old) {
                self.is_ready_now(new);
                rolling.rollout.ready(new);
            }
        }
        rolling.rollout.tick(now);
        while let Some(action) = rolling.rollout.next_action() {
            self.take_step(&mut rolling, action, now);
        }
        let failed = rolling.rollout.failed();
        if rolling.last_words.is_none() {
            rolling.last_words = failed.and_then(|worker| self.last_words_of(worker));
        }
        match rolling.rollout.outcome() {
            Some(outcome) if failed.is_none() || rolling.last_words.is_some() => {
                self.rolled(rolling, outcome);
            }
            Some(_) | None => self.rolling = Some(rolling),
        }
    }

    fn take_step(&mut self, rolling: &mut Rolling, action: Action, now: Instant) {
        match action {
            Action::Start(instance) => {
                let program = Arc::clone(&self.program);
                match self.start_worker(Some(instance), &program) {
                    Ok(worker) => {
                        self.runs(worker);
                        rolling.rollout.started(instance, worker, now);
                    }
                    Err(error) => {
                        rolling.error = Some(error);
                        rolling.rollout.not_started(instance);
                    }
                }
            }
            Action::Replace { instance, new, old } => {
                if let Some(place) = self.place(instance) {
                    place.filled(new);
                }
                if let Some(old) = old
                    && !self.keep(instance, old)
                {
                    self.retire(old);
                }
            }
            Action::Remove(worker) => self.retire(worker),
        }
    }

    /// What follows a worker that has crashed: not what a canary is still to prove.
    pub(super) fn program_that_works(&self) -> &Arc<Program> {
        match &self.rolling {
            Some(rolling) if !rolling.rollout.is_proven() => &rolling.before,
            Some(_) | None => &self.program,
        }
    }

    /// It fills no place any more, and goes.
    pub(super) fn retire(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.retired = true;
        }
        self.ask_to_go(id);
    }

    /// When the reload is to be looked at without any news. What has come due since it was looked at is
    /// due at once.
    pub(super) fn rolling_timeout(&self) -> Option<Instant> {
        let rolling = self.rolling.as_ref()?;
        // That nothing is left of a worker is seen after the reload was gone over, and no news follows.
        if rolling.stale {
            return Some(rolling.looked);
        }
        let min_uptime = self.settings.limits.min_uptime;
        let settled = rolling.rollout.candidates().filter_map(|(new, _)| {
            let at = self.workers.get(&new)?.started + min_uptime;
            (at > rolling.looked).then_some(at)
        });
        settled.chain(rolling.rollout.poll_timeout()).min()
    }

    /// Whether the new worker can do what the old one does.
    fn can_replace(&self, new: WorkerId, old: Option<WorkerId>) -> bool {
        let needed = match old {
            Some(old) => self.asked_for(old),
            None => self.workers.keys().flat_map(|id| self.asked_for(*id)).collect(),
        };
        let min_uptime = self.settings.limits.min_uptime;
        self.signs_of(new, &needed).is_some_and(|signs| signs.are_enough(min_uptime))
    }

    /// Whether a reload waits for the worker to be ready.
    pub(super) fn is_on_trial(&self, id: WorkerId) -> bool {
        let mut rolling = self.rolling.iter();
        rolling.any(|rolling| rolling.rollout.candidates().any(|(new, _)| new == id))
    }

    /// What is known of a worker that has ended, once that is all.
    fn last_words_of(&self, worker: WorkerId) -> Option<LastWords> {
        let worker = self.workers.get(&worker)?;
        Some((Some(worker.exit?), worker.last_words()?.to_vec()))
    }

    /// The reload is over.
    fn rolled(&mut self, rolling: Rolling, outcome: Outcome) {
        let Outcome { mut replaced, failure } = outcome;
        if self.kept.is_some() {
            self.kept_to_the_end(failure.is_some(), rolling.looked);
            replaced = if failure.is_some() { 0 } else { replaced };
        }
        if failure.is_some() && replaced == 0 {
            self.program = rolling.before;
        }
        let (exit, last_lines) = rolling.last_words.unwrap_or_default();
        let result = match (failure, rolling.error) {
            (None, _) => Ok(Reloaded { replaced }),
            (Some(Failure::NotStarted(instance)), Some(source)) => {
                Err(ReloadError::NotStarted { instance, replaced, source })
            }
            (Some(Failure::Ended(instance, worker)), _) => {
                Err(ReloadError::EndedEarly { instance, worker, replaced, exit, last_lines })
            }
            (Some(Failure::TooLate(instance, worker)), _) => {
                let patience = rolling.rollout.pace().patience;
                Err(ReloadError::TooLate { instance, worker, replaced, patience, last_lines })
            }
            (Some(Failure::Cancelled | Failure::NotStarted(_)), _) => {
                Err(ReloadError::Cancelled { replaced })
            }
        };
        // Whoever asked may have given up.
        let _ = rolling.done.send(result);
    }

    /// The first process of the worker has ended: if it was on trial, it has failed.
    pub(super) fn ended_on_trial(&mut self, id: WorkerId) {
        if self.is_on_trial(id) {
            self.gone_from_the_reload(id);
        }
    }

    /// Nothing is left of the worker.
    pub(super) fn gone_from_the_reload(&mut self, id: WorkerId) {
        if let Some(rolling) = &mut self.rolling {
            rolling.rollout.gone(id);
            rolling.stale = true;
        }
    }

    /// The place got a worker as any place does.
    pub(super) fn filled_beside_the_reload(&mut self, instance: Instance, id: WorkerId) {
        if let Some(rolling) = &mut self.rolling {
            rolling.rollout.filled(instance, id);
            rolling.stale = true;
        }
    }
}
