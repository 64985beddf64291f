//! What Node workers say on Node's own channel.
//!
//! The protocol, with the reasons for every step here: `docs/protocol-node.md` and the tests beside
//! [`crate::wire::node`].

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use rustix::io::Errno;
use serde_json::value::RawValue;

use super::{
    asks::{Ask, Given, Want},
    channel::Order,
    event::{AddressType, ListeningAddress, What},
    listening::Listens,
    task::Task,
};
use crate::{
    address::Transport,
    id::WorkerId,
    policy::Acquisition,
    wire::node::{Address, Event, HandleKind, Host, QueryServer},
};

/// TLS ticket keys and the like: what the first worker said with its question is given back to all, so
/// that sessions resume at any of them.
#[derive(Debug, Default)]
pub(super) struct Servers {
    data: BTreeMap<String, Option<Box<RawValue>>>,
}

/// What is kept of a question while its listener lives is no longer than this, in bytes: ticket keys
/// are a hundred, and an address is no longer than a path.
const LONGEST: usize = 16 * 1024;

impl Servers {
    /// Nobody listens under this name any more.
    /// For a successor.
    pub(super) fn record(&self) -> BTreeMap<String, Option<Box<RawValue>>> {
        self.data.clone()
    }

    /// From a predecessor.
    pub(super) fn adopt(&mut self, data: BTreeMap<String, Option<Box<RawValue>>>) {
        self.data = data;
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.data.remove(name);
    }
}

impl Task {
    pub(super) fn node_said(&mut self, worker: WorkerId, event: Event) {
        self.speaks(worker);
        match event {
            Event::QueryServer { seq, query } => self.query_server(worker, seq, &query),
            Event::Listening(query) => {
                self.given_listens(worker, &Listens::Address(listening_address(&query)));
            }
            Event::Close { key } => self.given_closed(worker, &key),
            Event::ExitedAfterDisconnect { seq } => {
                self.leaves_by_itself(worker);
                self.order(worker, Order::Acknowledge(seq));
            }
            Event::Online => self.tell(worker, What::Online),
            // Mapped by the channel.
            Event::User(_)
            | Event::UserHandle { .. }
            | Event::HandleArrived(_)
            | Event::Reply { .. }
            | Event::HandleRefused(_) => {}
        }
    }

    fn query_server(&mut self, worker: WorkerId, seq: u64, query: &QueryServer) {
        let name = format!("node:{}", query.server_key());
        if name.len() + query.data().map_or(0, |data| data.get().len()) > LONGEST {
            let errno = -Errno::INVAL.raw_os_error();
            return self.order(worker, Order::NodeError { seq, data: None, errno });
        }
        let data = self
            .node
            .data
            .entry(name.clone())
            .or_insert_with(|| query.data().map(ToOwned::to_owned));
        let data = data.clone();
        let result = want(query).and_then(|want| {
            let name = name.clone();
            let ask = Ask { name, want, backlog: query.backlog(), by: Acquisition::NodeChannel };
            self.give(worker, &ask)
        });
        // Kept for those that listen: a worker that asks in vain for ever costs nothing.
        if result.is_err() && !self.is_bound(&name) {
            self.node.forget(&name);
        }
        let order = match result {
            Ok(Given::Socket { key, fd, datagram }) => {
                let kind = if datagram { HandleKind::Datagram } else { HandleKind::Stream };
                Order::NodeSeat { seq, key, data, kind, fd }
            }
            Ok(Given::HandedOver { key, address }) => {
                Order::NodeRoundRobin { seq, key, data, address }
            }
            Err(errno) => Order::NodeError { seq, data, errno: -errno.raw_os_error() },
        };
        self.order(worker, order);
    }

    /// The worker disconnects itself: it gets nothing new, and ends when it likes.
    pub(super) fn leaves_by_itself(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.exited_after_disconnect = true;
        }
        if let Err(error) = self.seats.drain(worker) {
            let error = std::io::Error::other(error);
            self.trouble(worker, "take a seat out of rotation", error);
        }
        self.leave_handing(worker);
    }
}

/// What a `listening` says, as Node's own primary passes it on.
fn listening_address(query: &QueryServer) -> Option<ListeningAddress> {
    Some(match query.address().ok()? {
        Address::Tcp { host, port, .. } => {
            let v6 = host.as_ref().is_some_and(|host| host.ip.is_ipv6());
            let kind = if v6 { AddressType::V6 } else { AddressType::V4 };
            ListeningAddress { address: host.map(named), port: Some(port), kind }
        }
        Address::Udp { host, port, v6, .. } => {
            let kind = if v6 { AddressType::Udp6 } else { AddressType::Udp4 };
            ListeningAddress { address: host.map(named), port, kind }
        }
        Address::Unix { path, .. } => {
            let address = Some(path.display().to_string());
            ListeningAddress { address, port: None, kind: AddressType::Path }
        }
        Address::Fd { .. } => return None,
    })
}

fn named(host: Host) -> String {
    match host.scope {
        Some(scope) => format!("{}%{scope}", host.ip),
        None => host.ip.to_string(),
    }
}

/// What Node's own primary would bind for it (`RoundRobinHandle` and `SharedHandle`).
fn want(query: &QueryServer) -> Result<Want, Errno> {
    Ok(match query.address().map_err(|_| Errno::INVAL)? {
        Address::Tcp { host, port, v6only } => {
            let addresses = addresses(host, port, true)?;
            Want::Inet { transport: Transport::Tcp, addresses, v6only }
        }
        Address::Udp { host: None, port: None, v6, .. } => Want::Unbound { v6 },
        Address::Udp { host, port, v6, flags } => {
            let addresses = addresses(host, port.unwrap_or(0), v6)?;
            Want::Inet { transport: Transport::Udp, addresses, v6only: flags.v6only }
        }
        Address::Unix { path, readable_all, writable_all } => {
            let add_mode = u32::from(readable_all) * 0o444 + u32::from(writable_all) * 0o222;
            Want::Path { path, add_mode }
        }
        Address::Fd { number, datagram: false } => Want::Declared(number),
        Address::Fd { .. } => return Err(Errno::INVAL),
    })
}

/// Without a host: `::` for both versions, and `0.0.0.0` where there is no IPv6.
fn addresses(host: Option<Host>, port: u16, v6: bool) -> Result<Vec<SocketAddr>, Errno> {
    let Some(host) = host else {
        let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        return Ok(if v6 { vec![any, v4] } else { vec![v4] });
    };
    Ok(vec![match host.ip {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope(host.scope.as_deref())?).into(),
    }])
}

/// `%eth0` or `%2` behind a link-local address.
fn scope(name: Option<&str>) -> Result<u32, Errno> {
    let Some(name) = name else { return Ok(0) };
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let any = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    rustix::net::netdevice::name_to_index(&any, name)
}
