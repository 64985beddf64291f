//! A SO_REUSEPORT group on a free loopback port, with its balancer.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tine_linux::balance::{Balance, BalanceError, Balancer, KernelOffsets, Slot};

const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// True, and said, where the test cannot run. The word at the start of the line is counted.
pub(crate) fn needs_root() -> bool {
    let missing = !rustix::process::geteuid().is_root();
    if missing {
        println!("SKIP: needs root");
    }
    missing
}

pub(crate) fn offsets() -> KernelOffsets {
    KernelOffsets::read().expect("the kernel tells its types")
}

pub(crate) fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

pub(crate) fn slots(numbers: impl IntoIterator<Item = u32>) -> Vec<Slot> {
    numbers.into_iter().map(slot).collect()
}

/// How often each of `seats` occurs.
pub(crate) fn turns(order: &[usize], seats: usize) -> Vec<usize> {
    (0..seats).map(|seat| order.iter().filter(|one| **one == seat).count()).collect()
}

pub(crate) fn v4(address: SocketAddr) -> Ipv4Addr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => panic!("{ip} is not IPv4"),
    }
}

pub(crate) fn allow_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

pub(crate) fn listen(address: SocketAddr) -> TcpListener {
    let socket = stream(address);
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 1024).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    listener
}

fn stream(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

pub(crate) struct Group {
    pub(crate) balancer: Balancer,
    /// `None` once closed. The seat's number is its slot.
    listeners: Vec<Option<TcpListener>>,
    address: SocketAddr,
}

impl Group {
    /// `seats` listening sockets in their slots, none in rotation yet.
    pub(crate) fn new(
        address: &str,
        seats: usize,
        policy: Balance,
        offsets: Option<&KernelOffsets>,
    ) -> Self {
        let first = listen(address.parse().unwrap());
        let address = first.local_addr().unwrap();
        let mut listeners = vec![Some(first)];
        listeners.extend((1..seats).map(|_| Some(listen(address))));
        let mut group =
            Self { balancer: Balancer::load(policy, offsets).unwrap(), listeners, address };
        group.balancer.attach(group.listener(0)).unwrap();
        group.place_all_when_free();
        group
    }

    pub(crate) fn listener(&self, seat: usize) -> TcpListener {
        self.listeners[seat].as_ref().unwrap().try_clone().unwrap()
    }

    /// Asks again while the kernel still frees the tables of an earlier balancer.
    pub(crate) fn place_all_when_free(&mut self) {
        let start = Instant::now();
        for (number, listener) in (0..).zip(&self.listeners) {
            let listener = listener.as_ref().unwrap();
            loop {
                match self.balancer.place(slot(number), listener) {
                    Ok(()) => break,
                    Err(BalanceError::AlreadyPlaced(_)) => std::thread::yield_now(),
                    Err(other) => panic!("{other:?}"),
                }
                assert!(start.elapsed() < Duration::from_secs(10), "never freed");
            }
        }
    }

    pub(crate) fn close(&mut self, seat: usize) {
        self.listeners[seat] = None;
    }

    pub(crate) fn rotate(&mut self, seats: &[usize]) {
        let seats = slots(seats.iter().map(|seat| u32::try_from(*seat).unwrap()));
        self.balancer.set_rotation(&seats).unwrap();
    }

    pub(crate) fn answer_one_of(&self, seats: &[usize]) {
        self.accept_of(seats).1.write_all(b"!").unwrap();
    }

    /// Closes a seat and puts a new socket into its slot.
    pub(crate) fn replace(&mut self, seat: usize) {
        self.listeners[seat] = None;
        let listener = listen(self.address);
        self.balancer.place(slot(u32::try_from(seat).unwrap()), &listener).unwrap();
        self.listeners[seat] = Some(listener);
    }

    /// A thread that connects `times` times and wants a byte each time; its end tells.
    pub(crate) fn spawn_client(&self, times: usize) -> JoinHandle<()> {
        let address = self.address;
        std::thread::spawn(move || {
            for _ in 0..times {
                let mut client = TcpStream::connect(address).expect("connects");
                client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                client.read_exact(&mut [0]).expect("is answered");
            }
        })
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// From an address of 127.0.0.0/8 to this group, over IPv4.
    pub(crate) fn connect_from(&self, from: Ipv4Addr) -> TcpStream {
        let socket = stream(SocketAddr::from((from, 0)));
        bind(&socket, &SocketAddr::from((from, 0))).unwrap();
        connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, self.address.port()))).unwrap();
        TcpStream::from(socket)
    }

    /// Connects, and accepts where the connection went: which seat that was.
    pub(crate) fn serve_one(&self) -> usize {
        let _client = self.connect();
        self.accept_any().0
    }

    pub(crate) fn serve_from(&self, from: Ipv4Addr) -> usize {
        let _client = self.connect_from(from);
        self.accept_any().0
    }

    /// The next connection at `seat`, which is on its way.
    pub(crate) fn accept(&self, seat: usize) -> TcpStream {
        self.accept_of(&[seat]).1
    }

    pub(crate) fn accept_any(&self) -> (usize, TcpStream) {
        let open = self.listeners.iter().enumerate().filter(|(_, listener)| listener.is_some());
        let open: Vec<usize> = open.map(|(seat, _)| seat).collect();
        self.accept_of(&open)
    }

    /// The first connection that waits at one of `seats`.
    pub(crate) fn accept_of(&self, seats: &[usize]) -> (usize, TcpStream) {
        let listeners = seats.iter().map(|seat| self.listeners[*seat].as_ref().unwrap());
        let mut polled: Vec<PollFd<'_>> =
            listeners.map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        assert!(poll(&mut polled, Some(&PATIENCE)).unwrap() > 0, "no connection in ten seconds");
        let ready = polled.iter().position(|one| !one.revents().is_empty()).unwrap();
        let seat = seats[ready];
        let (connection, _) = self.listeners[seat].as_ref().unwrap().accept().unwrap();
        (seat, connection)
    }

    pub(crate) fn taken(&self) -> Vec<u64> {
        let seats: Vec<usize> = (0..self.listeners.len()).collect();
        seats.iter().map(|seat| self.taken_of(&[*seat])).collect()
    }

    /// Together.
    pub(crate) fn taken_of(&self, seats: &[usize]) -> u64 {
        let numbers = seats.iter().map(|seat| u32::try_from(*seat).unwrap());
        numbers.map(|number| self.balancer.taken(slot(number)).unwrap()).sum()
    }
}
