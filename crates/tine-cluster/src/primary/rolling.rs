//! Replaces the workers of the instances, new before old: carries out what [`rollout`] decides.
//!
//! A new worker runs beside the one that it is to replace, with a seat of its own where seats are not
//! shared, and gets its share of connections as soon as it listens. The old one is drained when the
//! new one is ready, and not before.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tine_linux::{process::Exit, spawn::SpawnError};
use tokio::sync::oneshot;

use super::{
    Program,
    approval::Approval,
    reload::{Lack, Reload, ReloadError, Reloaded},
    task::Task,
};
use crate::{
    address::ListenKey,
    core::{
        instance::Filling,
        ready::Missing,
        rollout::{Action, Failure, Outcome, Rollout},
    },
    id::{Instance, ListenerId, WorkerId},
};

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
    approval: Approval,
    /// Why no worker could be started.
    error: Option<SpawnError>,
    /// What the new worker lacked that was too late, and when that was found.
    late: Option<(Lack, Instant)>,
    /// Of the new worker that failed, once all is known of it.
    last_words: Option<LastWords>,
    done: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// How a worker ended, and the last lines that it wrote.
type LastWords = (Option<Exit>, Vec<Vec<u8>>);

impl Rolling {
    pub(super) fn approved(&mut self, worker: WorkerId) {
        self.approval.give(worker);
        self.stale = true;
    }
}

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
        let (error, late, last_words) = (None, None, None);
        let approval = Approval::new(reload.approval);
        self.rolling = Some(Rolling {
            rollout,
            looked,
            stale,
            before,
            approval,
            error,
            late,
            last_words,
            done,
        });
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
        for (new, old) in &candidates {
            if self.lack(&rolling, (*new, *old)).is_none() {
                self.is_ready_now(*new);
                rolling.rollout.ready(*new);
            }
        }
        rolling.rollout.tick(now);
        // Before it is told to go: afterwards it lacks everything.
        if rolling.late.is_none() {
            let failed = rolling.rollout.failed();
            let late = candidates.iter().find(|(new, _)| Some(*new) == failed);
            let lack = late.and_then(|(new, old)| self.lack(&rolling, (*new, *old)));
            rolling.late = lack.map(|lack| (lack, Instant::now()));
        }
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

    /// Why the new worker cannot do yet what the old one does; `None` if it can.
    fn lack_of(&self, new: WorkerId, old: Option<WorkerId>) -> Option<Lack> {
        let needed = match old {
            Some(old) => self.asked_for(old),
            None => self.workers.keys().flat_map(|id| self.asked_for(*id)).collect(),
        };
        let Some(signs) = self.signs_of(new, &needed) else { return Some(Lack::Life) };
        Some(match signs.missing(self.settings.limits.min_uptime)? {
            Missing::Word => Lack::Word,
            Missing::Listener => {
                let has = self.asked_for(new);
                let (missing, elsewhere) = (&needed - &has, &has - &needed);
                Lack::Listener { missing: self.keys(missing), elsewhere: self.keys(elsewhere) }
            }
            Missing::Time => Lack::Time,
        })
    }

    /// What it lacks of its own, or else its owner's word.
    fn lack(&self, rolling: &Rolling, (new, old): (WorkerId, Option<WorkerId>)) -> Option<Lack> {
        let approved = rolling.approval.has(new);
        self.lack_of(new, old).or_else(|| (!approved).then_some(Lack::Approval))
    }

    fn keys(&self, listeners: BTreeSet<ListenerId>) -> Vec<ListenKey> {
        let registry = self.seats.registry();
        let listeners = listeners.into_iter().filter_map(|id| registry.listener(id));
        listeners.map(|listener| listener.key.clone()).collect()
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
                let (lack, decided) = rolling.late.unwrap_or((Lack::Life, rolling.looked));
                Err(ReloadError::TooLate {
                    instance,
                    worker,
                    replaced,
                    patience,
                    lack,
                    decided,
                    last_lines,
                })
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
