//! TCP and UDP sockets: `inet_diag_req_v2` and `inet_diag_msg` of `linux/inet_diag.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{
    Inode, SockDiagError,
    netlink::{attributes, dump, u32_at},
};

const MESSAGE: usize = 72;
const FAMILIES: [i32; 2] = [libc::AF_INET, libc::AF_INET6];
const INET_DIAG_SKV6ONLY: u16 = 11;
const LISTEN: u8 = 10;
/// What the kernel calls a UDP socket that is bound but not connected.
const CLOSE: u8 = 7;

/// Which of the two protocols with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Listening sockets have an accept queue.
    Tcp,
    /// A bound, unconnected socket stands for a listener.
    Udp,
}

/// A listening TCP socket, or a UDP socket that takes datagrams from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InetListener {
    /// Which protocol the port is of.
    pub transport: Transport,
    /// The local address, unspecified when it listens on all.
    pub address: SocketAddr,
    /// An IPv6 socket that leaves the IPv4 side of its port to others.
    pub v6only: bool,
    /// Its number in `/proc/PID/fd`.
    pub inode: Inode,
    /// `SO_COOKIE`: unlike the inode never given to another socket until the next boot.
    pub cookie: u64,
    /// The user that made it.
    pub uid: u32,
    /// TCP: connections established and not accepted yet. UDP: bytes not read yet.
    pub queue: u32,
    /// TCP: the queue's limit, `listen(2)`'s argument cut to `somaxconn`. UDP: bytes not sent yet.
    pub backlog: u32,
}

/// A TCP connection in any state but `TIME_WAIT`, which belongs to no process any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// How far it has come.
    pub state: TcpState,
    /// 0 while nobody has accepted it, and again when its process has closed it.
    pub inode: Inode,
    /// `SO_COOKIE`: unlike the inode never given to another socket until the next boot.
    pub cookie: u64,
    /// Bytes received that the process has not read.
    pub unread: u32,
    /// Bytes written that the peer has not acknowledged.
    pub unsent: u32,
}

/// The states of a TCP connection that has a peer; see [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// Both directions open.
    Established,
    /// We have asked.
    SynSent,
    /// The peer has asked; the handshake is not over.
    SynReceived,
    /// We have closed, the peer has not acknowledged it.
    FinWait1,
    /// We have closed, the peer has not.
    FinWait2,
    /// The peer has closed, we have not.
    CloseWait,
    /// Both have closed, the peer first; its acknowledgement is missing.
    LastAck,
    /// Both have closed at the same time.
    Closing,
}

impl TcpState {
    const ALL: [(u8, Self); 9] = [
        (1, Self::Established),
        (2, Self::SynSent),
        (3, Self::SynReceived),
        (4, Self::FinWait1),
        (5, Self::FinWait2),
        (8, Self::CloseWait),
        (9, Self::LastAck),
        (11, Self::Closing),
        // TCP_NEW_SYN_RECV: told as SYN_RECV by every kernel so far, but listed in the header.
        (12, Self::SynReceived),
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == number).map(|(_, state)| *state)
    }

    fn mask() -> u32 {
        Self::ALL.iter().fold(0, |mask, (number, _)| mask | 1 << number)
    }
}

/// Every listening TCP socket of this network namespace, or those on one `port`.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn tcp_listeners(port: Option<u16>) -> Result<Vec<InetListener>, SockDiagError> {
    listeners(Transport::Tcp, port)
}

/// Every bound, unconnected UDP socket of this network namespace, or those on one `port`.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn udp_listeners(port: Option<u16>) -> Result<Vec<InetListener>, SockDiagError> {
    listeners(Transport::Udp, port)
}

/// Every TCP connection of this network namespace, or those whose local port is `port`.
///
/// A connection that waits in an accept queue is among them, with inode 0.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn tcp_connections(port: Option<u16>) -> Result<Vec<TcpConnection>, SockDiagError> {
    let question = Question { transport: Transport::Tcp, states: TcpState::mask(), port };
    let mut found = Vec::new();
    question.ask(|message| {
        // Only the states asked for come back.
        if let Some(state) = TcpState::of(*message.get(1)?) {
            found.push(connection(message, state)?);
        }
        Some(())
    })?;
    Ok(found)
}

fn listeners(transport: Transport, port: Option<u16>) -> Result<Vec<InetListener>, SockDiagError> {
    let state = match transport {
        Transport::Tcp => LISTEN,
        Transport::Udp => CLOSE,
    };
    let mut found = Vec::new();
    Question { transport, states: 1 << state, port }.ask(|message| {
        found.push(listener(transport, message)?);
        Some(())
    })?;
    Ok(found)
}

struct Question {
    transport: Transport,
    states: u32,
    port: Option<u16>,
}

impl Question {
    /// Both families, one after the other: the kernel dumps one at a time.
    fn ask(&self, mut each: impl FnMut(&[u8]) -> Option<()>) -> Result<(), SockDiagError> {
        let what = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        };
        for family in FAMILIES {
            dump(what, &self.bytes(family), &mut each)?;
        }
        Ok(())
    }

    fn bytes(&self, family: i32) -> Vec<u8> {
        let protocol = match self.transport {
            Transport::Tcp => libc::IPPROTO_TCP,
            Transport::Udp => libc::IPPROTO_UDP,
        };
        let byte = |number: i32| u8::try_from(number).expect("the constants are below 256");
        let mut bytes = vec![byte(family), byte(protocol), 0, 0];
        bytes.extend(self.states.to_ne_bytes());
        bytes.extend(self.port.unwrap_or(0).to_be_bytes());
        // Peer's port, both addresses, interface: any.
        bytes.extend([0; 2 + 16 + 16 + 4]);
        // INET_DIAG_NOCOOKIE.
        bytes.extend([0xff; 8]);
        bytes
    }
}

fn listener(transport: Transport, message: &[u8]) -> Option<InetListener> {
    let (fixed, rest) = message.split_at_checked(MESSAGE)?;
    let v6only = attributes(rest).any(|(kind, value)| {
        kind == INET_DIAG_SKV6ONLY && value.first().is_some_and(|on| *on != 0)
    });
    Some(InetListener {
        transport,
        address: address(fixed, 4, 8)?,
        v6only,
        inode: Inode(u32_at(fixed, 68)?),
        cookie: cookie(fixed)?,
        uid: u32_at(fixed, 64)?,
        queue: u32_at(fixed, 56)?,
        backlog: u32_at(fixed, 60)?,
    })
}

fn connection(message: &[u8], state: TcpState) -> Option<TcpConnection> {
    let (fixed, _) = message.split_at_checked(MESSAGE)?;
    Some(TcpConnection {
        local: address(fixed, 4, 8)?,
        peer: address(fixed, 6, 24)?,
        state,
        inode: Inode(u32_at(fixed, 68)?),
        cookie: cookie(fixed)?,
        unread: u32_at(fixed, 56)?,
        unsent: u32_at(fixed, 60)?,
    })
}

fn address(fixed: &[u8], port_at: usize, ip_at: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*fixed.get(port_at..)?.first_chunk()?);
    if i32::from(*fixed.first()?) == libc::AF_INET {
        let ip = Ipv4Addr::from(*fixed.get(ip_at..)?.first_chunk::<4>()?);
        return Some(SocketAddr::new(IpAddr::V4(ip), port));
    }
    let ip = Ipv6Addr::from(*fixed.get(ip_at..)?.first_chunk::<16>()?);
    // Only a link-local address means nothing without its interface.
    let scope = if ip.is_unicast_link_local() { u32_at(fixed, 40)? } else { 0 };
    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
}

/// The two halves come low half first, whatever the machine's byte order.
fn cookie(fixed: &[u8]) -> Option<u64> {
    Some((u64::from(u32_at(fixed, 48)?) << 32) | u64::from(u32_at(fixed, 44)?))
}
