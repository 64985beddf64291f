//! What the owner wants of single instances: nobody there, somebody there, somebody else there.
//!
//! A worker that is to be followed by another one leaves its queue to it: what connects meanwhile waits
//! in its seat, or in one that was made for its successor ([`super::succession`]), and nobody is refused,
//! even if there is no other worker.

use std::{collections::BTreeSet, time::Instant};

use thiserror::Error;
use tine_linux::spawn::SpawnError;
use tokio::sync::oneshot;

use super::{Cluster, Ended, input::Command, owner::Waiter, task::Task};
use crate::{
    core::instance::{Filling, Place},
    id::{Instance, WorkerId},
};

/// Why an instance is not as it was to be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// There are not so many instances.
    #[error("there is no instance {0}")]
    Unknown(Instance),
    /// The cluster is coming to its end.
    #[error("the cluster is stopping")]
    Stopping,
    /// The workers are being replaced, each in its place.
    #[error("a reload is under way")]
    Reloading,
    /// Another request came meanwhile, and wants the instance to be empty.
    #[error("instance {0} is to be empty by now")]
    Superseded(Instance),
    /// Its worker could not be started; what follows is told as after any such failure.
    #[error("start a worker for instance {instance}")]
    NotStarted {
        /// Which.
        instance: Instance,
        /// Why.
        source: SpawnError,
    },
}

/// Who waits for it.
pub(super) type Done = oneshot::Sender<Result<(), InstanceError>>;

/// Somebody who waits until these instances are filled.
#[derive(Debug)]
pub(super) struct Restarting {
    left: BTreeSet<Instance>,
    done: Done,
}

impl Cluster {
    /// Empties an instance: its worker is drained and stopped, and no other follows it until
    /// [`Self::start_instance`]. Returns when nothing is left of it. Those who connect meanwhile are
    /// served by the others. To stop a whole app, [`Self::stop`] it: that keeps new connections away.
    ///
    /// A cluster of which an instance was ever stopped lives until it is stopped itself.
    ///
    /// # Errors
    ///
    /// When there is no such instance, or a reload is under way.
    pub async fn stop_instance(&self, instance: Instance) -> Result<(), InstanceError> {
        self.ask(|done| Command::StopInstance(instance, done)).await?
    }

    /// Fills an instance that is empty, waits for its time, has finished or was given up; its early ends
    /// are forgotten. Returns when its worker runs; at once if one does already.
    ///
    /// # Errors
    ///
    /// When there is no such instance, or its worker cannot be started.
    pub async fn start_instance(&self, instance: Instance) -> Result<(), InstanceError> {
        self.ask(|done| Command::StartInstance(instance, done)).await?
    }

    /// Drains and stops the worker of an instance, and fills it with a new one as soon as nothing is left
    /// of the old one, without any delay, with the program that holds now ([`Self::setup`]). Returns when
    /// the new one runs; whether it is any good is told by events.
    ///
    /// Nobody is refused: those who connect meanwhile are served by the others, or wait for the new one
    /// if there are none. To have both at the same time instead, [`Self::reload`].
    ///
    /// # Errors
    ///
    /// When there is no such instance, a reload is under way, or the new worker cannot be started.
    pub async fn restart_instance(&self, instance: Instance) -> Result<(), InstanceError> {
        self.ask(|done| Command::Restart(Some(instance), done)).await?
    }

    /// [`Self::restart_instance`] for all instances at the same time; those that are empty are filled.
    ///
    /// # Errors
    ///
    /// Those of [`Self::restart_instance`]: with the first worker that cannot be started; the others
    /// come all the same.
    pub async fn restart(&self) -> Result<(), InstanceError> {
        self.ask(|done| Command::Restart(None, done)).await?
    }
}

impl Task {
    pub(super) fn stop_instance(&mut self, instance: Instance, done: Done) {
        if let Some(error) = self.refuses(Some(instance)) {
            let _ = done.send(Err(error));
            return;
        }
        self.lives_on = true;
        let leaves = self.place(instance).and_then(Place::stop);
        self.abandon_restarts(|it| it == instance, InstanceError::Superseded);
        if let Some(worker) = leaves {
            self.ask_to_go(worker);
        }
        self.when_gone(self.workers_of(instance), Waiter::for_instance(done));
    }

    pub(super) fn start_instance(&mut self, instance: Instance, done: Done) {
        if let Some(error) = self.refuses(Some(instance)) {
            let _ = done.send(Err(error));
            return;
        }
        let leaves = self.workers_of(instance).iter().any(|id| self.is_leaving(*id));
        if let Some(place) = self.place(instance) {
            place.start(Instant::now(), leaves);
        }
        if leaves {
            self.expect_successors(&self.workers_of(instance));
        }
        let is_there = matches!(self.filling(instance), Some(Filling::Worker(_))) && !leaves;
        let left = if is_there { BTreeSet::new() } else { [instance].into() };
        self.restarting.push(Restarting { left, done });
        self.settle_restarts();
    }

    /// Of this instance, or of all.
    pub(super) fn restart(&mut self, which: Option<Instance>, done: Done) {
        if let Some(error) = self.refuses(which) {
            let _ = done.send(Err(error));
            return;
        }
        let all = (0u32..).zip(&self.places).map(|(number, _)| Instance(number));
        let left: BTreeSet<Instance> = which.map_or_else(|| all.collect(), |it| [it].into());
        let now = Instant::now();
        let mut leavers = BTreeSet::new();
        for instance in &left {
            leavers.extend(self.place(*instance).and_then(|place| place.restart(now)));
        }
        self.expect_successors(&leavers);
        self.lead_to_successors(&leavers);
        for worker in leavers {
            self.ask_to_go(worker);
        }
        self.restarting.push(Restarting { left, done });
        self.settle_restarts();
    }

    fn refuses(&self, which: Option<Instance>) -> Option<InstanceError> {
        if self.is_stopping() {
            return Some(InstanceError::Stopping);
        }
        if self.rolling.is_some() {
            return Some(InstanceError::Reloading);
        }
        let unknown = which.filter(|instance| self.filling(*instance).is_none());
        unknown.map(InstanceError::Unknown)
    }

    fn filling(&self, instance: Instance) -> Option<Filling> {
        let place = self.places.get(usize::try_from(instance.0).ok()?)?;
        Some(place.filling())
    }

    /// What is left of the workers that filled it.
    fn workers_of(&self, instance: Instance) -> BTreeSet<WorkerId> {
        let all = self.workers.values().filter(|worker| worker.occupies(instance));
        all.map(|worker| worker.id).collect()
    }

    fn is_leaving(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| !worker.life.serves())
    }

    /// What waits for these workers waits for those that follow.
    fn expect_successors(&mut self, workers: &BTreeSet<WorkerId>) {
        for id in workers {
            if let Some(worker) = self.workers.get_mut(id) {
                worker.is_followed = true;
            }
        }
    }

    /// The instance has a worker.
    pub(super) fn instance_filled(&mut self, instance: Instance) {
        for restarting in &mut self.restarting {
            restarting.left.remove(&instance);
        }
        self.settle_restarts();
    }

    fn settle_restarts(&mut self) {
        for restarting in self.restarting.extract_if(.., |it| it.left.is_empty()) {
            // Whoever waited may have given up.
            let _ = restarting.done.send(Ok(()));
        }
    }

    /// These instances will not be filled, for this reason.
    pub(super) fn abandon_restarts(
        &mut self,
        which: impl Fn(Instance) -> bool,
        why: impl Fn(Instance) -> InstanceError,
    ) {
        let hit = |it: &Restarting| it.left.iter().copied().find(|instance| which(*instance));
        for restarting in self.restarting.extract_if(.., |it| hit(it).is_some()) {
            if let Some(instance) = hit(&restarting) {
                let _ = restarting.done.send(Err(why(instance)));
            }
        }
    }

    /// The instance's worker could not be started.
    pub(super) fn instance_not_started(&mut self, instance: Instance, error: &SpawnError) {
        let why = |instance| InstanceError::NotStarted { instance, source: error.clone() };
        self.abandon_restarts(|it| it == instance, why);
    }
}
