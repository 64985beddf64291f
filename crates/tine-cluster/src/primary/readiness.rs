//! Looks whether new workers can serve.

use std::{collections::BTreeSet, time::Instant};

use super::{channel::Channel, event::What, task::Task};
use crate::{
    core::{ready::Signs, worker::Event as LifeEvent},
    id::{ListenerId, SeatId, WorkerId},
};

/// The workers that are not ready yet, and when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Unready {
    workers: BTreeSet<WorkerId>,
    looked: Option<Instant>,
}

impl Task {
    /// The worker runs: it is looked at until it is ready.
    pub(super) fn await_ready(&mut self, id: WorkerId) {
        self.unready.workers.insert(id);
    }

    /// Who can serve by now, and who should.
    pub(super) fn look_at_the_unready(&mut self, now: Instant) {
        if self.unready.workers.is_empty() {
            return;
        }
        self.unready.looked = Some(now);
        for id in self.unready.workers.clone() {
            // A reload has its own measure, and its own patience.
            if self.is_on_trial(id) {
                continue;
            }
            let signs = self.signs_of_any(id);
            match signs {
                None => drop(self.unready.workers.remove(&id)),
                Some(signs) if signs.are_enough(self.settings.limits.min_uptime) => {
                    self.is_ready_now(id);
                }
                Some(signs) if signs.are_late(self.settings.ready_timeout) => self.too_late(id),
                Some(_) => {}
            }
        }
    }

    /// When they are to be looked at without any news. What has come due since the last look is due at
    /// once.
    pub(super) fn unready_timeout(&self) -> Option<Instant> {
        let Unready { workers, looked } = &self.unready;
        let settled = self.settings.limits.min_uptime;
        let late = self.settings.ready_timeout.filter(|_| self.settings.wait_ready);
        let started = workers.iter().filter_map(|id| Some(self.workers.get(id)?.started));
        let due = started.flat_map(|at| {
            [Some(settled), late].into_iter().flatten().map(move |wait| at.checked_add(wait))
        });
        due.flatten().filter(|at| looked.is_none_or(|looked| *at > looked)).min()
    }

    /// The worker can serve: told once.
    pub(super) fn is_ready_now(&mut self, id: WorkerId) {
        self.unready.workers.remove(&id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.ready_behind = worker.channel.as_ref().map(Channel::mark);
        if !std::mem::replace(&mut worker.ready, true) {
            self.tell(id, What::Ready);
        }
    }

    fn too_late(&mut self, id: WorkerId) {
        self.unready.workers.remove(&id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.is_late = true;
        let after = worker.lived();
        self.tell(id, What::NotReady { after });
        self.step(id, LifeEvent::Stop);
    }

    /// Of a worker without a predecessor: where an app listens, a worker that listens can serve.
    fn signs_of_any(&self, id: WorkerId) -> Option<Signs> {
        let listens = self.ever_listened && !self.settings.wait_ready;
        let listens = listens.then(|| !self.asked_for(id).is_empty());
        self.signs(id, listens)
    }

    /// Of one that is to listen at all of these.
    pub(super) fn signs_of(&self, id: WorkerId, needed: &BTreeSet<ListenerId>) -> Option<Signs> {
        let listens = (!needed.is_empty()).then(|| needed.is_subset(&self.asked_for(id)));
        self.signs(id, listens)
    }

    /// `None`: it has gone, or is going.
    fn signs(&self, id: WorkerId, listens: Option<bool>) -> Option<Signs> {
        let worker = self.workers.get(&id).filter(|worker| worker.life.serves())?;
        let said = self.settings.wait_ready.then_some(worker.said_ready);
        Some(Signs { said, listens, lived: worker.lived() })
    }

    /// Where the worker listens by its own doing: declared sockets are there from the start, and say
    /// nothing of the program.
    pub(super) fn asked_for(&self, id: WorkerId) -> BTreeSet<ListenerId> {
        let declared = self.declared.get(&id).map(Vec::as_slice).unwrap_or_default();
        let told = self.told_listening.range((id, SeatId(0))..=(id, SeatId(u32::MAX)));
        let seats = told.map(|(_, seat)| *seat).filter(|seat| !declared.contains(seat));
        seats.filter_map(|seat| Some(self.seats.listener_of(seat)?.0)).collect()
    }
}
