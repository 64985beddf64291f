//! Ports that no other test has.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::spawn;

/// Below the ports that the kernel gives to clients (32768 on), one of which would be taken by the
/// time it is used.
const PORTS: Range<u16> = 20_000..32_000;

/// A free TCP port on the loopback address that no other call gets, in this process or another,
/// until this process ends.
#[must_use]
pub fn free_port() -> u16 {
    // Processes begin at different places, so that they rarely ask for the same port.
    let start = usize::try_from(process::id()).expect("a pid fits") * 101 % PORTS.len();
    let mut ports = PORTS.skip(start).chain(PORTS.take(start));
    ports.find(|port| claim(*port) && is_free(*port)).expect("one of thousands of ports is free")
}

/// Without `SO_REUSEADDR`, which std sets: a connection of an earlier test that is in `TIME_WAIT` would
/// keep the port from a program that does not set it either.
fn is_free(port: u16) -> bool {
    let v4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let v6 = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
    spawn::alone(|| {
        may_bind(AddressFamily::INET, &v4) && (!has_ipv6() || may_bind(AddressFamily::INET6, &v6))
    })
}

fn may_bind(family: AddressFamily, address: &impl SocketAddrArg) -> bool {
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    socket.is_ok_and(|socket| bind(&socket, address).is_ok())
}

fn has_ipv6() -> bool {
    may_bind(AddressFamily::INET6, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0))
}

/// Takes the port's name among the abstract sockets: the kernel gives it to one process, and takes
/// it back when that process ends, however it ends.
fn claim(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("tine-test-port-{port}"))
        .expect("the name is short and has no NUL");
    // Kept open on purpose, until the process ends.
    UnixListener::bind_addr(&name).map(mem::forget).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_port_with_a_connection_is_not_free() {
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            if ip.is_ipv6() && !has_ipv6() {
                continue;
            }
            let listener = TcpListener::bind((ip, free_port())).unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).unwrap();
            let accepted = listener.accept().unwrap();
            drop(listener);
            // In `TIME_WAIT` it would be the same, but that is kept only while there are not too many.
            assert!(!is_free(address.port()), "{ip}");
            drop((accepted, client));
        }
    }

    #[test]
    fn a_claimed_port_stays_claimed() {
        assert!(!claim(free_port()));
    }
}
