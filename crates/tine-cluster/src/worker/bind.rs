//! Listening without a primary.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::Options;

/// As much as the kernel's default for `net.core.somaxconn`, which caps it.
const BACKLOG: u32 = 4096;

pub(super) fn tcp(address: SocketAddr, options: Options) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, options.v6only)?;
    }
    bind(&socket, &address)?;
    let backlog = options.backlog.unwrap_or(BACKLOG);
    listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

pub(super) fn udp(address: SocketAddr, options: Options) -> io::Result<UdpSocket> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, options.v6only)?;
    }
    bind(&socket, &address)?;
    Ok(socket.into())
}
