//! Whether an address is free, asked the kernel before the first worker of an app binds it.
//!
//! Sockets of a group set `SO_REUSEPORT`, and the kernel then lets in any other process of the same
//! user that sets it too: half of the connections would go there, silently. So the address is first
//! bound to a scratch socket without that option; what the kernel says to it is what it would have
//! said to the program.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
};

use crate::address::Transport;

/// Asks whether `address` may be bound by somebody new.
pub(super) fn is_free(
    transport: Transport,
    address: SocketAddr,
    v6only: bool,
) -> Result<(), Errno> {
    let scratch = socket(transport, address, v6only).map_err(errno)?;
    rustix::net::bind(&scratch, &address)?;
    Ok(())
}

/// A socket of this kind for this address, with the options that do no harm: `SO_REUSEADDR`, so that
/// connections of the past (`TIME_WAIT`) do not count, and `IPV6_V6ONLY` as asked.
pub(super) fn socket(
    transport: Transport,
    address: SocketAddr,
    v6only: bool,
) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Udp => SocketType::DGRAM,
        Transport::Tcp
        | Transport::UnixStream
        | Transport::UnixSeqPacket
        | Transport::UnixDatagram => SocketType::STREAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    reuse_address(&socket, transport)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, v6only)?;
    }
    Ok(socket)
}

/// For UDP the option means something else: that others may take the port over (socket(7)).
pub(super) fn reuse_address(socket: impl AsFd, transport: Transport) -> io::Result<()> {
    if transport == Transport::Tcp {
        sockopt::set_socket_reuseaddr(socket, true)?;
    }
    Ok(())
}

/// What the kernel said; I/O errors that are no errno do not come from the kernel.
#[expect(clippy::needless_pass_by_value, reason = "it ends here: the shape that `map_err` wants")]
pub(super) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
