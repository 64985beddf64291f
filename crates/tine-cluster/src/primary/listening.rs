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
        let port = match on {
            Listens::Key(key) => {
                return self.asks.given_as(worker, key).into_iter().collect();
            }
            Listens::Address(address) => address.as_ref().and_then(|address| address.port),
        };
        let fits = |seat: &SeatId| {
            self.seats
                .listener_of(*seat)
                .is_some_and(|(_, listener)| listener.key.endpoint.port() == port || port.is_none())
        };
        self.seats.registry().held_by(worker).into_iter().filter(fits).collect()
    }

    fn is_open(&self, worker: WorkerId, seat: SeatId) -> bool {
        self.told_listening.contains(&(worker, seat))
    }
}
