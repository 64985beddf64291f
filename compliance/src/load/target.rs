//! Where a load goes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with,
};

/// So many clients, where there are to be several.
const CLIENTS: u8 = 64;

/// Whom the load asks, and from where.
#[derive(Clone, Debug)]
pub enum Target {
    /// This port of 127.0.0.1.
    V4(u16),
    /// Likewise, by clients with 64 addresses in turn: a server that looks at who asks sees them differ.
    Several(u16),
    /// This port of `::1`.
    V6(u16),
    /// The socket at this path.
    Unix(PathBuf),
}

impl From<u16> for Target {
    fn from(port: u16) -> Self {
        Self::V4(port)
    }
}

impl Target {
    /// Begins to connect, as the client of that number's request.
    pub(super) fn connect(&self, number: u64) -> io::Result<OwnedFd> {
        match self {
            Self::V4(port) => {
                let socket = socket(AddressFamily::INET)?;
                begin(socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port))
            }
            Self::Several(port) => {
                let socket = socket(AddressFamily::INET)?;
                bind(&socket, &SocketAddrV4::new(client(number), 0))?;
                begin(socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port))
            }
            Self::V6(port) => {
                let socket = socket(AddressFamily::INET6)?;
                begin(socket, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, *port, 0, 0))
            }
            Self::Unix(path) => {
                begin(socket(AddressFamily::UNIX)?, &SocketAddrUnix::new(path.as_path())?)
            }
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        !matches!(self, Self::Unix(_))
    }
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn begin(socket: OwnedFd, address: &impl SocketAddrArg) -> io::Result<OwnedFd> {
    match connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// All of 127.0.0.0/8 is this machine.
fn client(number: u64) -> Ipv4Addr {
    let number = u8::try_from(number % u64::from(CLIENTS)).expect("less than 64");
    Ipv4Addr::new(127, 0, 0, 1 + number)
}
