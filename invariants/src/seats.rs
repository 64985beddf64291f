//! Seats: who asks gets one, who goes leaves it to others, and each is closed once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tine_cluster::{
    address::{Endpoint, ListenKey, Transport},
    core::{
        closing::{Closing, GRACE},
        order::Order,
        registry::{Claim, Listener, Registry, SeatState},
    },
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::{Acquisition, Choice, Mechanism, Policy},
};

use crate::choices::Choices;

const WORKERS: u32 = 5;
const PORTS: u16 = 3;

/// Any workers ask, listen, drain, let go and die, in any order, while seats are closed in between.
///
/// # Panics
///
/// When a worker has two seats of one address, or a seat serves that should not; when turns are not by
/// instance; when a seat that nobody holds is not closed in time, or an address outlives its seats.
pub fn seats(bytes: &[u8]) {
    let mut play = Play::default();
    let mut choices = Choices::new(bytes);
    while !choices.is_over() {
        play.step(&mut choices);
        play.agree();
    }
    play.finish();
}

/// What an onlooker knows of a seat.
#[derive(Debug)]
struct Seen {
    listener: ListenerId,
    instance: Instance,
    holders: BTreeSet<WorkerId>,
    state: SeatState,
    left: Option<Instant>,
}

struct Play {
    registry: Registry,
    closing: Closing,
    now: Instant,
    seen: BTreeMap<SeatId, Seen>,
    listeners: BTreeMap<ListenerId, (u16, Mechanism)>,
    /// The kernel's list of each group, and where it is thought to be.
    groups: BTreeMap<ListenerId, (Vec<SeatId>, Order)>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            registry: Registry::default(),
            closing: Closing::default(),
            now: Instant::now(),
            seen: BTreeMap::new(),
            listeners: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }
}

fn key(port: u16) -> ListenKey {
    let address = ([127, 0, 0, 1], port + 1).into();
    ListenKey { transport: Transport::Tcp, endpoint: Endpoint::inet(address, false) }
}

const fn instance(worker: WorkerId) -> Instance {
    Instance(worker.0 % 3)
}

const MECHANISMS: [Mechanism; 5] = [
    Mechanism::KernelEbpf,
    Mechanism::KernelCbpf,
    Mechanism::KernelHash,
    Mechanism::OneQueue,
    Mechanism::HandOver,
];

const fn is_single(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::OneQueue | Mechanism::HandOver => true,
        Mechanism::KernelEbpf | Mechanism::KernelCbpf | Mechanism::KernelHash => false,
    }
}

impl Play {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let worker = WorkerId(u32::from(choices.byte()) % WORKERS);
        match choices.below(9) {
            0..3 => self.asks(worker, u16::from(choices.byte()) % PORTS, choices),
            3 => self.listens(worker, choices),
            4 => self.drains(worker),
            5 => self.lets_go(worker, choices),
            6 => self.dies(worker),
            7 => self.closes(choices),
            _ => self.waits(Duration::from_millis(choices.byte().into())),
        }
    }

    fn asks(&mut self, worker: WorkerId, port: u16, choices: &mut Choices<'_>) {
        let known = self.registry.find(&key(port));
        let own = self.seat_of(worker, known);
        let seat = match self.registry.claim(&key(port), worker) {
            Claim::First => {
                assert_eq!(known, None);
                let listener = self.first(port, choices.one_of(&MECHANISMS));
                self.sit(listener, worker)
            }
            Claim::Join(listener) => {
                assert_eq!((Some(listener), own), (known, None));
                assert_eq!(self.registry.waiting(listener), None, "a seat waits for somebody");
                assert!(!is_single(self.listeners[&listener].1), "all share one seat");
                self.sit(listener, worker)
            }
            Claim::Take(seat) => self.takes(seat, worker, own),
            Claim::Mine(seat) => return assert_eq!(own, Some(seat)),
        };
        assert_eq!(self.registry.claim(&key(port), worker), Claim::Mine(seat));
    }

    fn seat_of(&self, worker: WorkerId, listener: Option<ListenerId>) -> Option<SeatId> {
        let is_it = |seen: &Seen| Some(seen.listener) == listener && seen.holders.contains(&worker);
        self.seen.iter().find(|(_, seen)| is_it(seen)).map(|(&seat, _)| seat)
    }

    fn first(&mut self, port: u16, mechanism: Mechanism) -> ListenerId {
        let choice = Choice { policy: Policy::Rr, mechanism, degraded: false };
        let listener = Listener { key: key(port), choice, acquisition: Acquisition::Native };
        let id = self.registry.add_listener(listener);
        assert!(self.listeners.insert(id, (port, mechanism)).is_none(), "a number came twice");
        self.groups.insert(id, (Vec::new(), Order::default()));
        id
    }

    fn sit(&mut self, listener: ListenerId, worker: WorkerId) -> SeatId {
        let seat = self.registry.add_seat(listener, instance(worker), Some(worker));
        let (holders, state) = (BTreeSet::from([worker]), SeatState::Joining);
        let seen = Seen { listener, instance: instance(worker), holders, state, left: None };
        assert!(self.seen.insert(seat, seen).is_none(), "a number came twice");
        seat
    }

    fn takes(&mut self, seat: SeatId, worker: WorkerId, own: Option<SeatId>) -> SeatId {
        assert_eq!(own, None, "it has one");
        let seen = self.seen.get_mut(&seat).expect("a seat that exists");
        let shared = is_single(self.listeners[&seen.listener].1);
        assert!(shared || seen.holders.is_empty(), "somebody holds it");
        self.registry.take(seat, worker, instance(worker));
        if seen.holders.is_empty() {
            seen.instance = instance(worker);
        }
        if seen.state == SeatState::Waiting {
            seen.state = SeatState::Joining;
        }
        seen.holders.insert(worker);
        seat
    }

    /// One of the worker's seats, if it has any.
    fn one_of(&self, worker: WorkerId, choices: &mut Choices<'_>) -> Option<SeatId> {
        let held = self.registry.held_by(worker);
        (!held.is_empty()).then(|| choices.one_of(&held))
    }

    fn listens(&mut self, worker: WorkerId, choices: &mut Choices<'_>) {
        let Some(seat) = self.one_of(worker, choices) else { return };
        self.registry.listens(seat);
        let seen = self.seen.get_mut(&seat).expect("a seat that exists");
        seen.state = SeatState::InRotation;
        let (list, order) = self.groups.get_mut(&seen.listener).expect("a group that exists");
        order.joined(seat);
        if !list.contains(&seat) {
            list.push(seat);
        }
    }

    fn drains(&mut self, worker: WorkerId) {
        let mut alone = Vec::new();
        for (&seat, seen) in &mut self.seen {
            if seen.holders.iter().eq([&worker]) && seen.state != SeatState::Draining {
                seen.state = SeatState::Draining;
                alone.push(seat);
            }
        }
        assert_eq!(self.registry.drain(worker), alone);
    }

    fn lets_go(&mut self, worker: WorkerId, choices: &mut Choices<'_>) {
        if let Some(seat) = self.one_of(worker, choices) {
            self.let_go(seat, worker);
        }
        // Of what it never had: nothing changes for others.
        self.registry.let_go(SeatId(u32::MAX), worker);
    }

    fn let_go(&mut self, seat: SeatId, worker: WorkerId) {
        let seen = self.seen.get_mut(&seat).expect("a seat that exists");
        seen.holders.remove(&worker);
        assert_eq!(self.registry.let_go(seat, worker), seen.holders.is_empty());
        if seen.holders.is_empty() {
            seen.state = SeatState::Waiting;
            seen.left = Some(self.now);
            self.closing.left(seat, self.now);
        }
    }

    fn dies(&mut self, worker: WorkerId) {
        self.drains(worker);
        for seat in self.registry.held_by(worker) {
            self.let_go(seat, worker);
        }
        assert!(self.registry.held_by(worker).is_empty());
    }

    /// An app closes its server: its seats go at once.
    fn closes(&mut self, choices: &mut Choices<'_>) {
        let ids: Vec<ListenerId> = self.listeners.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let listener = choices.one_of(&ids);
        let seats: Vec<SeatId> = self.registry.seats_of(listener).map(|(seat, _)| seat).collect();
        for seat in seats {
            self.close(seat);
        }
    }

    fn close(&mut self, seat: SeatId) {
        let Some(Seen { listener, .. }) = self.seen.remove(&seat) else { return };
        self.registry.let_go_of_all(seat);
        assert!(!self.registry.rotation(listener).contains(&seat), "a seat that closes serves");
        let last = !self.seen.values().any(|one| one.listener == listener);
        assert_eq!(self.registry.remove_seat(seat), last);
        let group = self.groups.get_mut(&listener).expect("a group that exists");
        group.1.left(seat);
        if let Some(at) = group.0.iter().position(|other| *other == seat) {
            group.0.swap_remove(at);
        }
        if last {
            self.listeners.remove(&listener);
            self.groups.remove(&listener);
        }
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
        for seat in self.closing.take_due(self.now) {
            // Closed meanwhile with all of its listener.
            let Some(seen) = self.seen.get_mut(&seat) else { continue };
            let left = seen.left.take().expect("it comes due once");
            assert!(left + GRACE <= self.now, "it comes due early");
            if seen.state == SeatState::Waiting {
                self.close(seat);
            }
        }
        assert!(self.closing.poll_timeout().is_none_or(|at| at > self.now), "it is due, and stays");
    }

    fn agree(&self) {
        for (seat, seen) in &self.seen {
            let known = self.registry.seat(*seat).expect("a seat that exists");
            let holders: BTreeSet<WorkerId> = known.holders.iter().copied().collect();
            assert_eq!(holders.len(), known.holders.len(), "a holder is there twice");
            let is = (known.listener, known.instance, known.state, &holders);
            assert_eq!(is, (seen.listener, seen.instance, seen.state, &seen.holders), "{seat}");
            assert!(seen.left.is_none_or(|at| self.now < at + GRACE), "{seat} was not closed");
        }
        assert_eq!(self.registry.listeners().count(), self.listeners.len());
        for (listener, (port, _)) in &self.listeners {
            self.agree_on(*listener, *port);
        }
    }

    fn agree_on(&self, listener: ListenerId, port: u16) {
        assert_eq!(self.registry.find(&key(port)), Some(listener));
        let of = self.seen.iter().filter(|(_, seen)| seen.listener == listener);
        let all: Vec<SeatId> = of.clone().map(|(&seat, _)| seat).collect();
        assert!(!all.is_empty(), "an address outlives its seats");
        assert_eq!(self.registry.seats_of(listener).map(|(id, _)| id).collect::<Vec<_>>(), all);
        let mut turns: Vec<(Instance, SeatId)> = of
            .filter(|(_, seen)| seen.state == SeatState::InRotation)
            .map(|(&seat, seen)| (seen.instance, seat))
            .collect();
        turns.sort_unstable();
        let turns: Vec<SeatId> = turns.into_iter().map(|(_, seat)| seat).collect();
        assert_eq!(self.registry.rotation(listener), turns);
        let (list, order) = &self.groups[&listener];
        assert_eq!(order.seats(), list);
        let indexes = (0u32..).zip(list);
        indexes.for_each(|(index, &seat)| assert_eq!(order.index(seat), Some(index)));
    }

    /// Whatever happened: when all workers are gone, every seat is closed in time.
    fn finish(mut self) {
        (0..WORKERS).for_each(|worker| self.dies(WorkerId(worker)));
        self.waits(GRACE);
        assert!(self.seen.is_empty(), "nobody closes {:?}", self.seen);
        assert_eq!(self.registry.listeners().count(), 0);
        assert_eq!(self.closing.poll_timeout(), None);
    }
}
