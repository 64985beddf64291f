//! Gives workers what they ask for over a channel, be it Node's or ours.
//!
//! The primary makes the sockets here. Under the kernel's mechanisms each worker gets one of its own,
//! under one queue all get the same, under hand-over none: its connections come over the channel.

mod kept;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::PathBuf,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
};

use super::{
    handing::Handing,
    probe::{self, errno},
    task::Task,
};
use crate::{
    address::{Endpoint, ListenKey, Transport},
    core::registry::Claim,
    id::{ListenerId, SeatId, WorkerId},
    policy::{Acquisition, Mechanism},
};

/// What all workers of a cluster have asked for over their channels.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// By the name that workers share for a listener: the one that was bound for it.
    bound: BTreeMap<String, ListenKey>,
    /// By the name that one worker was given for what it holds.
    given: BTreeMap<(WorkerId, String), SeatId>,
    last_name: u64,
}

/// What is to be bound.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// The first of these addresses that can be had.
    Inet {
        /// TCP or UDP.
        transport: Transport,
        /// In this order; a port of 0 is any.
        addresses: Vec<SocketAddr>,
        /// `IPV6_V6ONLY`.
        v6only: bool,
    },
    /// A path, absolute.
    Path {
        /// Where.
        path: PathBuf,
        /// Permissions to be added to the file's.
        add_mode: u32,
    },
    /// A socket that was declared before the start, by its number in the worker.
    Declared(u32),
    /// A UDP socket without any address.
    Unbound {
        /// For IPv6.
        v6: bool,
    },
}

/// A question of a worker.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Equal names mean one listener.
    pub(super) name: String,
    /// What is to be bound.
    pub(super) want: Want,
    /// How many connections may wait.
    pub(super) backlog: Option<u32>,
    /// Over which channel.
    pub(super) by: Acquisition,
}

/// What the worker gets.
#[derive(Debug)]
pub(super) enum Given {
    /// A socket to listen on.
    Socket {
        /// How the worker will speak of it.
        key: String,
        /// A duplicate.
        fd: OwnedFd,
        /// It is for datagrams.
        datagram: bool,
    },
    /// Connections over the channel.
    HandedOver {
        /// How the worker will speak of it.
        key: String,
        /// What is bound; `None` for a path.
        address: Option<SocketAddr>,
    },
}

/// So many listeners may one worker have by its channel: each costs three descriptors.
const MOST_GIVEN: usize = 1024;

/// What Node's own primary lets wait (`backlog || 511`).
const BACKLOG: u32 = 511;

impl Task {
    /// Finds or makes what the worker asks for.
    pub(super) fn give(&mut self, worker: WorkerId, ask: &Ask) -> Result<Given, Errno> {
        if self.asks.count(worker) >= MOST_GIVEN {
            return Err(Errno::MFILE);
        }
        match &ask.want {
            Want::Declared(number) => return self.give_declared(worker, *number),
            Want::Unbound { v6 } => return self.give_unbound(*v6),
            Want::Inet { .. } | Want::Path { .. } => {}
        }
        let seat = self.give_first_or_known(worker, ask)?;
        self.hand_out(worker, seat, ask.backlog)
    }

    fn give_first_or_known(&mut self, worker: WorkerId, ask: &Ask) -> Result<SeatId, Errno> {
        let known = self.asks.bound.get(&ask.name).cloned();
        let known = known.filter(|key| self.seats.registry().find(key).is_some());
        match known {
            Some(key) => self.give_known(worker, ask, &key),
            None => self.give_first(worker, ask),
        }
    }

    fn give_known(
        &mut self,
        worker: WorkerId,
        ask: &Ask,
        key: &ListenKey,
    ) -> Result<SeatId, Errno> {
        match self.seats.claim(key, worker) {
            // A socket that was taken out of its listener is closed without a word.
            Claim::Mine(seat) if ask.by == Acquisition::Native && !self.has_open(worker, seat) => {
                self.seat_closed(worker, seat);
                self.give_first_or_known(worker, ask)
            }
            // Node: a second server of one worker on one address.
            Claim::Mine(_) => Err(Errno::ADDRINUSE),
            Claim::Take(seat) => {
                let instance = self.instance_of(worker);
                self.seats.take(seat, worker, instance);
                Ok(seat)
            }
            Claim::Join(listener) => self.bind_for(worker, listener, key),
            Claim::First => self.give_first(worker, ask),
        }
    }

    fn bind_for(
        &mut self,
        worker: WorkerId,
        listener: ListenerId,
        key: &ListenKey,
    ) -> Result<SeatId, Errno> {
        let Endpoint::Inet { address, v6only } = key.endpoint else { return Err(Errno::INVAL) };
        let socket = probe::socket(key.transport, address, v6only).map_err(errno)?;
        if self.is_grouped(listener) {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        self.new_seat(worker, listener, socket)
    }

    /// Nobody has it: the addresses are tried one after the other.
    fn give_first(&mut self, worker: WorkerId, ask: &Ask) -> Result<SeatId, Errno> {
        let seat = match &ask.want {
            Want::Inet { transport, addresses, v6only } => {
                let mut last = Err(Errno::ADDRNOTAVAIL);
                for address in addresses {
                    last = self.bind_new(worker, ask.by, (*transport, *address, *v6only));
                    if last.is_ok() {
                        break;
                    }
                }
                last?
            }
            Want::Path { path, add_mode } => self.bind_new_path(worker, ask.by, path, *add_mode)?,
            Want::Declared(_) | Want::Unbound { .. } => return Err(Errno::INVAL),
        };
        if let Some((_, listener)) = self.seats.listener_of(seat) {
            self.asks.bound.insert(ask.name.clone(), listener.key.clone());
        }
        Ok(seat)
    }

    fn bind_new(
        &mut self,
        worker: WorkerId,
        by: Acquisition,
        (transport, address, v6only): (Transport, SocketAddr, bool),
    ) -> Result<SeatId, Errno> {
        let key = |address| ListenKey { transport, endpoint: Endpoint::inet(address, v6only) };
        match bind_probed(transport, address, v6only) {
            Ok((socket, address)) => {
                let key = key(address);
                // The same address under another name (`localhost` beside `127.0.0.1`).
                if self.seats.registry().find(&key).is_some() {
                    return Err(Errno::ADDRINUSE);
                }
                let listener = self.new_listener(worker, &key, by)?;
                if !self.is_grouped(listener) {
                    sockopt::set_socket_reuseport(&socket, false)?;
                }
                self.new_seat(worker, listener, socket)
            }
            Err(errno) => {
                self.refused(worker, key(address), errno);
                Err(errno)
            }
        }
    }

    /// The worker holds the seat; it gets a duplicate, or the promise of connections.
    fn hand_out(
        &mut self,
        worker: WorkerId,
        seat: SeatId,
        backlog: Option<u32>,
    ) -> Result<Given, Errno> {
        let (listener, info) = self.seats.listener_of(seat).ok_or(Errno::BADF)?;
        let (key, mechanism) = (info.key.clone(), info.choice.mechanism);
        let socket = self.seats.socket(seat).ok_or(Errno::BADF)?;
        if key.transport.listens() {
            rustix::net::listen(socket, self::backlog(backlog))?;
        }
        let fd = socket.try_clone_to_owned().map_err(errno)?;
        let name = self.asks.name(worker, seat);
        if mechanism == Mechanism::HandOver {
            let address = match key.endpoint {
                Endpoint::Inet { address, .. } => Some(address),
                Endpoint::Path(_) | Endpoint::Abstract(_) => None,
            };
            let handing = match self.handing.entry(listener) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let news = self.news.clone();
                    new.insert(Handing::open(listener, fd, news).map_err(errno)?)
                }
            };
            handing.join(worker, &name);
            return Ok(Given::HandedOver { key: name, address });
        }
        let joined = self.seats.joined(seat);
        if let Err(error) = joined {
            self.trouble(worker, "put a seat into its group", io::Error::other(error));
        }
        Ok(Given::Socket { key: name, fd, datagram: !key.transport.listens() })
    }

    fn give_declared(&mut self, worker: WorkerId, number: u32) -> Result<Given, Errno> {
        let seat = self.declared_seat(worker, number).ok_or(Errno::INVAL)?;
        let fd = self.seats.socket(seat).ok_or(Errno::BADF)?;
        let fd = fd.try_clone_to_owned().map_err(errno)?;
        // Declared sockets block, as systemd's do; Node does not change that, and would stand still in
        // its second `accept`.
        rustix::io::ioctl_fionbio(&fd, true)?;
        let key = self.asks.name(worker, seat);
        Ok(Given::Socket { key, fd, datagram: false })
    }

    /// Each worker's own: there is nothing to share in a socket without an address.
    fn give_unbound(&mut self, v6: bool) -> Result<Given, Errno> {
        let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        Ok(Given::Socket { key: self.asks.fresh(), fd, datagram: true })
    }

    /// The worker has closed what it was given.
    pub(super) fn given_closed(&mut self, worker: WorkerId, key: &str) {
        self.announce_of(worker);
        let Some(seat) = self.asks.given.remove(&(worker, key.to_owned())) else { return };
        let Some((listener, _)) = self.seats.listener_of(seat) else { return };
        if let Some(handing) = self.handing.get_mut(&listener) {
            handing.leave(worker);
        }
        self.told_listening.remove(&(worker, seat));
        self.let_go(seat, worker);
        let serves = self.workers.get(&worker).is_some_and(|worker| worker.life.serves());
        let others = self.seats.registry().seats_of(listener).any(|(_, s)| !s.holders.is_empty());
        // The app has closed its server everywhere: the port is free again, as with Node's primary.
        if serves && !others {
            self.close_listener(worker, listener);
        }
    }

    pub(super) fn close_listener(&mut self, worker: WorkerId, listener: ListenerId) {
        self.handing.remove(&listener);
        self.forget_names_of(listener);
        let seats: Vec<SeatId> =
            self.seats.registry().seats_of(listener).map(|(seat, _)| seat).collect();
        for seat in seats {
            self.paths.forget(seat);
            if let Err(error) = self.seats.close(seat) {
                self.trouble(worker, "close a listener", io::Error::other(error));
            }
        }
    }

    /// Whether there is a listener that workers ask for by this name.
    pub(super) fn is_bound(&self, name: &str) -> bool {
        let key = self.asks.bound.get(name);
        key.is_some_and(|key| self.seats.registry().find(key).is_some())
    }

    /// Nobody listens there any more: what was said with the first question goes too.
    fn forget_names_of(&mut self, listener: ListenerId) {
        let Some(info) = self.seats.registry().listener(listener) else { return };
        let names = self.asks.bound.extract_if(.., |_, key| *key == info.key);
        for (name, _) in names {
            self.node.forget(&name);
        }
    }

    /// The worker is gone, and with it the names that it was given.
    pub(super) fn forget_given(&mut self, worker: WorkerId) {
        self.asks.given.retain(|(holder, _), _| *holder != worker);
        self.told_listening.retain(|(holder, _)| *holder != worker);
    }
}

pub(super) fn backlog(asked: Option<u32>) -> i32 {
    i32::try_from(asked.unwrap_or(BACKLOG)).unwrap_or(i32::MAX)
}

/// A socket bound to an address that was free, with the port that it got.
pub(super) fn bind_probed(
    transport: Transport,
    address: SocketAddr,
    v6only: bool,
) -> Result<(OwnedFd, SocketAddr), Errno> {
    if address.port() != 0 {
        probe::is_free(transport, address, v6only)?;
    }
    let socket = probe::socket(transport, address, v6only).map_err(errno)?;
    // Set in time for the bind, and taken back where no group is wanted.
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    let bound = rustix::net::getsockname(&socket)?;
    let bound = SocketAddr::try_from(bound).map_err(|_| Errno::INVAL)?;
    Ok((socket, bound))
}

impl Asks {
    /// A name that was never given before: two servers of one worker under one name make Node abort.
    pub(super) fn fresh(&mut self) -> String {
        self.last_name += 1;
        format!("h{}", self.last_name)
    }

    /// The seat that the worker knows by this name.
    pub(super) fn given_as(&self, worker: WorkerId, name: &str) -> Option<SeatId> {
        self.given.get(&(worker, name.to_owned())).copied()
    }

    /// The names by which the worker knows the seat.
    pub(super) fn names_of(&self, worker: WorkerId, seat: SeatId) -> Vec<String> {
        let all = self.given.iter().filter(|(name, given)| name.0 == worker && **given == seat);
        all.map(|(name, _)| name.1.clone()).collect()
    }

    /// How much the worker holds.
    fn count(&self, worker: WorkerId) -> usize {
        let from = (worker, String::new())..;
        self.given.range(from).take_while(|((holder, _), _)| *holder == worker).count()
    }

    fn name(&mut self, worker: WorkerId, seat: SeatId) -> String {
        let name = self.fresh();
        self.given.insert((worker, name.clone()), seat);
        name
    }
}
