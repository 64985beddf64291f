//! The dumps against real sockets of this process, on ports that the kernel chose.

use std::{
    collections::HashSet,
    io::Write,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrV6, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
    sockopt::{set_ipv6_v6only, socket_cookie},
};
use tine_linux::sock_diag::{
    Holder, InetListener, Inode, TcpState, Transport, UnixName, holders_of, inodes_of,
    tcp_connections, tcp_listeners, udp_listeners, unix_listeners, who_listens, who_listens_at,
};

fn inode(of: impl AsFd) -> Inode {
    let stat = rustix::fs::fstat(of).expect("a live socket with a 32-bit inode");
    Inode(stat.st_ino.try_into().expect("a live socket with a 32-bit inode"))
}

/// The one that is `socket`: another test may have got the same port on another address.
fn only(listeners: Vec<InetListener>, socket: impl AsFd) -> InetListener {
    let wanted = inode(socket);
    let mut found = listeners.into_iter().filter(|listener| listener.inode == wanted);
    let listener = found.next().expect("the socket is in the list");
    assert_eq!(found.next(), None);
    listener
}

/// What `ask` says once `enough` is content with it: the kernel takes a moment for some news.
fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, enough: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let said = ask();
        if enough(&said) {
            return said;
        }
        assert!(Instant::now() < deadline, "still {said:?}");
        std::thread::yield_now();
    }
}

fn own_holder(holders: &[Holder]) -> &Holder {
    let [holder] = holders else { panic!("one holder, not {holders:?}") };
    holder
}

#[test]
fn a_tcp_listener_is_told_with_its_address_and_names() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let found = only(tcp_listeners(Some(address.port())).unwrap(), &server);
    assert_eq!(found.transport, Transport::Tcp);
    assert_eq!(found.address, address);
    assert_eq!(found.inode, inode(&server));
    assert_eq!(found.cookie, socket_cookie(&server).unwrap());
    assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    assert_eq!(found.queue, 0);
    assert!(found.backlog > 0);
    assert!(tcp_listeners(None).unwrap().contains(&found));
}

#[test]
fn connections_that_nobody_accepts_are_counted() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let queue = || only(tcp_listeners(Some(address.port())).unwrap(), &server).queue;
    let _first = TcpStream::connect(address).unwrap();
    assert_eq!(until(queue, |length| *length > 0), 1);
    let _second = TcpStream::connect(address).unwrap();
    assert_eq!(until(queue, |length| *length > 1), 2);
    drop(server.accept().unwrap());
    assert_eq!(until(queue, |length| *length < 2), 1);
}

#[test]
fn a_v6only_listener_is_told_apart_from_a_dual_one() {
    for v6only in [true, false] {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None).unwrap();
        set_ipv6_v6only(&socket, v6only).unwrap();
        bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)).unwrap();
        listen(&socket, 7).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        let found = only(tcp_listeners(Some(address.port())).unwrap(), &socket);
        assert_eq!((found.address, found.v6only, found.backlog), (address, v6only, 7));
    }
}

#[test]
fn a_bound_udp_socket_is_told_and_a_connected_one_is_not() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.send(b"not read").unwrap();
    let ask = || only(udp_listeners(Some(address.port())).unwrap(), &server);
    let found = until(ask, |found| found.queue > 0);
    assert_eq!((found.address, found.inode), (address, inode(&server)));
    let client_port = client.local_addr().unwrap().port();
    let listening = udp_listeners(Some(client_port)).unwrap();
    assert!(listening.iter().all(|found| found.inode != inode(&client)));
}

#[test]
fn an_accepted_connection_has_an_inode_and_a_queued_one_has_none() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"unread").unwrap();
    let ask = || tcp_connections(Some(address.port())).unwrap();
    let queued = until(ask, |found| found.len() == 1 && found[0].unread == 6);
    assert_eq!(queued[0].inode, Inode(0));
    let (connection, peer) = server.accept().unwrap();
    let [found] = ask().try_into().unwrap();
    assert_eq!((found.local, found.peer), (address, peer));
    assert_eq!((found.inode, found.state), (inode(&connection), TcpState::Established));
    drop(client);
    until(ask, |found| found.len() == 1 && found[0].state == TcpState::CloseWait);
}

#[test]
fn a_unix_listener_is_told_with_its_queue() {
    let path = std::env::temp_dir().join(format!("tine-sock-diag-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let server = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let all = unix_listeners().unwrap();
    let found = all.iter().find(|found| found.inode == inode(&server)).unwrap();
    assert_eq!(found.name, UnixName::Path(path.clone()));
    assert_eq!((found.queue, found.waiting.len()), (1, 1));
    assert_eq!(found.name.to_string(), path.display().to_string());
    let holders = who_listens_at(&path).unwrap();
    assert_eq!(own_holder(&holders).inode, inode(&server));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_abstract_unix_name_is_told_without_its_zero_byte() {
    let name = format!("tine-sock-diag-{}", std::process::id());
    let server = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    let all = unix_listeners().unwrap();
    let found = all.iter().find(|found| found.inode == inode(&server)).unwrap();
    assert_eq!(found.name, UnixName::Abstract(name.clone().into_bytes()));
    assert_eq!(found.name.to_string(), format!("@{name}"));
}

#[test]
fn the_holder_of_a_port_is_this_process_with_its_name() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let holders = who_listens(Transport::Tcp, address).unwrap();
    let holder = own_holder(&holders);
    let process = holder.process.as_ref().unwrap();
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    assert_eq!(process.pid, rustix::process::getpid());
    assert_eq!(process.name, comm.trim());
    assert_eq!(holder.to_string(), format!("{} (pid {})", comm.trim(), std::process::id()));
    let others = who_listens(Transport::Udp, address).unwrap();
    assert!(others.iter().all(|other| other.inode != holder.inode));
}

#[test]
fn the_sockets_of_one_process_are_its_own() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let me = rustix::process::getpid();
    assert!(inodes_of(me).unwrap().contains(&inode(&server)));
    let held = holders_of(&HashSet::from([inode(&server)]));
    assert_eq!(held[&inode(&server)][0].pid, me);
    let gone = inode(&server);
    drop(server);
    assert_eq!(holders_of(&HashSet::from([gone])).get(&gone), None);
}
