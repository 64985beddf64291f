//! Seats for those who follow, where nobody serves beside those who leave.
//!
//! A program that knows of no cluster accepts whatever comes to its seat until it is told to end; under
//! load it would never have finished. So new connections are led to a seat that its successor will have,
//! and wait there. The seat before it is closed when nothing can be lost with it ([`super::spent`]).

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::net::sockopt;

use super::{probe, seats::Seats, task::Task};
use crate::{
    address::{Endpoint, Transport},
    core::registry::{Seat, SeatState},
    id::{ListenerId, SeatId, WorkerId},
};

/// How many connections may wait for a successor, unless `net.core.somaxconn` is less.
const QUEUE: u32 = 4096;

impl Task {
    /// To be called before these workers, who have successors, are told to go.
    pub(super) fn lead_to_successors(&mut self, leavers: &BTreeSet<WorkerId>) {
        for (listener, old) in self.seats.served_only_by(leavers) {
            if let Err(error) = self.seats.add_for_successor(listener, old) {
                self.trouble(WorkerId(0), "make a seat for the next worker", error);
            }
        }
    }
}

impl Seats {
    /// Somebody serves at this seat: what waits for others who are yet to come shall not wait for them.
    /// Seats that nobody takes in a moment are closed, and the kernel moves what is queued there.
    pub(super) fn move_the_waiting(&mut self, served: SeatId) {
        let Some((listener, _)) = self.listener_of(served) else { return };
        if !self.migrates(listener) {
            return;
        }
        let waits = |(id, seat): (SeatId, &Seat)| (seat.state == SeatState::Waiting).then_some(id);
        let waiting: Vec<SeatId> = self.registry().seats_of(listener).filter_map(waits).collect();
        let now = Instant::now();
        for seat in waiting {
            self.closing.left(seat, now);
        }
    }

    /// The seats in rotation of listeners that nobody else serves.
    fn served_only_by(&self, workers: &BTreeSet<WorkerId>) -> Vec<(ListenerId, SeatId)> {
        let registry = self.registry();
        let listeners = registry.listeners().filter(|(id, listener)| {
            listener.key.transport == Transport::Tcp
                && self.has_a_rotation(*id)
                && registry.is_served_only_by(*id, workers)
        });
        let seats = |id| registry.rotation(id).into_iter().map(move |seat| (id, seat));
        listeners
            .flat_map(|(id, _)| seats(id))
            .filter(|(_, seat)| !self.is_succeeded(*seat))
            .collect()
    }

    fn add_for_successor(&mut self, listener: ListenerId, old: SeatId) -> io::Result<()> {
        if let Some(new) = self.left_over(listener) {
            self.widen(new, old)?;
            self.spent.remove(&new);
            self.succeed(old, new);
            return Ok(());
        }
        let Some(twin) = self.twin(old)? else { return Ok(()) };
        let instance = self.registry().seat(old).map(|seat| seat.instance).unwrap_or_default();
        let new = self.add_seat(listener, (instance, None), twin)?;
        if let Err(error) = self.joined(new) {
            // It is in no rotation, so nothing can wait in it.
            let _ = self.close(new);
            return Err(io::Error::other(error));
        }
        self.succeed(old, new);
        Ok(())
    }

    /// A socket that listens where that one does, in the same group.
    fn twin(&self, seat: SeatId) -> io::Result<Option<OwnedFd>> {
        let (Some(old), Some((_, listener))) = (self.socket(seat), self.listener_of(seat)) else {
            return Ok(None);
        };
        let Endpoint::Inet { address, v6only } = listener.key.endpoint else { return Ok(None) };
        let new = probe::socket(listener.key.transport, address, v6only)?;
        // A group is one user's: that of the worker who made the first of it (socket(7)).
        let owner = rustix::fs::fstat(old)?;
        let own = rustix::fs::fstat(&new)?;
        if owner.st_uid != own.st_uid {
            let user = rustix::fs::Uid::from_raw(owner.st_uid);
            rustix::fs::fchown(&new, Some(user), None)?;
        }
        sockopt::set_socket_reuseport(&new, true)?;
        rustix::net::bind(&new, &address)?;
        listen_widely(&new, old)?;
        Ok(Some(new))
    }

    /// The seat is to take whatever would come to the old one.
    fn widen(&self, new: SeatId, old: SeatId) -> io::Result<()> {
        let (Some(new), Some(old)) = (self.socket(new), self.socket(old)) else { return Ok(()) };
        listen_widely(new, old)
    }
}

/// All clients wait in one such seat; its worker's own `listen` sets the limit that it wants.
fn listen_widely(new: impl AsFd, old: BorrowedFd<'_>) -> io::Result<()> {
    let queue = tine_linux::socket::accept_queue(old)?;
    Ok(rustix::net::listen(new, i32::try_from(queue.limit.max(QUEUE)).unwrap_or(i32::MAX))?)
}
