//! Seats whose program does not listen on them any more, though it lives.
//!
//! Nothing tells of a `close`: asking about that call would cost every connection. So it is found out
//! by looking: at once where connections wait that nobody accepts while others would, and where an
//! address is in the way of another one; else once in a while, one worker at a time.

mod sightings;

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tine_linux::{foreign, sock_diag};

use sightings::{GRACE, Held};
pub(super) use sightings::{Place, Sightings};

use super::task::Task;
use crate::{
    address::Transport,
    id::{SeatId, WorkerId},
    policy::{Acquisition, Mechanism},
};

/// So many seats are looked at in a round, each at the cost of one link, as long as all are in place.
const GLANCES: usize = 64;

impl Task {
    /// Once in a while: closed seats go to the others, a client's sockets to their program.
    pub(super) fn look_at_the_seats(&mut self) {
        self.look_at_the_stuck();
        self.look_at_the_next(Instant::now());
        for seat in self.seats.connected() {
            self.close_seat(seat, "let go of a socket that became a client's");
        }
        self.close_the_unwanted();
        self.restore_paths();
    }

    // === Those where connections wait ===

    /// Seats where connections wait though their worker has closed them: others serve these.
    fn look_at_the_stuck(&mut self) {
        for (seat, worker) in self.stuck() {
            if !self.holds((seat, worker)) && self.seats.has_others(seat) {
                self.leave_to_others(seat, worker);
            }
        }
    }

    /// Seats where connections have waited for a while, with who should accept them.
    fn stuck(&mut self) -> Vec<Held> {
        let mut stuck = self.held(|_| true);
        stuck.dedup_by_key(|(seat, _)| *seat);
        stuck.retain(|(seat, _)| self.seats.is_stuck(*seat));
        stuck
    }

    /// It gets nothing new; and where the kernel moves queues, what waits there is moved, soon.
    fn leave_to_others(&mut self, seat: SeatId, worker: WorkerId) {
        if self.seats.can_close(seat) {
            self.told_listening.remove(&(worker, seat));
            return self.let_go(seat, worker);
        }
        if let Err(error) = self.seats.rest(seat) {
            self.trouble(worker, "give a seat to the others", io::Error::other(error));
        }
    }

    // === One after the other ===

    /// Looks whether one worker, and one that was missed for some time, still hold what they bound.
    fn look_at_the_next(&mut self, now: Instant) {
        let all = self.held(|by| by == Acquisition::BindTrap);
        self.seats.sightings.keep(&all);
        let missed = self.seats.sightings.due(now);
        let inodes: HashMap<SeatId, u64> =
            all.iter().filter_map(|(seat, _)| Some((*seat, self.seats.inode(*seat)?))).collect();
        let is_there = |(seat, _): Held, (pid, number): Place| {
            foreign::socket_inode(pid, number).ok().flatten() == inodes.get(&seat).copied()
        };
        let suspect = self.seats.sightings.next_suspect(&all, GLANCES, is_there);
        let mut workers: Vec<WorkerId> =
            missed.into_iter().chain(suspect).map(|(_, worker)| worker).collect();
        workers.dedup();
        for worker in workers {
            self.look_at_what_is_held(worker, &all, now);
        }
    }

    fn look_at_what_is_held(&mut self, worker: WorkerId, all: &[Held], now: Instant) {
        let open = self.open_sockets(worker);
        for held in all.iter().copied().filter(|(_, holder)| *holder == worker) {
            // Nothing is done to the seats of a process that may not be looked into.
            let Some(open) = &open else {
                self.seats.sightings.unknown(held);
                continue;
            };
            let place = self.seats.inode(held.0).and_then(|inode| open.get(&inode));
            if let Some(place) = place {
                self.seats.sightings.seen(held, *place);
                continue;
            }
            let missed = self.seats.sightings.missed(held, now);
            if missed >= GRACE {
                self.abandoned(held, missed);
            }
        }
    }

    /// The worker has closed the seat and does not bind it again. What waits there may wait for as long
    /// as a program may take to end, which begins in the same way.
    fn abandoned(&mut self, (seat, worker): Held, missed: Duration) {
        let holders = self.seats.registry().seat(seat).map_or(0, |seat| seat.holders.len());
        if holders > 1 {
            self.told_listening.remove(&(worker, seat));
            return self.let_go(seat, worker);
        }
        if self.seats.has_others(seat) && self.seats.is_in_rotation(seat) {
            return self.leave_to_others(seat, worker);
        }
        if !self.has_clients_waiting(seat) || missed >= self.settings.patience.drain {
            self.close_seat(seat, "close a seat that its program closed");
        }
    }

    fn has_clients_waiting(&self, seat: SeatId) -> bool {
        let inode = self.seats.inode(seat).and_then(|inode| u32::try_from(inode).ok());
        let path = || {
            let mut listeners = sock_diag::unix_listeners().ok()?.into_iter();
            listeners.find(|listener| Some(listener.inode.0) == inode).map(|found| found.queue)
        };
        self.seats.queue(seat).or_else(path).is_some_and(|length| length > 0)
    }

    // === An address that is in the way ===

    /// Closes the seats at this port that their programs have closed: to the kernel they would not be
    /// there any more. Whether there was any.
    pub(super) fn close_abandoned(&mut self, transport: Transport, port: u16) -> bool {
        let mut abandoned = self.seats.at_port(transport, port);
        abandoned.retain(|seat| self.is_abandoned(*seat));
        for seat in &abandoned {
            self.close_seat(*seat, "close a seat that its program closed");
        }
        !abandoned.is_empty()
    }

    /// Whether workers were given the seat, and all have closed it.
    fn is_abandoned(&mut self, seat: SeatId) -> bool {
        let Some(known) = self.seats.registry().seat(seat) else { return false };
        let holders = known.holders.clone();
        !holders.is_empty() && !holders.into_iter().any(|worker| self.holds((seat, worker)))
    }

    // === What is held ===

    /// The seats with the workers that hold them by a descriptor of their own, in order; those that
    /// came to it in a way that `which` wants.
    fn held(&self, which: impl Fn(Acquisition) -> bool) -> Vec<Held> {
        let registry = self.seats.registry();
        let serves = |id: &WorkerId| self.workers.get(id).is_some_and(|w| w.life.serves());
        let mut held: Vec<Held> = registry
            .listeners()
            .filter(|(_, l)| which(l.acquisition) && l.choice.mechanism != Mechanism::HandOver)
            .flat_map(|(listener, _)| registry.seats_of(listener))
            .flat_map(|(seat, known)| known.holders.iter().map(move |holder| (seat, *holder)))
            .filter(|(_, holder)| serves(holder))
            .collect();
        held.sort_unstable();
        held
    }

    /// Whether the worker has the seat's socket open; also where that cannot be seen.
    fn holds(&mut self, (seat, worker): Held) -> bool {
        let Some(inode) = self.seats.inode(seat) else { return false };
        if let Some((pid, number)) = self.seats.sightings.place((seat, worker))
            && foreign::socket_inode(pid, number).ok().flatten() == Some(inode)
        {
            return true;
        }
        self.open_sockets(worker).is_none_or(|open| open.contains_key(&inode))
    }

    /// The sockets that the worker's processes have open, by inode; `None` when one of them may not be
    /// looked into.
    pub(super) fn open_sockets(&mut self, id: WorkerId) -> Option<HashMap<u64, Place>> {
        let table = self.table_for(id);
        let mut open = HashMap::new();
        let Some(worker) = self.workers.get(&id) else { return Some(open) };
        for pid in worker.members(&table) {
            match foreign::sockets(pid) {
                Ok(found) => {
                    open.extend(found.into_iter().map(|(number, inode)| (inode, (pid, number))));
                }
                Err(error) if has_ended(&error) => {}
                Err(_) => return None,
            }
        }
        Some(open)
    }

    fn close_seat(&mut self, seat: SeatId, doing: &'static str) {
        self.told_listening.retain(|(_, told)| *told != seat);
        self.paths.forget(seat);
        if let Err(error) = self.seats.close(seat) {
            self.trouble(WorkerId(0), doing, io::Error::other(error));
        }
    }
}

/// Whether the process is gone, and not only hidden.
fn has_ended(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}
