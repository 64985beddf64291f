//! Addresses that are bound before the start, and passed as systemd passes them (`sd_listen_fds(3)`).

use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{fs::OFlags, io::Errno};

use super::task::Task;
use crate::{
    address::{Endpoint, ListenKey, Transport},
    core::registry::Claim,
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::Acquisition,
};

/// The first number that a worker finds declared sockets at.
const FIRST: u32 = 3;
/// Whoever passes sockets listens on them first; as large as Node's own.
const BACKLOG: i32 = 511;

impl Task {
    /// Binds a seat at every declared address for a worker that is about to start.
    pub(super) fn bind_declared(&mut self, id: WorkerId, instance: Instance) -> io::Result<()> {
        for address in self.settings.listen.clone() {
            let seat = self.bind_one(id, instance, address).inspect_err(|_| {
                self.release_declared(id);
            })?;
            self.declared.entry(id).or_default().push(seat);
        }
        Ok(())
    }

    fn bind_one(
        &mut self,
        id: WorkerId,
        instance: Instance,
        address: SocketAddr,
    ) -> io::Result<SeatId> {
        let endpoint = Endpoint::inet(address, false);
        let key = ListenKey { transport: Transport::Tcp, endpoint };
        let seat = match self.seats.claim(&key, id) {
            Claim::Take(seat) | Claim::Mine(seat) => {
                self.seats.take(seat, id, instance);
                return Ok(seat);
            }
            Claim::Join(listener) => self.bind_declared_seat((id, instance), listener, address)?,
            Claim::First => {
                if let Err(errno) = super::probe::is_free(Transport::Tcp, address, false) {
                    self.refused(id, key, errno);
                    return Err(errno.into());
                }
                let listener = self.new_listener(id, &key, Acquisition::ListenFds)?;
                self.bind_declared_seat((id, instance), listener, address)?
            }
        };
        Ok(seat)
    }

    fn bind_declared_seat(
        &mut self,
        (id, instance): (WorkerId, Instance),
        listener: ListenerId,
        address: SocketAddr,
    ) -> io::Result<SeatId> {
        let socket = bind(address, self.is_grouped(listener))?;
        let seat = self.seats.add_seat(listener, (instance, Some(id)), socket)?;
        self.seats.joined(seat).map_err(io::Error::other)?;
        Ok(seat)
    }

    /// The sockets that a starting worker is to be passed, in order.
    pub(super) fn declared_of(&self, id: WorkerId) -> Vec<BorrowedFd<'_>> {
        let seats = self.declared.get(&id).map(Vec::as_slice).unwrap_or_default();
        seats.iter().filter_map(|seat| self.seats.socket(*seat)).collect()
    }

    /// The seat behind one of the numbers that the worker was told.
    pub(super) fn declared_seat(&self, id: WorkerId, number: u32) -> Option<SeatId> {
        let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
        self.declared.get(&id)?.get(index).copied()
    }

    /// The worker runs: nobody will say when it accepts, so it gets connections from now on. What
    /// comes before it is ready waits in its queue.
    pub(super) fn open_declared(&mut self, id: WorkerId) {
        for seat in self.declared.get(&id).cloned().unwrap_or_default() {
            self.seat_listens(id, seat);
        }
    }

    /// The worker did not start.
    pub(super) fn release_declared(&mut self, id: WorkerId) {
        for seat in self.declared.remove(&id).unwrap_or_default() {
            self.let_go(seat, id);
        }
    }
}

/// systemd passes sockets that block, unless told otherwise (`NonBlocking=`, systemd.service(5)).
fn bind(address: SocketAddr, grouped: bool) -> Result<OwnedFd, io::Error> {
    let socket = super::probe::socket(Transport::Tcp, address, false)?;
    rustix::fs::fcntl_setfl(&socket, OFlags::empty())?;
    let told = |error: Errno| io::Error::from(error);
    rustix::net::sockopt::set_socket_reuseport(&socket, grouped).map_err(told)?;
    rustix::net::bind(&socket, &address).map_err(told)?;
    rustix::net::listen(&socket, BACKLOG).map_err(told)?;
    Ok(socket)
}
