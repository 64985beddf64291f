//! When a seat's socket is closed, and how: nothing that waits in it or is on its way is lost.

use std::time::Instant;

use super::{Seats, Socket, looks};
use crate::{
    address::Transport,
    core::registry::SeatState,
    id::{ListenerId, SeatId},
    primary::balance::GroupError,
};

impl Seats {
    /// When a seat is to be closed.
    pub(in crate::primary) fn poll_timeout(&self) -> Option<Instant> {
        self.closing.poll_timeout()
    }

    /// Closes what nobody has taken in time.
    pub(in crate::primary) fn close_due(&mut self, now: Instant) -> Result<(), GroupError> {
        for seat in self.closing.take_due(now) {
            if self.spent.contains_key(&seat) {
                self.close_spent(seat, now)?;
                continue;
            }
            let state = self.registry.seat(seat).map(|seat| seat.state);
            let is_left = state == Some(SeatState::Waiting) && self.can_close(seat);
            if self.succeeded.remove(&seat) || is_left {
                self.close(seat)?;
            }
        }
        Ok(())
    }

    /// Whether nothing is lost when the seat closes.
    pub(in crate::primary) fn can_close(&self, seat: SeatId) -> bool {
        let Some((listener, info)) = self.listener_of(seat) else { return true };
        if !self.has_others(seat) {
            return false;
        }
        match info.key.transport {
            // Datagrams that reach a socket nobody reads are lost: the others must get them.
            Transport::Udp => true,
            // An empty queue is not enough: handshakes may be under way, and would be reset.
            Transport::Tcp => self.migrates(listener),
            Transport::UnixStream | Transport::UnixSeqPacket | Transport::UnixDatagram => false,
        }
    }

    /// Closes the seat's socket. With eBPF the kernel moves its queue to the others.
    pub(in crate::primary) fn close(&mut self, seat: SeatId) -> Result<(), GroupError> {
        let Some(listener) = self.registry.seat(seat).map(|seat| seat.listener) else {
            return Ok(());
        };
        self.touched.seat(seat);
        self.touched.group(listener);
        // Migration asks the program, which must not answer with the seat that closes.
        self.registry.let_go_of_all(seat);
        self.rotate_without(listener, seat)?;
        self.succeeded.remove(&seat);
        self.spent.remove(&seat);
        let last = self.registry.remove_seat(seat);
        if let Some(Socket { fd, .. }) = self.sockets.remove(&seat) {
            looks::stop_listening(&fd);
        }
        let left = self.groups.get_mut(&listener).map_or(Ok(()), |group| group.left(seat));
        if last {
            self.groups.remove(&listener);
            self.touched.listener(listener);
            return left;
        }
        self.close_the_spent_of(listener);
        left.and_then(|()| self.rotate(listener))
    }

    /// Tells the kernel who is in rotation, in such a way that it holds while the seat closes.
    fn rotate_without(&mut self, listener: ListenerId, closing: SeatId) -> Result<(), GroupError> {
        let seats = self.with_turns(listener, self.rotation(listener));
        let any = self.any_in_group(listener);
        let Some(socket) = any.and_then(|seat| self.sockets.get(&seat)) else { return Ok(()) };
        let Some(group) = self.groups.get_mut(&listener) else { return Ok(()) };
        group.rotate_without(closing, &seats, &socket.fd)
    }

    /// Whether no connection goes astray in the moment in which the seat closes.
    pub(in crate::primary) fn can_do_without(&self, seat: SeatId) -> bool {
        let Some(listener) = self.registry.seat(seat).map(|seat| seat.listener) else {
            return true;
        };
        let rotation = self.rotation(listener);
        self.groups.get(&listener).is_none_or(|group| group.can_do_without(seat, &rotation))
    }

    /// Closes the socket and keeps the seat: its listener is still spoken of.
    pub(in crate::primary) fn close_socket(&mut self, seat: SeatId) {
        self.touched.seat(seat);
        self.sockets.remove(&seat);
    }
}
