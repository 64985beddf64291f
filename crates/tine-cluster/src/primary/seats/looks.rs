//! What the sockets themselves tell, when they are looked at.

use std::os::fd::OwnedFd;

use rustix::net::{Shutdown, sockopt};

use super::{Seats, Socket};
use crate::{address::Transport, id::SeatId};

impl Seats {
    /// Whether connections wait in the seat that were there at the last look as well: nobody may be
    /// accepting.
    pub(in crate::primary) fn is_stuck(&mut self, seat: SeatId) -> bool {
        let waits = self.queue(seat).is_some_and(|length| length > 0);
        let Some(socket) = self.sockets.get_mut(&seat) else { return false };
        std::mem::replace(&mut socket.waited, waits) && waits
    }

    /// The seats whose program connected its socket: a client that chose its own port. While a
    /// duplicate is kept, the other side does not see the end of the connection.
    pub(in crate::primary) fn connected(&self) -> Vec<SeatId> {
        let is_connected =
            |socket: &Socket| rustix::net::getpeername(&socket.fd).is_ok_and(|peer| peer.is_some());
        let inet = |seat: &SeatId| {
            self.listener_of(*seat).is_some_and(|(_, l)| l.key.endpoint.port().is_some())
        };
        let connected = self.sockets.iter().filter(|(seat, s)| inet(seat) && is_connected(s));
        connected.map(|(seat, _)| *seat).collect()
    }

    /// The seats of every listener at this port, whatever its address.
    pub(in crate::primary) fn at_port(&self, transport: Transport, port: u16) -> Vec<SeatId> {
        let is_there = |seat: &SeatId| {
            self.listener_of(*seat).is_some_and(|(_, listener)| {
                listener.key.transport == transport && listener.key.endpoint.port() == Some(port)
            })
        };
        self.sockets.keys().copied().filter(is_there).collect()
    }

    /// Connections that the seat was given so far.
    pub(in crate::primary) fn taken(&self, seat: SeatId) -> Option<u64> {
        let listener = self.registry.seat(seat)?.listener;
        self.groups.get(&listener)?.taken(seat)
    }

    /// How many connections wait in the seat's queue.
    pub(in crate::primary) fn queue(&self, seat: SeatId) -> Option<u32> {
        let socket = self.socket(seat)?;
        tine_linux::socket::accept_queue(socket).ok().map(|queue| queue.length)
    }

    /// Whether the seat's socket listens, be it for a worker that has not called `listen` yet.
    pub(super) fn is_in_the_group(&self, seat: SeatId) -> bool {
        self.socket(seat).is_some_and(|socket| sockopt::socket_acceptconn(socket) == Ok(true))
    }

    /// Whether there is no listener.
    pub(in crate::primary) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

/// The socket leaves its group now, whoever has a duplicate of it: a keeper lets go of its own a moment later,
/// and until then the kernel's order of the group would not be what it is taken for. What is queued goes
/// the way that it goes at a close. One that does not listen is left alone.
pub(super) fn stop_listening(socket: &OwnedFd) {
    if sockopt::socket_acceptconn(socket) == Ok(true) {
        // It is closed next, which nothing that is told here would change.
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
    }
}
