//! The order that [`tine_cluster::core::order`] keeps is the kernel's: tried on real groups of sockets
//! that join and leave in any order.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use tine_cluster::{core::order::Order, id::SeatId};
use tine_linux::reuseport::{self, Draw};

/// A reproducible stream of numbers (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A group on a port of its own, and the model of it.
struct Group {
    address: SocketAddr,
    sockets: BTreeMap<SeatId, TcpListener>,
    order: Order,
    next: u32,
}

impl Group {
    fn new() -> Self {
        let first = member("127.0.0.1:0".parse().unwrap());
        let address = first.local_addr().unwrap();
        let mut group =
            Self { address, sockets: BTreeMap::new(), order: Order::default(), next: 0 };
        group.add(first);
        group
    }

    fn add(&mut self, socket: TcpListener) {
        let seat = SeatId(self.next);
        self.next += 1;
        self.order.joined(seat);
        self.sockets.insert(seat, socket);
    }

    fn join(&mut self) {
        self.add(member(self.address));
    }

    fn leave(&mut self, index: usize) {
        let seat = *self.sockets.keys().nth(index).unwrap();
        self.sockets.remove(&seat);
        self.order.left(seat);
    }

    /// Every seat is reached by the index that the model says.
    fn check(&self) {
        for (seat, socket) in &self.sockets {
            let index = self.order.index(*seat).unwrap();
            let program = reuseport::program(Draw::Random, &[index]).unwrap();
            reuseport::attach(socket, &program).unwrap();
            let client = TcpStream::connect(self.address).unwrap();
            // Non-blocking: a connection that went elsewhere is an error, not a hang.
            let (_, peer) = socket.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }
}

fn member(address: SocketAddr) -> TcpListener {
    let fd: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseport(&fd, true).unwrap();
    sockopt::set_socket_reuseaddr(&fd, true).unwrap();
    bind(&fd, &address).unwrap();
    listen(&fd, 64).unwrap();
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn seats_that_join_and_leave_in_any_order_are_found_where_the_model_says() {
    for seed in 1..=8 {
        let (mut dice, mut group) = (Dice(seed), Group::new());
        for _ in 0..24 {
            let count = group.sockets.len();
            if count == 1 || (count < 9 && dice.below(2) == 0) {
                group.join();
            } else {
                group.leave(dice.below(count));
            }
            group.check();
        }
    }
}

#[test]
fn listening_again_moves_nothing() {
    let mut group = Group::new();
    group.join();
    group.join();
    let seat = *group.sockets.keys().next().unwrap();
    listen(&group.sockets[&seat], 128).unwrap();
    group.order.joined(seat);
    group.check();
}
