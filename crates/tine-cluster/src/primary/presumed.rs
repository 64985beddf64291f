//! Workers that were given a socket which listens already, and need not call `listen(2)`.
//!
//! A program sees that (`SO_ACCEPTCONN`), and some then leave the call out: gunicorn does, for sockets
//! that come from systemd. So after a short while such a worker is taken to listen: from when it was given
//! the socket, or from when another worker called `listen` on what they share, whichever is later.

use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::task::Task;
use crate::id::{SeatId, WorkerId};

/// Between `bind` and `listen` programs do little; those that call it do so within this time, or are
/// given connections that wait until they do.
const SHORTLY: Duration = Duration::from_millis(250);

/// Who was given what, and when that counts as listening.
#[derive(Debug, Default)]
pub(super) struct Presumed(Vec<(Instant, WorkerId, SeatId)>);

impl Presumed {
    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.first().map(|(due, _, _)| *due)
    }

    fn due(&mut self, now: Instant) -> Vec<(WorkerId, SeatId)> {
        // In the order of their times, for all wait equally long.
        let count = self.0.partition_point(|(due, _, _)| *due <= now);
        self.0.drain(..count).map(|(_, worker, seat)| (worker, seat)).collect()
    }
}

impl Task {
    /// The worker was given the seat. If that listens, perhaps nothing more will be heard of it.
    pub(super) fn presume(&mut self, worker: WorkerId, seat: SeatId) {
        let socket = self.seats.socket(seat);
        if socket.is_some_and(|socket| sockopt::socket_acceptconn(socket).unwrap_or(false)) {
            self.presumed.0.push((Instant::now() + SHORTLY, worker, seat));
        }
    }

    /// Another worker has just made the seat listen: whoever was given it before, and looks only now, sees
    /// a socket that listens.
    pub(super) fn presume_others(&mut self, seat: SeatId) {
        let holders = self.seats.registry().seat(seat).map(|seat| seat.holders.clone());
        for worker in holders.unwrap_or_default() {
            if !self.told_listening.contains(&(worker, seat)) {
                self.presume(worker, seat);
            }
        }
    }

    /// Those that could have called `listen` by now are taken to accept.
    pub(super) fn look_at_the_presumed(&mut self, now: Instant) {
        for (worker, seat) in self.presumed.due(now) {
            let holds = self.seats.registry().held_by(worker).contains(&seat);
            if holds && !self.told_listening.contains(&(worker, seat)) {
                self.seat_listens(worker, seat);
            }
        }
    }
}
