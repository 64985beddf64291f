//! Seats whose program does not listen on them any more, though it lives.
//!
//! Nothing tells of a `close`: asking about that call would cost every connection. So it is found out
//! when it matters: when connections wait that nobody accepts, and when an address is in the way of
//! another one.

use std::io;

use tine_linux::tree::Table;

use super::task::Task;
use crate::{
    address::Transport,
    core::{instance::Place, worker::Life},
    id::{ListenerId, SeatId, WorkerId},
};

impl Task {
    /// Once in a while: closed seats go to the others, a client's sockets to their program.
    pub(super) fn look_at_the_seats(&mut self) {
        for (seat, worker) in self.stranded() {
            self.let_go(seat, worker);
        }
        for seat in self.seats.connected() {
            self.close_seat(seat, "let go of a socket that became a client's");
        }
        self.close_the_unwanted();
        self.restore_paths();
    }

    /// Listeners that nobody holds, also not at the last look, when nobody is to come who could ask for
    /// them: their addresses are free again, as with Node's primary. Where instances are filled, a
    /// successor comes.
    fn close_the_unwanted(&mut self) {
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

    /// Seats where connections wait though their worker has closed them.
    fn stranded(&mut self) -> Vec<(SeatId, WorkerId)> {
        let stuck = self.stuck();
        if stuck.is_empty() {
            return stuck;
        }
        let table = self.table();
        let holds = |seat: SeatId, id: WorkerId| {
            let (inode, worker) = (self.seats.inode(seat), self.workers.get(&id));
            inode.zip(worker).is_some_and(|(inode, worker)| worker.holds(inode, &table))
        };
        stuck.into_iter().filter(|(seat, worker)| !holds(*seat, *worker)).collect()
    }

    /// Seats where connections have waited for a while, with who should accept them.
    fn stuck(&mut self) -> Vec<(SeatId, WorkerId)> {
        let mut stuck = Vec::new();
        for worker in self.workers.values().filter(|worker| worker.life.serves()) {
            for seat in self.seats.registry().held_by(worker.id) {
                if self.seats.is_stuck(seat) {
                    stuck.push((seat, worker.id));
                }
            }
        }
        stuck
    }

    /// Closes the seats at this port that their programs have closed: to the kernel they would not be
    /// there any more. Whether there was any.
    pub(super) fn close_abandoned(&mut self, transport: Transport, port: u16) -> bool {
        let abandoned = self.seats.at_port(transport, port);
        let table = self.table();
        let abandoned: Vec<SeatId> =
            abandoned.into_iter().filter(|seat| self.is_abandoned(*seat, &table)).collect();
        for seat in &abandoned {
            self.told_listening.retain(|(_, told)| told != seat);
            self.close_seat(*seat, "close a seat that its program closed");
        }
        !abandoned.is_empty()
    }

    /// Whether workers were given the seat, and all have closed it.
    fn is_abandoned(&self, seat: SeatId, table: &Table) -> bool {
        let (Some(known), Some(inode)) = (self.seats.registry().seat(seat), self.seats.inode(seat))
        else {
            return false;
        };
        let holds =
            |id: &WorkerId| self.workers.get(id).is_some_and(|worker| worker.holds(inode, table));
        !known.holders.is_empty() && !known.holders.iter().any(holds)
    }

    fn close_seat(&mut self, seat: SeatId, doing: &'static str) {
        if let Err(error) = self.seats.close(seat) {
            self.trouble(WorkerId(0), doing, io::Error::other(error));
        }
    }
}
