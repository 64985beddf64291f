//! A second socket of one worker at an address where it has a seat.
//!
//! The kernel lets a program bind two sockets to one address if both have `SO_REUSEADDR` and neither
//! listens yet, or both have `SO_REUSEPORT`. As seats all have the latter, the first rule is kept here.

use std::net::SocketAddr;

use rustix::io::Errno;

use super::Asked;
use crate::{
    address::Transport,
    id::{ListenerId, SeatId, WorkerId},
    primary::{caller::Options, task::Task},
};

impl Task {
    /// The worker has a seat there already: a second socket of its program, a mistake, or a new
    /// beginning after it closed the first.
    pub(super) fn bind_again(
        &mut self,
        asked: Asked<'_>,
        seat: SeatId,
        at: (SocketAddr, bool, &[u8]),
    ) -> Result<(), Errno> {
        let (id, listener) = self.seats.listener_of(seat).ok_or(Errno::INVAL)?;
        let key = listener.key.clone();
        if self.still_holds(asked.worker, seat) {
            return self.bind_beside(asked, id, at);
        }
        if self.fits(asked, seat) {
            return self.share(asked, seat);
        }
        self.bind_first(asked, &key, at)
    }

    fn bind_beside(
        &mut self,
        asked: Asked<'_>,
        listener: ListenerId,
        at: (SocketAddr, bool, &[u8]),
    ) -> Result<(), Errno> {
        let options = asked.socket.options;
        let own = self.seats_at(asked.worker, listener);
        if own.iter().any(|seat| self.is_in_the_way(asked.worker, *seat, options)) {
            return Err(Errno::ADDRINUSE);
        }
        if self.is_grouped(listener) {
            return self.bind_seat(asked, listener, at);
        }
        // Under one queue all share the first socket of each program, and its second.
        if own.iter().all(|seat| options.reuseport && self.seats.options(*seat).reuseport) {
            return self.share(asked, own.first().copied().ok_or(Errno::INVAL)?);
        }
        let other = {
            let mut seats = self.seats.registry().seats_of(listener).map(|(seat, _)| seat);
            seats.find(|seat| !own.contains(seat))
        };
        match other {
            Some(other) => self.share(asked, other),
            None => self.bind_seat(asked, listener, at),
        }
    }

    fn is_in_the_way(&mut self, worker: WorkerId, seat: SeatId, wanted: Options) -> bool {
        let Some((id, listener)) = self.seats.listener_of(seat) else { return false };
        let tcp = listener.key.transport == Transport::Tcp;
        let grouped = self.is_grouped(id);
        let there = self.seats.options(seat);
        // Where all share a socket, the kernel still tells who may bind beside it.
        let listens = self.seats.listens(seat) && grouped;
        let may_bind = tcp && there.reuseaddr && wanted.reuseaddr && !listens;
        let may_listen = there.reuseport && wanted.reuseport;
        !may_bind && !may_listen && self.still_holds(worker, seat)
    }

    /// Whether the worker listens at the seat's address with another socket, which did not allow that.
    pub(super) fn listens_beside(&mut self, worker: WorkerId, seat: SeatId) -> bool {
        let Some((listener, _)) = self.seats.listener_of(seat) else { return false };
        if !self.is_grouped(listener) || self.seats.listens(seat) {
            return false;
        }
        let others = self.seats_at(worker, listener);
        let mut others = others.into_iter().filter(|other| *other != seat);
        let wanted = self.seats.options(seat);
        others.any(|other| {
            let both = self.seats.options(other).reuseport && wanted.reuseport;
            !both && self.seats.listens(other) && self.still_holds(worker, other)
        })
    }

    fn seats_at(&self, worker: WorkerId, listener: ListenerId) -> Vec<SeatId> {
        let seats = self.seats.registry().seats_of(listener);
        seats.filter(|(_, s)| s.holders.contains(&worker)).map(|(seat, _)| seat).collect()
    }
}
