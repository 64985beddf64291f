//! Keeps new connections away from an app that stops, while those that it has finish.
//!
//! Where this user may attach a filter to a TCP socket, the listeners themselves drop new requests.
//! Linux 6.18 wants a privilege for that, which an ordinary user has not. Then a group of sockets gets
//! one more, the *sink*: all new requests are led there, and its queue, which has room for one, is
//! filled by the primary itself; the kernel drops what does not fit. A client notices nothing but that
//! nobody answers, tries again, and is refused when the app has stopped.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::{io::Errno, net::sockopt};
use tine_linux::socket;

use super::{probe, seats::Seats, task::Task};
use crate::{
    address::{Endpoint, Transport},
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::Mechanism,
};

/// The sinks of an app that stops, with the connections that fill them.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    addresses: Vec<SocketAddr>,
    fillings: Vec<OwnedFd>,
}

impl Task {
    /// New connections stay away from now on; where they cannot be kept away, that is told.
    pub(super) fn close_gates(&mut self) {
        let listeners: Vec<ListenerId> =
            self.seats.registry().listeners().map(|(listener, _)| listener).collect();
        for listener in listeners {
            if let Err(error) = self.close_gate(listener) {
                self.trouble(WorkerId(0), "keep new connections away while stopping", error);
            }
        }
    }

    fn close_gate(&mut self, listener: ListenerId) -> io::Result<()> {
        let Some(info) = self.seats.registry().listener(listener) else { return Ok(()) };
        let (endpoint, mechanism) = (info.key.endpoint.clone(), info.choice.mechanism);
        if info.key.transport != Transport::Tcp {
            return Ok(());
        }
        let filtered = self.seats.filter(listener);
        match (filtered, mechanism, endpoint) {
            (Ok(()), _, _) => Ok(()),
            (Err(_), Mechanism::HandOver, _) => {
                self.accept_the_rest(listener);
                Ok(())
            }
            (
                Err(_),
                Mechanism::KernelEbpf | Mechanism::KernelCbpf,
                Endpoint::Inet { address, v6only },
            ) => self.add_sink(listener, address, v6only),
            // One queue: whoever holds the socket accepts from it.
            (Err(error), _, _) => Err(error),
        }
    }

    fn add_sink(
        &mut self,
        listener: ListenerId,
        address: SocketAddr,
        v6only: bool,
    ) -> io::Result<()> {
        let socket = probe::socket(Transport::Tcp, address, v6only)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 0)?;
        let seat = self.seats.add_seat(listener, (Instance(u32::MAX), None), socket)?;
        let opened = self.seats.joined(seat).and_then(|()| self.seats.open(seat));
        self.sinks.addresses.push(address);
        opened.map_err(io::Error::other)
    }

    /// To be called when nothing but the sinks is in rotation.
    pub(super) fn fill_sinks(&mut self) {
        for address in std::mem::take(&mut self.sinks.addresses) {
            match fill(address) {
                Ok(filling) => self.sinks.fillings.push(filling),
                Err(error) => {
                    self.trouble(WorkerId(0), "keep new connections away while stopping", error);
                }
            }
        }
    }
}

impl Seats {
    /// Every seat of the listener drops new requests without an answer.
    fn filter(&self, listener: ListenerId) -> io::Result<()> {
        let seats: Vec<SeatId> = self.registry().seats_of(listener).map(|(seat, _)| seat).collect();
        seats.into_iter().filter_map(|seat| self.socket(seat)).try_for_each(socket::close_gate)
    }
}

/// A connection that nobody will accept. It is there as soon as the call returns: both ends are on
/// this host.
fn fill(address: SocketAddr) -> io::Result<OwnedFd> {
    let near = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let near = SocketAddr::new(near, address.port());
    let socket = probe::socket(Transport::Tcp, near, false)?;
    match rustix::net::connect(&socket, &near) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
