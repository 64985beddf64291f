//! Listeners that nobody wants any more.

use super::task::Task;
use crate::{
    core::{instance::Place, worker::Life},
    id::{ListenerId, WorkerId},
};

impl Task {
    /// Listeners that nobody holds, also not at the last look, when nobody is to come who could ask for
    /// them: their addresses are free again, as with Node's primary. Where instances are filled, a
    /// successor comes.
    pub(super) fn close_the_unwanted(&mut self) {
        let nobody_comes = !self.is_stopping()
            && self.places.iter().all(Place::is_empty)
            && !self.workers.values().any(|worker| worker.life == Life::Starting);
        let registry = self.seats.registry();
        let is_held = |listener| registry.seats_of(listener).any(|(_, it)| !it.holders.is_empty());
        let listeners = registry.listeners().map(|(id, _)| id);
        let unwanted: Vec<ListenerId> =
            listeners.filter(|id| nobody_comes && !is_held(*id)).collect();
        let known = std::mem::replace(&mut self.unwanted, unwanted);
        for listener in known {
            if self.unwanted.contains(&listener) {
                self.close_listener(WorkerId(0), listener);
            }
        }
    }
}
