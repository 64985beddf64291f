//! Calls that the primary before had taken and not answered: it may have carried them out.

use std::net::SocketAddr;

use rustix::io::Errno;
use tine_linux::seccomp::{Call, Notification};

use super::Asked;
use crate::{
    address::{Endpoint, ListenKey},
    core::registry::Claim,
    id::{ListenerId, SeatId, WorkerId},
    policy::Acquisition,
    primary::{
        caller::{self, RawAddress},
        task::Task,
    },
};

impl Task {
    /// A call waits since before this primary. What was begun is finished; all else is as with any call.
    pub(in crate::primary) fn trapped_before(
        &mut self,
        worker: WorkerId,
        notification: Notification,
    ) {
        let Some(result) = self.finish_bind(worker, &notification) else {
            return self.trapped(worker, notification);
        };
        if let Some(trap) = self.trap_of(worker) {
            // Whoever was killed meanwhile needs no answer.
            let _ = trap.answer(&notification, result);
        }
    }

    /// `None`: it was not begun, or is nothing that could be.
    fn finish_bind(
        &mut self,
        worker: WorkerId,
        notification: &Notification,
    ) -> Option<Result<(), Errno>> {
        let Call::Bind { fd, address, length } = notification.call else { return None };
        let thread = notification.thread?;
        let raw = RawAddress::read(&caller::memory(&self.sight, thread, address, length).ok()?);
        if !self.is_shared(&raw) {
            return None;
        }
        let (caller, socket) = caller::look(&self.sight, thread, fd).ok()?;
        let socket = socket?;
        if !self.trap_of(worker)?.is_waiting(notification) {
            return None;
        }
        let asked = Asked { worker, notification, caller: &caller, socket: &socket };
        match (self.seats.find(socket.inode), raw) {
            (Some(seat), _) => {
                self.was_put(asked, seat);
                Some(Ok(()))
            }
            (None, _) if !socket.is_bound() => None,
            (None, RawAddress::Inet(address)) => Some(self.was_bound_to(asked, address)),
            // Its file may be anywhere between its own place and that of a moment before.
            (None, RawAddress::Path(_) | RawAddress::Abstract(_) | RawAddress::Other) => {
                Some(Err(Errno::INTR))
            }
        }
    }

    /// The caller has the seat's socket already.
    fn was_put(&mut self, asked: Asked<'_>, seat: SeatId) {
        let instance = self.workers.get(&asked.worker).map(|it| it.instance).unwrap_or_default();
        self.seats.take(seat, asked.worker, instance);
        self.was_bound(asked, seat);
        self.presume(asked.worker, seat);
        self.bound(asked.worker, seat);
    }

    /// The caller's own socket is bound, and no record says so.
    fn was_bound_to(&mut self, asked: Asked<'_>, address: SocketAddr) -> Result<(), Errno> {
        let endpoint = Endpoint::inet(address, self.v6only(asked));
        let key = ListenKey { transport: asked.socket.transport, endpoint };
        let listener = self.listener_at(asked.worker, &key)?;
        let own = asked.socket.own.as_ref().ok_or(Errno::INTR)?;
        let kept = own.try_clone().map_err(|_| Errno::MFILE)?;
        let seat = self.new_seat(asked.worker, listener, kept)?;
        self.was_bound(asked, seat);
        self.bound(asked.worker, seat);
        Ok(())
    }

    fn listener_at(&mut self, worker: WorkerId, key: &ListenKey) -> Result<ListenerId, Errno> {
        match self.seats.claim(key, worker) {
            Claim::First => self.new_listener(worker, key, Acquisition::BindTrap),
            Claim::Join(listener) => Ok(listener),
            Claim::Take(seat) | Claim::Mine(seat) => {
                self.seats.listener_of(seat).map(|(listener, _)| listener).ok_or(Errno::INVAL)
            }
        }
    }
}
