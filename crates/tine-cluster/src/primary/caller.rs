//! The process whose `bind` or `listen` was trapped, and the socket that it means.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
    process::Pid,
};
use tine_linux::{
    foreign::{self, FdFlags},
    process::Process,
    socket,
};

use super::reach::{Sight, is_forbidden};
use crate::address::Transport;

/// Who called.
#[derive(Debug)]
pub(super) struct Caller {
    /// Its process: the thread's leader.
    pub(super) process: Process,
    /// The thread itself, whose credentials count.
    pub(super) thread: Pid,
    /// Its number for the socket.
    pub(super) number: i32,
}

/// What it calls about.
#[derive(Debug)]
pub(super) struct CallersSocket {
    /// A duplicate of it, where that may be had; otherwise a new one must be put in its place.
    pub(super) own: Option<OwnedFd>,
    /// The kind.
    pub(super) transport: Transport,
    /// The address family that it was made for.
    pub(super) family: AddressFamily,
    /// Its flags.
    pub(super) flags: FdFlags,
    /// Its inode.
    pub(super) inode: u64,
    /// `IPV6_V6ONLY`, where the socket itself tells.
    pub(super) v6only: Option<bool>,
    /// What the program itself had set.
    pub(super) options: Options,
}

/// The options by which a program lets others have its address too; not set where they cannot be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `SO_REUSEADDR`.
    pub(super) reuseaddr: bool,
    /// `SO_REUSEPORT`.
    pub(super) reuseport: bool,
}

/// An address as a program laid it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawAddress {
    /// Of the internet.
    Inet(SocketAddr),
    /// A path, relative to the program's directory or absolute.
    Path(Vec<u8>),
    /// A name in the abstract namespace.
    Abstract(Vec<u8>),
    /// Anything else: not ours.
    Other,
}

/// `CAP_NET_BIND_SERVICE` of capabilities(7).
const NET_BIND_SERVICE: u32 = 10;

/// What lies at that place of a caller's memory.
pub(super) fn memory(sight: &Sight, thread: Pid, at: u64, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    sight.read_memory(thread, at, &mut bytes)?;
    Ok(bytes)
}

/// The inode of the socket that a caller means; `None` when it is no socket. Costs no descriptor.
pub(super) fn inode(thread: Pid, number: i32) -> io::Result<Option<u64>> {
    foreign::socket_inode(thread, number)
}

/// Who calls, and the socket that it means; `None` when that is not one that tine shares.
pub(super) fn look(
    sight: &Sight,
    thread: Pid,
    number: i32,
) -> io::Result<(Caller, Option<CallersSocket>)> {
    let caller = Caller { process: foreign::process_of_thread(thread)?, thread, number };
    let socket = caller.socket(sight)?;
    Ok((caller, socket))
}

impl Caller {
    /// Whether the caller itself might bind this port: the manager may have more rights than a program
    /// that became another user.
    pub(super) fn may_bind(&self, port: u16) -> bool {
        let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        let first_free = first_free.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
        let is_able = || foreign::has_capability(self.thread, NET_BIND_SERVICE).unwrap_or(true);
        port >= first_free || is_able()
    }

    /// The socket that it means; `None` when it is not one that tine shares.
    fn socket(&self, sight: &Sight) -> io::Result<Option<CallersSocket>> {
        let Some(inode) = inode(self.thread, self.number)? else { return Ok(None) };
        let flags = foreign::fd_flags(self.process.pid(), self.number)?;
        match sight.duplicate(&self.process, self.number) {
            Ok(own) => look_at(own, inode, flags),
            Err(error) if is_forbidden(&error) => self.describe(inode, flags),
            Err(error) => Err(error),
        }
    }

    /// What `/proc` tells where the socket itself is out of reach.
    fn describe(&self, inode: u64, flags: FdFlags) -> io::Result<Option<CallersSocket>> {
        let protocol = foreign::socket_protocol(self.process.pid(), self.number)?;
        let (transport, family) = match (protocol_named(&protocol), protocol.as_str()) {
            (Some(known), _) => known,
            (None, "UNIX") => match foreign::unix_socket_type(self.process.pid(), inode)? {
                Some(SocketType::STREAM) => (Transport::UnixStream, AddressFamily::UNIX),
                Some(SocketType::DGRAM) => (Transport::UnixDatagram, AddressFamily::UNIX),
                Some(SocketType::SEQPACKET) => (Transport::UnixSeqPacket, AddressFamily::UNIX),
                _ => return Ok(None),
            },
            (None, _) => return Ok(None),
        };
        let (own, v6only, options) = (None, None, Options::default());
        Ok(Some(CallersSocket { own, transport, family, flags, inode, v6only, options }))
    }
}

/// What the kernel calls a protocol in `/proc`, where that says it all.
pub(super) fn protocol_named(name: &str) -> Option<(Transport, AddressFamily)> {
    Some(match name {
        "TCP" | "MPTCP" => (Transport::Tcp, AddressFamily::INET),
        "TCPv6" | "MPTCPv6" => (Transport::Tcp, AddressFamily::INET6),
        "UDP" => (Transport::Udp, AddressFamily::INET),
        "UDPv6" => (Transport::Udp, AddressFamily::INET6),
        // Linux 5.15 tells streams apart, and nothing else.
        "UNIX-STREAM" => (Transport::UnixStream, AddressFamily::UNIX),
        _ => return None,
    })
}

/// `IPPROTO_MPTCP`: its groups cannot be steered by eBPF, and a plain TCP socket in its place serves
/// every client as well (RFC 8684 §3.7: fall back).
const MPTCP: u32 = 262;

fn look_at(own: OwnedFd, inode: u64, flags: FdFlags) -> io::Result<Option<CallersSocket>> {
    let family = sockopt::socket_domain(&own)?;
    let kind = sockopt::socket_type(&own)?;
    let protocol = sockopt::socket_protocol(&own)?.map_or(0, |protocol| protocol.as_raw().get());
    let is_inet = matches!(family, AddressFamily::INET | AddressFamily::INET6);
    let transport = match (kind, protocol) {
        (SocketType::STREAM, 6 | MPTCP) if is_inet => Transport::Tcp,
        (SocketType::DGRAM, 17) if is_inet => Transport::Udp,
        (SocketType::STREAM, _) if family == AddressFamily::UNIX => Transport::UnixStream,
        (SocketType::SEQPACKET, _) if family == AddressFamily::UNIX => Transport::UnixSeqPacket,
        (SocketType::DGRAM, _) if family == AddressFamily::UNIX => Transport::UnixDatagram,
        _ => return Ok(None),
    };
    if is_inet && !is_here(&own)? {
        return Ok(None);
    }
    let v6only =
        if family == AddressFamily::INET6 { sockopt::ipv6_v6only(&own).ok() } else { None };
    let options = Options {
        reuseaddr: sockopt::socket_reuseaddr(&own)?,
        reuseport: is_inet && sockopt::socket_reuseport(&own)?,
    };
    let own = (protocol != MPTCP).then_some(own);
    Ok(Some(CallersSocket { own, transport, family, flags, inode, v6only, options }))
}

/// Whether the socket lives in this process's network namespace. A program that made a namespace of
/// its own has its own ports there.
fn is_here(theirs: &OwnedFd) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let ours = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    let cookie = |fd: &OwnedFd| socket::network_namespace(fd.as_fd()).ok();
    // Before Linux 5.14 nobody tells; then it is taken for the common case.
    Ok(cookie(theirs) == cookie(&ours))
}

impl CallersSocket {
    /// Whether the socket has a name already, as far as can be seen.
    pub(super) fn is_bound(&self) -> bool {
        let name = self.own.as_ref().and_then(|own| rustix::net::getsockname(own).ok());
        let Some(name) = name else { return false };
        if let Ok(address) = SocketAddr::try_from(name.clone()) {
            return address.port() != 0;
        }
        // rustix gives a socket without a name an empty one.
        let is_named = |name: Option<&[u8]>| name.is_some_and(|name| !name.is_empty());
        SocketAddrUnix::try_from(name)
            .is_ok_and(|name| is_named(name.path_bytes()) || is_named(name.abstract_name()))
    }

    /// A new socket of the same kind, non-blocking if the program's was.
    pub(super) fn another(&self) -> io::Result<OwnedFd> {
        let kind = match self.transport {
            Transport::Tcp | Transport::UnixStream => SocketType::STREAM,
            Transport::Udp | Transport::UnixDatagram => SocketType::DGRAM,
            Transport::UnixSeqPacket => SocketType::SEQPACKET,
        };
        let mut flags = SocketFlags::CLOEXEC;
        flags.set(SocketFlags::NONBLOCK, self.flags.non_blocking);
        Ok(rustix::net::socket_with(self.family, kind, flags, None)?)
    }
}

impl RawAddress {
    /// Of which sockets it is an address.
    pub(super) const fn family(&self) -> Option<AddressFamily> {
        match self {
            Self::Inet(SocketAddr::V4(_)) => Some(AddressFamily::INET),
            Self::Inet(SocketAddr::V6(_)) => Some(AddressFamily::INET6),
            Self::Path(_) | Self::Abstract(_) => Some(AddressFamily::UNIX),
            Self::Other => None,
        }
    }

    /// Reads `struct sockaddr`. What is too short for its family is left to the kernel to refuse.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return Self::Other };
        match i32::from(u16::from_ne_bytes(*family)) {
            2 => inet4(rest).map_or(Self::Other, Self::Inet),
            10 => inet6(rest).map_or(Self::Other, Self::Inet),
            1 => unix(rest),
            _ => Self::Other,
        }
    }
}

/// `ip(7)`: the kernel wants 16 bytes, of which the last eight mean nothing.
fn inet4(rest: &[u8]) -> Option<SocketAddr> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (ip, rest) = rest.split_first_chunk::<4>()?;
    let ip = Ipv4Addr::from(*ip);
    (rest.len() >= 8).then(|| SocketAddrV4::new(ip, u16::from_be_bytes(*port)).into())
}

/// `ipv6(7)`: the scope may be missing (RFC 2133).
fn inet6(rest: &[u8]) -> Option<SocketAddr> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (flow, rest) = rest.split_first_chunk::<4>()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let scope = rest.first_chunk::<4>().map_or(0, |scope| u32::from_ne_bytes(*scope));
    let (ip, port) = (Ipv6Addr::from(*ip), u16::from_be_bytes(*port));
    Some(SocketAddrV6::new(ip, port, u32::from_be_bytes(*flow), scope).into())
}

/// `unix(7)`: a path ends at the first zero byte or at the end; a leading zero byte makes a name.
fn unix(rest: &[u8]) -> RawAddress {
    match rest.split_first() {
        None => RawAddress::Other,
        Some((0, name)) => RawAddress::Abstract(name.to_vec()),
        Some(_) => {
            let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
            RawAddress::Path(rest[..end].to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(family: u16, rest: &[u8]) -> RawAddress {
        RawAddress::read(&[&family.to_ne_bytes(), rest].concat())
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let v4 = raw(2, &[0x1f, 0x43, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(v4, RawAddress::Inet("127.0.0.1:8003".parse().unwrap()));
        let mut v6 = vec![0, 80, 0, 0, 0, 0];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(raw(10, &v6), RawAddress::Inet("[::1]:80".parse().unwrap()));
        assert_eq!(raw(1, b"a/b.sock\0junk"), RawAddress::Path(b"a/b.sock".to_vec()));
        assert_eq!(raw(1, b"\0name"), RawAddress::Abstract(b"name".to_vec()));
    }

    #[test]
    fn what_is_short_or_strange_is_left_to_the_kernel() {
        for (family, rest) in [(2, &b"\x1f\x43\x7f"[..]), (10, &[0; 20]), (16, &[0; 10]), (1, b"")]
        {
            assert_eq!(raw(family, rest), RawAddress::Other);
        }
        assert_eq!(RawAddress::read(&[1]), RawAddress::Other);
    }
}
