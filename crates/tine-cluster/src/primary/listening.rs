//! Workers say that they listen on what they were given.

use super::{event::ListeningAddress, task::Task};
use crate::id::{SeatId, WorkerId};

/// On what a worker says that it listens.
#[derive(Debug)]
pub(super) enum Listens<'a> {
    /// What it was given under this name.
    Key(&'a str),
    /// What it holds at this address, if it can be read.
    Address(Option<ListeningAddress>),
}

impl Task {
    /// The worker accepts on what it was given: it gets its share.
    pub(super) fn given_listens(&mut self, worker: WorkerId, on: &Listens<'_>) {
        for seat in self.meant(worker, on) {
            if self.is_open(worker, seat) {
                continue;
            }
            if let (Listens::Address(Some(address)), Some(worker)) =
                (on, self.workers.get_mut(&worker))
            {
                worker.addresses.insert(seat, address.clone());
            }
            self.seat_listens(worker, seat);
        }
    }

    /// The seats that a worker speaks of.
    fn meant(&self, worker: WorkerId, on: &Listens<'_>) -> Vec<SeatId> {
        let address = match on {
            Listens::Key(key) => return self.asks.given_as(worker, key).into_iter().collect(),
            Listens::Address(address) => address.as_ref(),
        };
        let mut held = self.seats.registry().held_by(worker);
        held.retain(|seat| {
            let key = self.seats.listener_of(*seat).map(|(_, listener)| &listener.key);
            // What cannot be read may be any of them.
            address.is_none_or(|address| key.is_some_and(|key| address.is_of(key)))
        });
        held
    }

    fn is_open(&self, worker: WorkerId, seat: SeatId) -> bool {
        self.told_listening.contains(&(worker, seat))
    }
}
