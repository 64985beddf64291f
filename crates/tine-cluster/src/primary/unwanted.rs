//! Listeners that nobody wants any more.

use std::time::Duration;

use super::task::Task;
use crate::{
    core::{
        instance::{Filling, Place},
        worker::Life,
    },
    id::{ListenerId, WorkerId},
    policy::Acquisition,
};

/// After so long a worker that serves has asked for all the addresses that it serves at.
const ASKED: Duration = Duration::from_secs(5);

impl Task {
    /// Listeners that nobody holds, also not at the last look, when nobody is to come who could ask for
    /// them: their addresses are free again, as with Node's primary. Nobody comes where no instance is filled, and
    /// where all are, by workers that have had their time: an address at which only a version has listened that is
    /// gone, or that was not let in, is nobody's.
    pub(super) fn close_the_unwanted(&mut self) {
        let nobody_comes = !self.is_stopping()
            && self.places.iter().all(Place::is_empty)
            && !self.workers.values().any(|worker| worker.life == Life::Starting);
        let all_came = !self.is_stopping() && self.all_have_asked();
        let registry = self.seats.registry();
        let is_held = |listener| {
            let handed =
                self.handing.get(&listener).is_some_and(|it| it.workers().next().is_some());
            handed || registry.seats_of(listener).any(|(_, it)| !it.holders.is_empty())
        };
        let is_asked_for = |by| by != Acquisition::ListenFds;
        let listeners = registry.listeners().filter(|(id, listener)| {
            (nobody_comes || all_came && is_asked_for(listener.acquisition)) && !is_held(*id)
        });
        let unwanted: Vec<ListenerId> = listeners.map(|(id, _)| id).collect();
        let known = std::mem::replace(&mut self.unwanted, unwanted);
        for listener in known {
            if self.unwanted.contains(&listener) {
                self.close_listener(WorkerId(0), listener);
            }
        }
    }

    /// Whether every instance that is to be filled is, by a worker that needs nothing more to serve.
    fn all_have_asked(&self) -> bool {
        let has_asked =
            |id: WorkerId| self.workers.get(&id).is_some_and(|it| it.ready && it.lived() >= ASKED);
        self.rolling.is_none()
            && self.restarting.is_empty()
            && !self.workers.values().any(|worker| worker.life == Life::Starting)
            && self.places.iter().all(|place| match place.filling() {
                Filling::Worker(worker) => has_asked(worker),
                Filling::Empty | Filling::Finished | Filling::GivenUp => true,
                Filling::Waiting { .. } => false,
            })
    }
}
