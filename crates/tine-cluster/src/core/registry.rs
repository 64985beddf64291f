//! The listeners of an app and their seats: which socket a worker gets for an address.
//!
//! A **listener** is an address; a **seat** is one socket of it. Under the kernel's mechanisms each
//! worker has a seat of its own; under one queue all workers hold the same seat; under hand-over the
//! seat is held by the primary alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    address::ListenKey,
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::{Acquisition, Choice, Mechanism},
};

/// Whether a seat gets connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeatState {
    /// Bound; its worker does not listen yet.
    Joining,
    /// It gets its share.
    InRotation,
    /// Its worker is leaving: it gets no new connection.
    Draining,
    /// No worker holds it; its queue waits for one.
    Waiting,
}

/// One socket of a listener.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The address it belongs to.
    pub listener: ListenerId,
    /// Which instance it serves; the place in the rotation.
    pub instance: Instance,
    /// The workers that hold it: one, or under one queue many.
    pub holders: Vec<WorkerId>,
    /// Whether it gets connections.
    pub state: SeatState,
}

/// An address that workers listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Which address.
    pub key: ListenKey,
    /// The policy and the mechanism, chosen when it was first asked for.
    pub choice: Choice,
    /// How the first worker came to it.
    pub acquisition: Acquisition,
}

/// What a worker gets that asks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody of this app has it: bind it, if nobody else has.
    First,
    /// A new seat beside the others.
    Join(ListenerId),
    /// This seat: shared, or left by a worker that is gone.
    Take(SeatId),
    /// This worker has this seat of it already. Whether it closed it meanwhile only the process table
    /// tells.
    Mine(SeatId),
}

/// The listeners and seats of one app.
#[derive(Debug, Default)]
pub struct Registry {
    listeners: BTreeMap<ListenerId, Listener>,
    seats: BTreeMap<SeatId, Seat>,
    by_key: HashMap<ListenKey, ListenerId>,
    next_listener: u32,
    next_seat: u32,
}

impl Registry {
    /// What `worker` gets that asks for `key`.
    #[must_use]
    pub fn claim(&self, key: &ListenKey, worker: WorkerId) -> Claim {
        let Some(listener) = self.by_key.get(key).copied() else { return Claim::First };
        if let Some((id, _)) = self.seats_of(listener).find(|(_, s)| s.holders.contains(&worker)) {
            return Claim::Mine(id);
        }
        if self.is_single(listener)
            && let Some((id, _)) = self.seats_of(listener).next()
        {
            return Claim::Take(id);
        }
        self.waiting(listener).map_or(Claim::Join(listener), Claim::Take)
    }

    /// A seat of the listener that no worker holds.
    #[must_use]
    pub fn waiting(&self, listener: ListenerId) -> Option<SeatId> {
        let mut waiting = self.seats_of(listener).filter(|(_, s)| s.state == SeatState::Waiting);
        waiting.next().map(|(id, _)| id)
    }

    /// Whether all workers share one seat of it.
    fn is_single(&self, listener: ListenerId) -> bool {
        self.listeners.get(&listener).is_some_and(|listener| match listener.choice.mechanism {
            Mechanism::OneQueue | Mechanism::HandOver => true,
            Mechanism::KernelEbpf | Mechanism::KernelCbpf | Mechanism::KernelHash => false,
        })
    }

    /// Makes an address known.
    pub fn add_listener(&mut self, listener: Listener) -> ListenerId {
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        self.by_key.insert(listener.key.clone(), id);
        self.listeners.insert(id, listener);
        id
    }

    /// Makes a socket of it known. `holder` is `None` for a seat that the primary keeps for itself.
    pub fn add_seat(
        &mut self,
        listener: ListenerId,
        instance: Instance,
        holder: Option<WorkerId>,
    ) -> SeatId {
        let id = SeatId(self.next_seat);
        self.next_seat += 1;
        let holders = holder.into_iter().collect();
        self.seats.insert(id, Seat { listener, instance, holders, state: SeatState::Joining });
        id
    }

    /// The numbers that the next listener and the next seat will have.
    #[must_use]
    pub const fn next_numbers(&self) -> (u32, u32) {
        (self.next_listener, self.next_seat)
    }

    /// Goes on with the numbers of another registry, so that none comes twice.
    pub fn go_on(&mut self, (next_listener, next_seat): (u32, u32)) {
        self.next_listener = self.next_listener.max(next_listener);
        self.next_seat = self.next_seat.max(next_seat);
    }

    /// Makes a listener of another registry known, under its number there.
    pub fn adopt_listener(&mut self, id: ListenerId, listener: Listener) {
        self.by_key.insert(listener.key.clone(), id);
        self.listeners.insert(id, listener);
        self.next_listener = self.next_listener.max(id.0 + 1);
    }

    /// Likewise for a seat, as it was there.
    pub fn adopt_seat(&mut self, id: SeatId, seat: Seat) {
        self.seats.insert(id, seat);
        self.next_seat = self.next_seat.max(id.0 + 1);
    }

    /// The worker holds the seat from now on, alone or with others.
    pub fn take(&mut self, seat: SeatId, worker: WorkerId, instance: Instance) {
        let Some(entry) = self.seats.get_mut(&seat) else { return };
        if entry.holders.is_empty() {
            entry.instance = instance;
        }
        if !entry.holders.contains(&worker) {
            entry.holders.push(worker);
        }
        if entry.state == SeatState::Waiting {
            entry.state = SeatState::Joining;
        }
    }

    /// The seat's worker listens: it may have connections.
    pub fn listens(&mut self, seat: SeatId) {
        if let Some(entry) = self.seats.get_mut(&seat) {
            entry.state = SeatState::InRotation;
        }
    }

    /// The seat gets nothing new until its worker listens again.
    pub fn rest(&mut self, seat: SeatId) {
        if let Some(entry) = self.seats.get_mut(&seat) {
            entry.state = SeatState::Draining;
        }
    }

    /// The seat was made for a worker that is yet to come.
    pub fn waits(&mut self, seat: SeatId) {
        if let Some(entry) = self.seats.get_mut(&seat)
            && entry.holders.is_empty()
        {
            entry.state = SeatState::Waiting;
        }
    }

    /// Whether nobody but these workers has a seat in rotation there, and somebody has.
    #[must_use]
    pub fn is_served_only_by(&self, listener: ListenerId, workers: &BTreeSet<WorkerId>) -> bool {
        let seats = self.rotation(listener);
        let holders = |seat: &SeatId| self.seats.get(seat).map(|seat| seat.holders.as_slice());
        let all_theirs = |seat: &SeatId| {
            holders(seat).is_some_and(|holders| holders.iter().all(|it| workers.contains(it)))
        };
        !seats.is_empty() && seats.iter().all(all_theirs)
    }

    /// The worker leaves: the seats that it holds alone get nothing new. Gives those that changed.
    pub fn drain(&mut self, worker: WorkerId) -> Vec<SeatId> {
        let mut changed = Vec::new();
        for (id, seat) in &mut self.seats {
            if seat.holders == [worker] && seat.state != SeatState::Draining {
                seat.state = SeatState::Draining;
                changed.push(*id);
            }
        }
        changed
    }

    /// The worker does not hold the seat any more. True when nobody does: it waits.
    pub fn let_go(&mut self, seat: SeatId, worker: WorkerId) -> bool {
        let Some(entry) = self.seats.get_mut(&seat) else { return false };
        entry.holders.retain(|holder| *holder != worker);
        if entry.holders.is_empty() {
            entry.state = SeatState::Waiting;
        }
        entry.holders.is_empty()
    }

    /// Nobody holds the seat any more, and nobody shall: it is about to be closed.
    pub fn let_go_of_all(&mut self, seat: SeatId) {
        if let Some(entry) = self.seats.get_mut(&seat) {
            entry.holders.clear();
            entry.state = SeatState::Draining;
        }
    }

    /// The seat's socket was closed. The listener goes with its last seat; then this is `true`.
    pub fn remove_seat(&mut self, seat: SeatId) -> bool {
        let Some(entry) = self.seats.remove(&seat) else { return false };
        if self.seats_of(entry.listener).next().is_some() {
            return false;
        }
        self.remove_listener(entry.listener);
        true
    }

    /// What was chosen for the listener is not to be had after all.
    pub fn choose_again(&mut self, id: ListenerId, choice: Choice) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.choice = choice;
        }
    }

    /// Forgets a listener that has no seat.
    pub fn remove_listener(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.remove(&id) {
            self.by_key.remove(&listener.key);
        }
    }

    /// The seats in rotation, by instance: the order of turns.
    #[must_use]
    pub fn rotation(&self, listener: ListenerId) -> Vec<SeatId> {
        let mut seats: Vec<(Instance, SeatId)> = self
            .seats_of(listener)
            .filter(|(_, seat)| seat.state == SeatState::InRotation)
            .map(|(id, seat)| (seat.instance, id))
            .collect();
        seats.sort_unstable();
        seats.into_iter().map(|(_, id)| id).collect()
    }

    /// The seats that the worker holds.
    #[must_use]
    pub fn held_by(&self, worker: WorkerId) -> Vec<SeatId> {
        let held = self.seats.iter().filter(|(_, seat)| seat.holders.contains(&worker));
        held.map(|(id, _)| *id).collect()
    }

    /// All seats of a listener.
    pub fn seats_of(&self, listener: ListenerId) -> impl Iterator<Item = (SeatId, &Seat)> {
        let of = self.seats.iter().filter(move |(_, seat)| seat.listener == listener);
        of.map(|(id, seat)| (*id, seat))
    }

    /// One seat.
    #[must_use]
    pub fn seat(&self, id: SeatId) -> Option<&Seat> {
        self.seats.get(&id)
    }

    /// One listener.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(&id)
    }

    /// The listener of an address.
    #[must_use]
    pub fn find(&self, key: &ListenKey) -> Option<ListenerId> {
        self.by_key.get(key).copied()
    }

    /// All listeners, in the order in which they came.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.listeners.iter().map(|(id, listener)| (*id, listener))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Endpoint, Transport},
        policy::Policy,
    };

    fn key(port: u16) -> ListenKey {
        let address = ([127, 0, 0, 1], port).into();
        ListenKey { transport: Transport::Tcp, endpoint: Endpoint::inet(address, false) }
    }

    fn listener(port: u16, mechanism: Mechanism) -> Listener {
        let choice = Choice { policy: Policy::Rr, mechanism, degraded: false };
        Listener { key: key(port), choice, acquisition: Acquisition::BindTrap }
    }

    fn worker(n: u32) -> (WorkerId, Instance) {
        (WorkerId(n), Instance(n - 1))
    }

    /// A registry in which `workers` have listened on port 80.
    fn listening(mechanism: Mechanism, workers: u32) -> (Registry, ListenerId) {
        let mut registry = Registry::default();
        let id = registry.add_listener(listener(80, mechanism));
        for n in 1..=workers {
            let (worker, instance) = worker(n);
            let seat = match registry.claim(&key(80), worker) {
                Claim::Take(seat) => {
                    registry.take(seat, worker, instance);
                    seat
                }
                _ => registry.add_seat(id, instance, Some(worker)),
            };
            registry.listens(seat);
        }
        (registry, id)
    }

    #[test]
    fn the_first_binds_the_others_join_each_with_a_seat_of_its_own() {
        let (registry, id) = listening(Mechanism::KernelEbpf, 3);
        assert_eq!(registry.claim(&key(81), WorkerId(1)), Claim::First);
        assert_eq!(registry.claim(&key(80), WorkerId(9)), Claim::Join(id));
        assert_eq!(registry.rotation(id), [SeatId(0), SeatId(1), SeatId(2)]);
        assert_eq!(registry.claim(&key(80), WorkerId(2)), Claim::Mine(SeatId(1)));
    }

    #[test]
    fn under_one_queue_all_take_the_same_seat_and_it_drains_with_none() {
        let (mut registry, id) = listening(Mechanism::OneQueue, 3);
        assert_eq!(registry.seats_of(id).count(), 1);
        assert!(registry.drain(WorkerId(1)).is_empty());
        assert!(!registry.let_go(SeatId(0), WorkerId(1)));
        assert!(!registry.let_go(SeatId(0), WorkerId(2)));
        assert!(registry.let_go(SeatId(0), WorkerId(3)));
    }

    #[test]
    fn the_seat_of_a_worker_that_is_gone_is_inherited_with_its_queue() {
        let (mut registry, id) = listening(Mechanism::KernelCbpf, 3);
        assert_eq!(registry.drain(WorkerId(2)), [SeatId(1)]);
        assert_eq!(registry.rotation(id), [SeatId(0), SeatId(2)]);
        assert!(registry.let_go(SeatId(1), WorkerId(2)));
        assert_eq!(registry.claim(&key(80), WorkerId(4)), Claim::Take(SeatId(1)));
        registry.take(SeatId(1), WorkerId(4), Instance(1));
        assert_eq!(registry.rotation(id).len(), 2, "not before it listens");
        registry.listens(SeatId(1));
        assert_eq!(registry.rotation(id), [SeatId(0), SeatId(1), SeatId(2)]);
    }

    #[test]
    fn turns_go_by_instance_also_after_a_replacement() {
        let (mut registry, id) = listening(Mechanism::KernelEbpf, 3);
        registry.drain(WorkerId(1));
        registry.remove_seat(SeatId(0));
        let seat = registry.add_seat(id, Instance(0), Some(WorkerId(4)));
        registry.listens(seat);
        assert_eq!(registry.rotation(id), [seat, SeatId(1), SeatId(2)]);
    }

    #[test]
    fn a_seat_made_for_a_successor_is_taken_by_it() {
        let (mut registry, id) = listening(Mechanism::KernelEbpf, 2);
        let (first, both) = ([WorkerId(1)].into(), [WorkerId(1), WorkerId(2)].into());
        assert!(!registry.is_served_only_by(id, &first), "the other one serves on");
        assert!(registry.is_served_only_by(id, &both));
        let fresh = registry.add_seat(id, Instance(0), None);
        registry.waits(fresh);
        registry.drain(WorkerId(1));
        registry.drain(WorkerId(2));
        assert!(!registry.is_served_only_by(id, &both), "nobody serves");
        assert_eq!(registry.claim(&key(80), WorkerId(3)), Claim::Take(fresh));
    }

    #[test]
    fn a_listener_goes_with_its_last_seat() {
        let (mut registry, _) = listening(Mechanism::KernelEbpf, 2);
        assert!(!registry.remove_seat(SeatId(0)));
        assert!(registry.remove_seat(SeatId(1)));
        assert_eq!(registry.claim(&key(80), WorkerId(1)), Claim::First);
    }
}
