//! Answers the trapped `bind` and `listen` of programs that know nothing of tine.
//!
//! The caller's own socket is bound, through a duplicate: the same open file, so every option that the
//! program had set stays, and nothing it did with the descriptor is lost. Where it must share a socket
//! that exists, that one is put in place of its descriptor.

mod again;
mod before;
mod listen;
mod unseen;
mod v6only;

pub(super) use v6only::ToldV6Only;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, sockopt},
};
use tine_linux::{
    seccomp::{Call, Notification},
    socket,
};

use super::{
    caller::{self, Caller, CallersSocket, RawAddress},
    event::What,
    probe::{self, errno},
    task::Task,
};
use crate::{
    address::{Endpoint, ListenKey, Transport},
    core::registry::{Claim, Listener},
    id::{ListenerId, SeatId, WorkerId},
    policy::{self, Acquisition, Choice, Mechanism, NotToBeHad},
};

/// What the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel carries the call out as it was made.
    Pass,
    /// This is its result.
    Result(Result<(), Errno>),
}

/// A trapped call, while it is answered.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) worker: WorkerId,
    pub(super) notification: &'a Notification,
    pub(super) caller: &'a Caller,
    pub(super) socket: &'a CallersSocket,
}

impl Task {
    /// A call waits. It is always answered, or its caller is gone.
    pub(super) fn trapped(&mut self, worker: WorkerId, notification: Notification) {
        let answer = match notification.call {
            Call::Bind { fd, address, length } => {
                self.on_bind(worker, &notification, (fd, address, length))
            }
            Call::Listen { fd, backlog } => self.on_listen(worker, &notification, (fd, backlog)),
            Call::SetV6Only { fd, value } => self.on_v6only(worker, &notification, (fd, value)),
            Call::Other => None,
        };
        let Some(trap) = self.trap_of(worker) else { return };
        // Whoever was killed meanwhile needs no answer.
        let _ = match answer.unwrap_or(Answer::Pass) {
            Answer::Pass => trap.pass(&notification),
            Answer::Result(result) => trap.answer(&notification, result),
        };
    }

    /// `None`: something could not be found out, which is the caller's business then.
    fn on_bind(
        &mut self,
        worker: WorkerId,
        notification: &Notification,
        (fd, address, length): (i32, u64, u32),
    ) -> Option<Answer> {
        let thread = notification.thread?;
        let bytes = caller::memory(&self.sight, thread, address, length).ok()?;
        let raw = RawAddress::read(&bytes);
        if !self.is_shared(&raw) {
            return Some(Answer::Pass);
        }
        let (caller, socket) = match caller::look(&self.sight, thread, fd) {
            Ok((caller, socket)) => (caller, socket?),
            Err(error) => return self.unseen((worker, notification), (fd, &raw), &error),
        };
        // All that was read so far was the caller's only if it still waits.
        if !self.trap_of(worker)?.is_waiting(notification) {
            return None;
        }
        // The kernel refuses these, each with its own word.
        let named = socket.is_bound() || self.seats.find(socket.inode).is_some();
        if named || raw.family() != Some(socket.family) {
            return Some(Answer::Pass);
        }
        let asked = Asked { worker, notification, caller: &caller, socket: &socket };
        Some(match raw {
            RawAddress::Inet(inet) => self.bind_inet(asked, inet, &bytes),
            RawAddress::Path(path) => self.bind_path(asked, &path, &bytes),
            RawAddress::Abstract(name) => self.bind_abstract(asked, name, &bytes),
            RawAddress::Other => Answer::Pass,
        })
    }

    /// Port 0 is each worker's own, and so are the ports that were declared private.
    fn is_shared(&self, address: &RawAddress) -> bool {
        match address {
            RawAddress::Inet(inet) => {
                inet.port() != 0 && !self.settings.private_ports.contains(&inet.port())
            }
            RawAddress::Path(_) | RawAddress::Abstract(_) => true,
            RawAddress::Other => false,
        }
    }

    fn bind_inet(&mut self, asked: Asked<'_>, address: SocketAddr, bytes: &[u8]) -> Answer {
        if !matches!(asked.socket.transport, Transport::Tcp | Transport::Udp) {
            return Answer::Pass;
        }
        let v6only = self.v6only(asked);
        let transport = asked.socket.transport;
        let key = ListenKey { transport, endpoint: Endpoint::inet(address, v6only) };
        if !asked.caller.may_bind(address.port()) {
            self.refused(asked.worker, key, Errno::ACCESS);
            return Answer::Result(Err(Errno::ACCESS));
        }
        let result = match self.seats.claim(&key, asked.worker) {
            Claim::First => self.bind_first(asked, &key, (address, v6only, bytes)),
            Claim::Join(listener) => self.bind_seat(asked, listener, (address, v6only, bytes)),
            Claim::Take(seat) if !self.fits(asked, seat) => Err(Errno::ADDRINUSE),
            Claim::Take(seat) => self.share(asked, seat),
            Claim::Mine(seat) => self.bind_again(asked, seat, (address, v6only, bytes)),
        };
        if let Err(errno) = result {
            self.refused(asked.worker, key, errno);
        }
        Answer::Result(result)
    }

    /// Nobody of this app has the address: the kernel is asked whether anybody else has.
    fn bind_first(
        &mut self,
        asked: Asked<'_>,
        key: &ListenKey,
        at: (SocketAddr, bool, &[u8]),
    ) -> Result<(), Errno> {
        self.check_free(key.transport, at)?;
        let listener = self.new_listener(asked.worker, key, Acquisition::BindTrap)?;
        let bound = self.bind_seat(asked, listener, at);
        bound.inspect_err(|_| self.seats.forget_if_empty(listener))
    }

    fn check_free(
        &mut self,
        transport: Transport,
        (address, v6only, _): (SocketAddr, bool, &[u8]),
    ) -> Result<(), Errno> {
        match probe::is_free(transport, address, v6only) {
            Err(Errno::ADDRINUSE) if self.close_abandoned(transport, address.port()) => {
                probe::is_free(transport, address, v6only)
            }
            other => other,
        }
    }

    /// Makes a listener known under the mechanism that is to be had.
    pub(super) fn new_listener(
        &mut self,
        worker: WorkerId,
        key: &ListenKey,
        acquisition: Acquisition,
    ) -> Result<ListenerId, Errno> {
        let choice = self.choose(key.transport, acquisition).map_err(|reason| {
            self.unfit(worker, reason);
            Errno::OPNOTSUPP
        })?;
        let listener = Listener { key: key.clone(), choice, acquisition };
        let id = self.seats.add_listener(listener);
        if self.seats.is_loading(id) {
            self.load_program(id, choice.policy);
        }
        Ok(id)
    }

    pub(super) fn choose(
        &self,
        transport: Transport,
        by: Acquisition,
    ) -> Result<Choice, NotToBeHad> {
        let settings = &self.settings;
        match transport {
            Transport::Tcp => {
                policy::choose(settings.policy, settings.mechanism, settings.abilities, by)
            }
            Transport::Udp => Ok(policy::choose_for_datagrams(settings.policy)),
            Transport::UnixStream | Transport::UnixSeqPacket | Transport::UnixDatagram => {
                policy::choose_for_paths(settings.mechanism, by)
            }
        }
    }

    /// Binds the caller's socket, or one in its place, as one more seat.
    fn bind_seat(
        &mut self,
        asked: Asked<'_>,
        listener: ListenerId,
        (address, v6only, bytes): (SocketAddr, bool, &[u8]),
    ) -> Result<(), Errno> {
        let grouped = self.is_grouped(listener);
        let transport = asked.socket.transport;
        let made;
        let fd = if let Some(own) = &asked.socket.own {
            own
        } else {
            made = probe::socket(transport, address, v6only).map_err(errno)?;
            rustix::fs::fcntl_setfl(&made, flags_of(asked.socket))?;
            &made
        };
        probe::reuse_address(fd, transport).map_err(errno)?;
        if grouped {
            sockopt::set_socket_reuseport(fd, true)?;
        }
        // Before the bind, which could not be taken back.
        let kept = fd.try_clone().map_err(errno)?;
        socket::bind_raw(fd, bytes).map_err(errno)?;
        let seat = self.new_seat(asked.worker, listener, kept)?;
        self.was_bound(asked, seat);
        if asked.socket.own.is_none() {
            self.put(asked, fd.as_fd())?;
        }
        self.bound(asked.worker, seat);
        Ok(())
    }

    pub(super) fn is_grouped(&self, listener: ListenerId) -> bool {
        self.seats.registry().listener(listener).is_some_and(|l| match l.choice.mechanism {
            Mechanism::KernelEbpf | Mechanism::KernelCbpf | Mechanism::KernelHash => true,
            Mechanism::OneQueue | Mechanism::HandOver => false,
        })
    }

    pub(super) fn new_seat(
        &mut self,
        worker: WorkerId,
        listener: ListenerId,
        fd: OwnedFd,
    ) -> Result<SeatId, Errno> {
        let instance = self.workers.get(&worker).map(|worker| worker.instance).unwrap_or_default();
        self.seats.add_seat(listener, (instance, Some(worker)), fd).map_err(errno)
    }

    /// The caller has the seat's socket, under the number that it called with.
    pub(super) fn was_bound(&mut self, asked: Asked<'_>, seat: SeatId) {
        self.seats.was_bound(seat, asked.socket.options);
        let place = (asked.caller.process.pid(), asked.caller.number);
        self.seats.sightings.seen((seat, asked.worker), place);
    }

    /// Sockets without connections are in their group, and get datagrams, as soon as they are bound.
    pub(super) fn bound(&mut self, worker: WorkerId, seat: SeatId) {
        let listens = self.seats.listener_of(seat).is_none_or(|(_, l)| l.key.transport.listens());
        if !listens {
            self.seat_listens(worker, seat);
        }
    }

    /// Gives the caller a socket that exists, in place of its own.
    pub(super) fn share(&mut self, asked: Asked<'_>, seat: SeatId) -> Result<(), Errno> {
        let socket = self.seats.socket(seat).ok_or(Errno::BADF)?;
        let others = self
            .seats
            .registry()
            .seat(seat)
            .is_some_and(|seat| seat.holders.iter().any(|holder| *holder != asked.worker));
        // The flag belongs to the open file. The caller expects it as it had set it; but it must not
        // be taken from others, whose `accept` would wait for ever. Programs set it late.
        if asked.socket.flags.non_blocking || !others {
            rustix::fs::fcntl_setfl(socket, flags_of(asked.socket))?;
        }
        self.put(asked, socket)?;
        let instance = self.workers.get(&asked.worker).map(|w| w.instance).unwrap_or_default();
        self.seats.take(seat, asked.worker, instance);
        self.was_bound(asked, seat);
        self.presume(asked.worker, seat);
        self.bound(asked.worker, seat);
        Ok(())
    }

    pub(super) fn put(
        &self,
        asked: Asked<'_>,
        fd: std::os::fd::BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let trap = self.trap_of(asked.worker).ok_or(Errno::INTR)?;
        let close_on_exec = asked.socket.flags.close_on_exec;
        trap.replace(asked.notification, asked.caller.number, fd, close_on_exec).map_err(errno)
    }

    /// Whether the seat's socket can stand for the caller's: `::ffff:127.0.0.1` and `127.0.0.1` are
    /// one place, but not one kind of socket.
    fn fits(&self, asked: Asked<'_>, seat: SeatId) -> bool {
        let Some(socket) = self.seats.socket(seat) else { return false };
        // The kernel sets the option by itself at the bind of most addresses, never takes it back.
        let takes_v4 = || sockopt::ipv6_v6only(socket) == Ok(false);
        sockopt::socket_domain(socket) == Ok(asked.socket.family)
            && (asked.socket.family != AddressFamily::INET6 || !(takes_v4() && self.v6only(asked)))
    }

    pub(super) fn refused(&mut self, worker: WorkerId, key: ListenKey, errno: Errno) {
        self.tell(worker, What::Refused { key, errno });
    }
}

/// The status flags that the program's own descriptor has, for one that takes its place.
fn flags_of(socket: &CallersSocket) -> rustix::fs::OFlags {
    let mut flags = rustix::fs::OFlags::empty();
    flags.set(rustix::fs::OFlags::NONBLOCK, socket.flags.non_blocking);
    flags
}
