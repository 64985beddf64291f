//! Sockets that a worker has for itself: those that it asked for as such, and those that it took out of
//! a listener.

use rustix::{io::Errno, net::sockopt};

use super::{
    asks::{Ask, Given, Want, backlog, bind_probed},
    task::Task,
};
use crate::{
    id::{SeatId, WorkerId},
    policy::Mechanism,
};

impl Task {
    /// A socket for this worker alone. It is not of the cluster: nothing is told of it, and nobody
    /// inherits it.
    pub(super) fn give_exclusive(&mut self, worker: WorkerId, ask: &Ask) -> Result<Given, Errno> {
        let Want::Inet { transport, addresses, v6only } = &ask.want else {
            return Err(Errno::INVAL);
        };
        let address = addresses.first().ok_or(Errno::INVAL)?;
        let (fd, bound) = bind_probed(*transport, *address, *v6only)?;
        sockopt::set_socket_reuseport(&fd, false)?;
        if transport.listens() {
            rustix::net::listen(&fd, backlog(ask.backlog))?;
            if let Some(worker) = self.workers.get_mut(&worker) {
                worker.ports.insert(bound.port());
            }
        }
        Ok(Given::Socket { key: self.asks.fresh(), fd, datagram: !transport.listens() })
    }

    /// Whether a worker that has not said otherwise still has the seat.
    pub(super) fn has_open(&mut self, worker: WorkerId, seat: SeatId) -> bool {
        // Under hand-over no worker has the socket; that one closed its listener it says.
        let handed = self
            .seats
            .listener_of(seat)
            .is_some_and(|(_, listener)| listener.choice.mechanism == Mechanism::HandOver);
        let Some(inode) = self.seats.inode(seat) else { return false };
        let table = self.table_for(worker);
        handed || self.workers.get(&worker).is_some_and(|worker| worker.holds(inode, &table))
    }

    /// The worker has closed the seat, and will not say so.
    pub(super) fn seat_closed(&mut self, worker: WorkerId, seat: SeatId) {
        for key in self.asks.names_of(worker, seat) {
            self.given_closed(worker, &key);
        }
    }
}
