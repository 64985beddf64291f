//! Sockets that go from one process to another with a message.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, sockopt},
};

/// A socket that can accompany a message. Nothing else can: Node aborts when it gets a file.
///
/// To keep it as well, `try_clone` it before.
#[derive(Debug)]
pub enum Descriptor {
    /// A TCP connection: Node's `net.Socket`.
    TcpStream(TcpStream),
    /// A TCP listener: Node's `net.Server`.
    TcpListener(TcpListener),
    /// A UNIX connection: Node's `net.Socket`.
    UnixStream(UnixStream),
    /// A UNIX listener: Node's `net.Server`.
    UnixListener(UnixListener),
    /// A datagram socket: Node's `dgram.Socket`.
    UdpSocket(UdpSocket),
}

impl Descriptor {
    /// Whether it speaks IPv6, by `getsockopt(2)` with `SO_DOMAIN`.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        sockopt::socket_domain(self).is_ok_and(|family| family == AddressFamily::INET6)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::TcpStream(socket) => socket.as_fd(),
            Self::TcpListener(socket) => socket.as_fd(),
            Self::UnixStream(socket) => socket.as_fd(),
            Self::UnixListener(socket) => socket.as_fd(),
            Self::UdpSocket(socket) => socket.as_fd(),
        }
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        match descriptor {
            Descriptor::TcpStream(socket) => socket.into(),
            Descriptor::TcpListener(socket) => socket.into(),
            Descriptor::UnixStream(socket) => socket.into(),
            Descriptor::UnixListener(socket) => socket.into(),
            Descriptor::UdpSocket(socket) => socket.into(),
        }
    }
}

/// The kernel is asked what it is: the other side may say anything.
impl TryFrom<OwnedFd> for Descriptor {
    /// It is given back if it is none of these.
    type Error = OwnedFd;

    fn try_from(fd: OwnedFd) -> Result<Self, OwnedFd> {
        Ok(match kind(&fd) {
            Ok((AddressFamily::UNIX, SocketType::STREAM, false)) => Self::UnixStream(fd.into()),
            Ok((AddressFamily::UNIX, SocketType::STREAM, true)) => Self::UnixListener(fd.into()),
            Ok((family, SocketType::STREAM, false)) if is_ip(family) => Self::TcpStream(fd.into()),
            Ok((family, SocketType::STREAM, true)) if is_ip(family) => Self::TcpListener(fd.into()),
            Ok((family, SocketType::DGRAM, _)) if is_ip(family) => Self::UdpSocket(fd.into()),
            Ok(_) | Err(_) => return Err(fd),
        })
    }
}

fn kind(fd: &OwnedFd) -> Result<(AddressFamily, SocketType, bool), Errno> {
    let listens = sockopt::socket_acceptconn(fd)?;
    Ok((sockopt::socket_domain(fd)?, sockopt::socket_type(fd)?, listens))
}

fn is_ip(family: AddressFamily) -> bool {
    family == AddressFamily::INET || family == AddressFamily::INET6
}

macro_rules! from {
    ($($socket:ident),+) => {
        $(impl From<$socket> for Descriptor {
            fn from(socket: $socket) -> Self {
                Self::$socket(socket)
            }
        })+
    };
}

from!(TcpStream, TcpListener, UnixStream, UnixListener, UdpSocket);

#[cfg(test)]
mod tests {
    use super::*;

    fn again(descriptor: impl Into<Descriptor>) -> Result<Descriptor, OwnedFd> {
        Descriptor::try_from(OwnedFd::from(descriptor.into()))
    }

    #[test]
    fn the_kernel_tells_what_arrived() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(again(stream), Ok(Descriptor::TcpStream(_))));
        assert!(matches!(again(listener), Ok(Descriptor::TcpListener(_))));
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(matches!(again(one), Ok(Descriptor::UnixStream(_))));
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let again = again(udp).unwrap();
        assert!(again.is_v6() && matches!(again, Descriptor::UdpSocket(_)));
    }

    #[test]
    fn what_is_no_such_socket_is_given_back() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(Descriptor::try_from(OwnedFd::from(reader)).is_err());
    }
}
