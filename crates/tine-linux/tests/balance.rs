//! The balancer against the running kernel: each connection is made, and accepted where it went,
//! before the next, unless a test wants a queue.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "balance/group.rs"]
mod group;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use group::{Group, needs_root, offsets, slot, slots, turns};
use rustix::thread::{CapabilitySet, CapabilitySets};
use tine_linux::balance::{Balance, BalanceError, Balancer, KernelOffsets, Slot};

#[test]
fn idle_seats_are_served_exactly_in_turn() {
    if needs_root() {
        return;
    }
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut group = Group::new(address, 3, Balance::RoundRobin, Some(&offsets()));
        assert!(group.balancer.is_queue_aware());
        group.balancer.set_rotation(&slots(0..3)).unwrap();
        let order: Vec<usize> = (0..3000).map(|_| group.serve_one()).collect();
        assert!(order.windows(4).all(|run| run[0] == run[3] && run[0] != run[1]), "{address}");
        assert_eq!(group.taken(), [1000, 1000, 1000], "{address}");
    }
}

#[test]
fn without_kernel_types_turns_are_strict() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 4, Balance::RoundRobin, None);
    assert!(!group.balancer.is_queue_aware());
    group.balancer.set_rotation(&slots(0..4)).unwrap();
    let _waiting: Vec<TcpStream> = (0..400).map(|_| group.connect()).collect();
    assert_eq!(group.taken(), [100, 100, 100, 100]);
}

#[test]
fn a_blocked_seat_gets_next_to_nothing_and_the_others_the_same() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 4, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..4)).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2000 {
        let before = group.taken()[2];
        let client = group.connect();
        if group.taken()[2] == before {
            group.accept_of(&[0, 1, 3]);
        } else {
            waiting.push(client);
        }
    }
    let taken = group.taken();
    assert!(taken[2] <= 8, "{taken:?}");
    for seat in [0, 1, 3] {
        assert!(taken[seat].abs_diff(666) <= 13, "within two percent: {taken:?}");
    }
}

#[test]
fn where_all_have_a_queue_one_that_stands_still_gets_no_more() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 2, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..2)).unwrap();
    let mut clients: Vec<TcpStream> = (0..20).map(|_| group.connect()).collect();
    assert_eq!(group.taken(), [10, 10]);
    // Seat 0 accepts one for each that comes, so its queue never empties; seat 1 none. The
    // program learns who stands still from connections alone.
    let mut step = |group: &Group| {
        clients.push(group.connect());
        group.accept(0)
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        step(&group);
    }
    // Now seat 1 has much the shorter queue.
    group.balancer.set_rotation(&slots([0])).unwrap();
    let _more: Vec<TcpStream> = (0..200).map(|_| group.connect()).collect();
    group.balancer.set_rotation(&slots(0..2)).unwrap();
    let before = group.taken()[1];
    (0..100).for_each(|_| _ = step(&group));
    let gained = group.taken()[1] - before;
    assert!(gained <= 5, "seat 1 stands still and got {gained} of 100");
}

#[test]
fn a_seat_out_of_rotation_gets_none_until_it_is_back() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 3, Balance::RoundRobin, Some(&offsets()));
    for (rotation, expected) in [
        (vec![0, 1, 2], [100, 100, 100]),
        (vec![0, 2], [250, 100, 250]),
        (vec![1], [250, 400, 250]),
        (vec![2, 1, 0], [350, 500, 350]),
    ] {
        group.balancer.set_rotation(&slots(rotation)).unwrap();
        (0..300).for_each(|_| _ = group.serve_one());
        let taken = group.taken();
        assert!(taken.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1), "{taken:?}");
    }
    group.balancer.reset_taken(slot(1)).unwrap();
    assert_eq!(group.taken()[1], 0);
}

#[test]
fn a_slot_listed_twice_gets_two_turns() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 2, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots([0, 1, 0])).unwrap();
    (0..300).for_each(|_| _ = group.serve_one());
    assert_eq!(group.taken(), [200, 100]);
}

#[test]
fn without_a_rotation_the_kernel_chooses_and_none_is_refused() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 3, Balance::RoundRobin, Some(&offsets()));
    (0..200).for_each(|_| _ = group.serve_one());
    group.balancer.set_rotation(&slots(0..3)).unwrap();
    group.balancer.set_rotation(&[]).unwrap();
    (0..200).for_each(|_| _ = group.serve_one());
    assert_eq!(group.taken(), [0, 0, 0], "no choice of ours");
}

#[test]
fn a_rotation_changes_as_a_whole_under_load() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 4, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots([0, 1])).unwrap();
    for round in 0..200 {
        let (now, out) = if round % 2 == 0 { ([2, 3], [0, 1]) } else { ([0, 1], [2, 3]) };
        group.balancer.set_rotation(&slots(now)).unwrap();
        let before = group.taken();
        (0..5).for_each(|_| _ = group.serve_one());
        for seat in out {
            assert_eq!(group.taken()[seat as usize], before[seat as usize], "round {round}");
        }
    }
    assert_eq!(group.taken().iter().sum::<u64>(), 1000);
}

#[test]
fn connections_queued_at_a_closed_seat_are_served_by_the_others() {
    if needs_root() {
        return;
    }
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut group = Group::new(address, 3, Balance::RoundRobin, Some(&offsets()));
        group.balancer.set_rotation(&slots(0..3)).unwrap();
        let mut clients: Vec<TcpStream> = (0..60).map(|_| group.connect()).collect();
        assert!(group.taken()[2] >= 10, "there is a queue to move: {:?}", group.taken());
        group.balancer.set_rotation(&slots(0..2)).unwrap();
        group.close(2);
        let mut served: Vec<TcpStream> = (0..60).map(|_| group.accept_any().1).collect();
        for server in &mut served {
            server.write_all(b"!").unwrap();
        }
        for client in &mut clients {
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.read_exact(&mut [0]).expect("neither reset nor forgotten");
        }
        assert_eq!(group.taken()[..2].iter().sum::<u64>(), 60, "moved ones count where they went");
    }
}

#[test]
fn seats_come_and_go_under_load_without_a_reset() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 4, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..4)).unwrap();
    let clients: Vec<_> = (0..4).map(|_| group.spawn_client(500)).collect();
    // A seat leaves the rotation, what it was given stays in its queue while ten others are
    // served, and then it is closed and a new one takes its place.
    for round in 0..100 {
        let leaving = round % 4;
        let staying: Vec<usize> = (0..4).filter(|seat| *seat != leaving).collect();
        group.rotate(&staying);
        (0..10).for_each(|_| group.answer_one_of(&staying));
        group.replace(leaving);
        group.rotate(&[0, 1, 2, 3]);
        (0..10).for_each(|_| group.answer_one_of(&[0, 1, 2, 3]));
    }
    for client in clients {
        client.join().expect("every connection is answered");
    }
}

#[test]
fn sticky_sends_an_address_always_to_one_seat_and_addresses_to_all() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 4, Balance::Sticky, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..4)).unwrap();
    let clients: Vec<Ipv4Addr> = (1..=200).map(|n| Ipv4Addr::new(127, 0, 1, n)).collect();
    let seats: Vec<usize> = clients.iter().map(|from| group.serve_from(*from)).collect();
    for _ in 0..3 {
        let again: Vec<usize> = clients.iter().map(|from| group.serve_from(*from)).collect();
        assert_eq!(again, seats);
    }
    let shares = turns(&seats, 4);
    assert!(shares.iter().all(|share| (25..=80).contains(share)), "{shares:?}");
}

#[test]
fn a_sticky_client_keeps_its_seat_when_its_queued_connection_moves() {
    if needs_root() {
        return;
    }
    // Dual stack: the packet says IPv4, the socket that moves says IPv4-mapped IPv6.
    for address in ["127.0.0.1:0", "[::]:0"] {
        let mut group = Group::new(address, 3, Balance::Sticky, Some(&offsets()));
        group.balancer.set_rotation(&slots(0..3)).unwrap();
        let clients: Vec<Ipv4Addr> = (1..=40).map(|n| Ipv4Addr::new(127, 0, 2, n)).collect();
        let queued: Vec<TcpStream> = clients.iter().map(|from| group.connect_from(*from)).collect();
        assert!(group.taken()[2] > 0);
        group.balancer.set_rotation(&slots(0..2)).unwrap();
        // From here on no seat of the old rotation counts: empty the two that stay.
        let stayed = group.taken()[..2].iter().sum::<u64>();
        (0..stayed).for_each(|_| drop(group.accept_of(&[0, 1])));
        group.close(2);
        for _ in stayed..40 {
            let (seat, moved) = group.accept_any();
            let from = group::v4(moved.peer_addr().unwrap());
            assert_eq!(group.serve_from(from), seat, "{address} {from}");
        }
        drop(queued);
    }
}

#[test]
fn sticky_works_for_ipv6() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("[::1]:0", 4, Balance::Sticky, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..4)).unwrap();
    let seats: Vec<usize> = (0..40).map(|_| group.serve_one()).collect();
    assert!(seats.iter().all(|seat| *seat == seats[0]), "one address: {seats:?}");
}

#[test]
fn a_thousand_seats_are_served_in_turn_past_blocked_ones() {
    if needs_root() {
        return;
    }
    group::allow_descriptors(4096);
    let mut group = Group::new("127.0.0.1:0", 1000, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..1000)).unwrap();
    (0..1000).for_each(|_| _ = group.serve_one());
    assert!(group.taken().iter().all(|taken| *taken == 1));
    // Every turn is missed once, by a connection that waits; then half of the seats are free.
    let _waiting: Vec<TcpStream> = (0..1000).map(|_| group.connect()).collect();
    assert!(group.taken().iter().all(|taken| *taken == 2));
    let free: Vec<usize> = (500..1000).collect();
    free.iter().for_each(|seat| drop(group.accept(*seat)));
    let mut lost = 0;
    let mut kept = Vec::new();
    for _ in 0..1000 {
        let before: u64 = group.taken_of(&free);
        let client = group.connect();
        if group.taken_of(&free) == before {
            lost += 1;
            kept.push(client);
        } else {
            group.accept_of(&free);
        }
    }
    assert!(lost <= 12, "{lost} of 1000 went behind a queue though 500 seats were free");
}

#[test]
fn empty_and_foreign_slots_in_the_rotation_do_no_harm() {
    if needs_root() {
        return;
    }
    for offsets in [Some(offsets()), None] {
        let mut group = Group::new("127.0.0.1:0", 2, Balance::RoundRobin, offsets.as_ref());
        let foreign = group::listen("127.0.0.1:0".parse().unwrap());
        group.balancer.place(slot(7), &foreign).unwrap();
        group.balancer.set_rotation(&slots([0, 4095, 1, 7])).unwrap();
        (0..200).for_each(|_| _ = group.serve_one());
        assert!(group.taken().iter().all(|taken| *taken >= 50), "{:?}", group.taken());
        assert_eq!(group.taken_of(&[0, 1]), 200, "never left to the kernel's hash");
        group.balancer.clear(slot(0)).unwrap();
        group.balancer.clear(slot(0)).expect("twice is no error");
        group.balancer.clear(slot(1)).unwrap();
        (0..50).for_each(|_| _ = group.serve_one());
    }
}

#[test]
fn a_new_balancer_takes_a_group_over_from_one_that_is_gone() {
    if needs_root() {
        return;
    }
    let mut group = Group::new("127.0.0.1:0", 3, Balance::RoundRobin, Some(&offsets()));
    group.balancer.set_rotation(&slots(0..3)).unwrap();
    let twice = group.balancer.place(slot(5), group.listener(0));
    assert!(matches!(twice, Err(BalanceError::AlreadyPlaced(_))), "{twice:?}");
    group.balancer = Balancer::load(Balance::RoundRobin, Some(&offsets())).unwrap();
    (0..30).for_each(|_| _ = group.serve_one()); // the old one still decides
    group.balancer.attach(group.listener(0)).unwrap();
    (0..30).for_each(|_| _ = group.serve_one()); // nobody does
    group.place_all_when_free();
    group.balancer.set_rotation(&slots(0..3)).unwrap();
    (0..30).for_each(|_| _ = group.serve_one());
    assert_eq!(group.taken(), [10, 10, 10]);
}

#[test]
fn what_is_no_listening_socket_of_a_group_is_refused() {
    if needs_root() {
        return;
    }
    let mut balancer = Balancer::load(Balance::RoundRobin, None).unwrap();
    let lone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = balancer.place(slot(0), &lone);
    assert!(matches!(place, Err(BalanceError::Failed { .. })), "{place:?}");
    let attach = balancer.attach(&lone);
    assert!(matches!(attach, Err(BalanceError::Failed { .. })), "{attach:?}");
    assert!(Slot::new(Slot::COUNT).is_none());
    let long = vec![slot(0); 4097];
    let rotation = balancer.set_rotation(&long);
    assert!(matches!(rotation, Err(BalanceError::RotationTooLong(4097))));
    balancer.set_rotation(&long[1..]).expect("the longest");
}

#[test]
fn a_missing_capability_is_told_apart() {
    if needs_root() {
        return;
    }
    let offsets = offsets();
    let (bpf, perfmon) = (CapabilitySet::BPF, CapabilitySet::PERFMON);
    for too_few in [CapabilitySet::empty(), perfmon, bpf] {
        let refused = load_with(too_few, Some(offsets)).unwrap_err();
        assert!(matches!(refused, BalanceError::NotPermitted { .. }), "{too_few:?}: {refused:?}");
        assert!(refused.to_string().starts_with("not permitted to "));
    }
    load_with(bpf, None).expect("strict turns need no CAP_PERFMON");
    load_with(bpf | perfmon, Some(offsets)).expect("enough for all");
}

/// Capabilities belong to a thread, so one that ends afterwards may give them up.
fn load_with(rights: CapabilitySet, offsets: Option<KernelOffsets>) -> Result<(), BalanceError> {
    let child = std::thread::spawn(move || {
        let sets = CapabilitySets {
            effective: rights,
            permitted: rights,
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, sets).unwrap();
        let mut balancer = Balancer::load(Balance::RoundRobin, offsets.as_ref())?;
        let socket = group::listen("127.0.0.1:0".parse().unwrap());
        balancer.attach(&socket)?;
        balancer.place(slot(0), &socket)
    });
    child.join().unwrap()
}
