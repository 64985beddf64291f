//! Turns new clients away while all workers finish what they have.
//!
//! A socket filter does that for every seat; but Linux 6.18 was seen to refuse filters on TCP sockets
//! to whoever lacks `CAP_NET_ADMIN` (`EPERM`). Then, where a classic program chooses the seat, it
//! chooses one whose queue is full from now on: the kernel drops what comes for it, and the client
//! tries again a second later. Under hand-over the primary stops accepting. One queue has no such
//! way: it is open until its workers end.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::{io::Errno, net::sockopt};

use super::Seats;
use crate::{
    address::{Endpoint, Transport},
    id::ListenerId,
    primary::{balance::Group, probe},
};

/// A listening socket that takes no connection, for one that nobody accepts fills its queue.
#[derive(Debug)]
#[expect(dead_code, reason = "both are kept open: one is chosen, the other fills its queue")]
pub(super) struct FullSeat {
    listener: OwnedFd,
    filling: OwnedFd,
}

impl Seats {
    /// Every listener drops new connection requests without an answer from now on. Gives those that
    /// still take them.
    pub(in crate::primary) fn close_gates(&mut self) -> io::Result<Vec<ListenerId>> {
        let tcp = self.registry.listeners().filter(|(_, l)| l.key.transport == Transport::Tcp);
        let tcp: Vec<ListenerId> = tcp.map(|(listener, _)| listener).collect();
        let mut open = Vec::new();
        for listener in tcp {
            if !self.close_gate(listener)? {
                open.push(listener);
            }
        }
        Ok(open)
    }

    fn close_gate(&mut self, listener: ListenerId) -> io::Result<bool> {
        match self.filter(listener) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                self.turn_away(listener)
            }
            other => other.map(|()| true),
        }
    }

    fn filter(&self, listener: ListenerId) -> io::Result<()> {
        let seats = self.registry.seats_of(listener);
        let mut sockets = seats.filter_map(|(seat, _)| self.sockets.get(&seat));
        sockets.try_for_each(|socket| tine_linux::socket::close_gate(&socket.fd))
    }

    fn turn_away(&mut self, listener: ListenerId) -> io::Result<bool> {
        let endpoint = self.registry.listener(listener).map(|known| &known.key.endpoint);
        let Some(&Endpoint::Inet { address, v6only }) = endpoint else { return Ok(false) };
        let Some(group @ Group::Cbpf { .. }) = self.groups.get_mut(&listener) else {
            return Ok(false);
        };
        let seat = FullSeat::open(address, v6only, |socket| {
            group.end_with(socket).map_err(io::Error::other)
        })?;
        self.full.push(seat);
        Ok(true)
    }
}

impl FullSeat {
    /// `join` makes it the one that is chosen.
    fn open(
        address: SocketAddr,
        v6only: bool,
        join: impl FnOnce(&OwnedFd) -> io::Result<()>,
    ) -> io::Result<Self> {
        let listener = probe::socket(Transport::Tcp, address, v6only)?;
        sockopt::set_socket_reuseport(&listener, true)?;
        rustix::net::bind(&listener, &address)?;
        // Of a queue of 0 the kernel lets one wait.
        rustix::net::listen(&listener, 0)?;
        join(&listener)?;
        let filling = probe::socket(Transport::Tcp, address, v6only)?;
        match rustix::net::connect(&filling, &reachable(address)) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self { listener, filling }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a listener on `address` is reached from this host.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(any) if any.ip().is_unspecified() => {
            (Ipv4Addr::LOCALHOST, any.port()).into()
        }
        SocketAddr::V6(any) if any.ip().is_unspecified() => {
            (Ipv6Addr::LOCALHOST, any.port()).into()
        }
        other => other,
    }
}
