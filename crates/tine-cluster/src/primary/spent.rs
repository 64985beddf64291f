//! Seats whose workers have left for good: nobody follows to take them over.
//!
//! Such a seat is in no rotation; it is closed when nothing can be lost with it. Where the kernel moves what
//! waits in a seat that closes, that is as soon as another seat serves. Elsewhere its queue has to be empty,
//! the handshakes that had begun must have ended, and no connection may go astray while the others move up
//! in the kernel's order. A seat that has to stay for that is the next one that somebody needs, so there are
//! never more than there were workers at a time.

use std::time::Instant;

use super::{
    balance::GroupError,
    leaving::{self, Handshakes},
    seats::Seats,
};
use crate::{
    address::Transport,
    id::{ListenerId, SeatId, WorkerId},
};

impl Seats {
    /// The worker does not hold the seat any more, and nobody is to follow it there.
    pub(super) fn leave_for_good(
        &mut self,
        seat: SeatId,
        worker: WorkerId,
    ) -> Result<(), GroupError> {
        let tcp = self.listener_of(seat).is_some_and(|(_, it)| it.key.transport == Transport::Tcp);
        if !tcp || self.is_succeeded(seat) || !self.has_others(seat) {
            return self.let_go(seat, worker);
        }
        self.let_go(seat, worker)?;
        let left = self.registry().seat(seat).is_some_and(|seat| seat.holders.is_empty());
        if left {
            self.rest(seat)?;
            self.spent.insert(seat, Handshakes::default());
        }
        Ok(())
    }

    /// One of them is due: it is closed, or looked at again later.
    pub(super) fn close_spent(&mut self, seat: SeatId, now: Instant) -> Result<(), GroupError> {
        if self.can_close(seat) {
            return self.close(seat);
        }
        let waiting = self.queue(seat).is_some_and(|length| length > 0);
        if waiting && !self.migrates_at(seat) {
            // Its worker did not accept them to its end: whoever comes next may.
            self.spent.remove(&seat);
            self.registry.waits(seat);
            return Ok(());
        }
        if self.migrates_at(seat) || self.has_handshakes(seat) {
            self.closing.left(seat, now);
            return Ok(());
        }
        // Else it stays, out of rotation, until others have come or gone.
        if self.can_do_without(seat) { self.close(seat) } else { Ok(()) }
    }

    /// Others have come or gone there: those that stayed are looked at again.
    pub(super) fn close_the_spent_of(&mut self, listener: ListenerId) {
        let now = Instant::now();
        let stayed: Vec<SeatId> = self.spent_of(listener).collect();
        for seat in stayed {
            self.closing.stayed(seat, now);
        }
    }

    fn spent_of(&self, listener: ListenerId) -> impl Iterator<Item = SeatId> {
        let of = move |seat: &SeatId| {
            self.registry.seat(*seat).is_some_and(|it| it.listener == listener)
        };
        self.spent.keys().copied().filter(of)
    }

    /// A seat that whoever needs one may have, where the kernel would not move what comes to it yet.
    pub(super) fn left_over(&self, listener: ListenerId) -> Option<SeatId> {
        self.spent_of(listener).find(|seat| !self.migrates_at(*seat))
    }

    /// Whether the kernel moves what waits in this seat when it closes.
    pub(super) fn migrates_at(&self, seat: SeatId) -> bool {
        self.listener_of(seat).is_some_and(|(listener, _)| self.migrates(listener))
    }

    fn has_handshakes(&mut self, seat: SeatId) -> bool {
        let port = self.listener_of(seat).and_then(|(_, it)| it.key.endpoint.port());
        let begun = leaving::handshakes(&port.into_iter().collect());
        self.spent.get_mut(&seat).is_some_and(|handshakes| handshakes.go_on(&begun))
    }
}
