//! The sockets behind the registry's seats, and the groups that they form.

mod close;
mod kept;
mod looks;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use super::{
    abandoned::Sightings,
    balance::{Group, GroupError},
    caller::Options,
    leaving::Handshakes,
    shares::Shares,
};
use crate::{
    address::{ListenKey, Transport},
    core::{
        closing::Closing,
        registry::{Claim, Listener, Registry, Seat, SeatState},
    },
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::Choice,
};
use kept::Touched;
use rustix::net::sockopt;
use tine_linux::balance::Balancer;

/// The listeners of a cluster with their sockets.
#[derive(Debug, Default)]
pub(super) struct Seats {
    pub(super) registry: Registry,
    sockets: BTreeMap<SeatId, Socket>,
    groups: BTreeMap<ListenerId, Group>,
    pub(super) closing: Closing,
    /// Whose connections-to-be wait in another seat already: closed when nobody holds them.
    succeeded: BTreeSet<SeatId>,
    /// Whose workers have left for good.
    pub(super) spent: BTreeMap<SeatId, Handshakes>,
    pub(super) sightings: Sightings,
    touched: Touched,
    /// While a canary is tried.
    pub(super) shares: Option<Shares>,
}

/// The primary's own descriptor of a seat: it outlives the worker, and with it the queue.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    inode: u64,
    /// Connections waited in it at the last look.
    waited: bool,
    /// What the program that bound it had set itself.
    options: Options,
    /// It has called `listen` since.
    listens: bool,
}

impl Seats {
    /// What is known of listeners and seats.
    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What `worker` gets that asks for `key`.
    pub(super) fn claim(&self, key: &ListenKey, worker: WorkerId) -> Claim {
        let claim = self.registry.claim(key, worker);
        if let Claim::Join(listener) = claim {
            return self.left_over(listener).map_or(claim, Claim::Take);
        }
        let Claim::Take(seat) = claim else { return claim };
        let is_waiting = |(_, seat): &(SeatId, &Seat)| seat.state == SeatState::Waiting;
        let listener = self.registry.seat(seat).map(|seat| seat.listener);
        let most = listener.and_then(|listener| self.most_awaited(listener, is_waiting));
        most.map_or(claim, Claim::Take)
    }

    /// The one of these seats in which the most clients wait; the first, if there are none.
    fn most_awaited(
        &self,
        listener: ListenerId,
        which: impl Fn(&(SeatId, &Seat)) -> bool,
    ) -> Option<SeatId> {
        let seats = self.registry.seats_of(listener).filter(which).map(|(seat, _)| seat);
        seats.max_by_key(|seat| (self.queue(*seat).unwrap_or(0), Reverse(*seat)))
    }

    /// Makes an address known, with the group that carries out its policy.
    pub(super) fn add_listener(&mut self, listener: Listener) -> ListenerId {
        let group = Group::new(listener.choice);
        let id = self.registry.add_listener(listener);
        self.groups.insert(id, group);
        self.touched.listener(id);
        id
    }

    /// The listener's program is loaded: it takes over.
    pub(super) fn loaded(&mut self, id: ListenerId, balancer: Balancer) -> Result<(), GroupError> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        for seat in group.loaded(balancer) {
            self.joined(seat)?;
        }
        self.touched.listener(id);
        self.rotate(id)
    }

    /// The listener's program cannot be loaded: another choice holds from now on.
    pub(super) fn do_without(&mut self, id: ListenerId, choice: Choice) -> Result<(), GroupError> {
        self.registry.choose_again(id, choice);
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        group.do_without(choice.policy);
        self.touched.listener(id);
        self.rotate(id)
    }

    /// Another policy holds from now on, by the same mechanism.
    pub(super) fn choose_again(
        &mut self,
        id: ListenerId,
        choice: Choice,
    ) -> Result<(), GroupError> {
        self.registry.choose_again(id, choice);
        self.touched.listener(id);
        let any = self.any_in_group(id).and_then(|seat| self.sockets.get(&seat));
        if let (Some(group), Some(any)) = (self.groups.get_mut(&id), any) {
            group.follow(choice.policy, &any.fd)?;
        }
        self.rotate(id)
    }

    /// A seat whose socket is in the kernel's group.
    fn any_in_group(&self, listener: ListenerId) -> Option<SeatId> {
        let in_group = |(_, seat): &(SeatId, &Seat)| seat.state != SeatState::Joining;
        self.registry.seats_of(listener).find(in_group).map(|(seat, _)| seat)
    }

    /// Whether the listener's policy is yet to take hold.
    pub(super) fn is_loading(&self, id: ListenerId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_loading)
    }

    /// Makes a bound socket a seat of the listener.
    pub(super) fn add_seat(
        &mut self,
        listener: ListenerId,
        (instance, holder): (Instance, Option<WorkerId>),
        fd: OwnedFd,
    ) -> io::Result<SeatId> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        let seat = self.registry.add_seat(listener, instance, holder);
        self.sockets.insert(
            seat,
            Socket { fd, inode, waited: false, options: Options::default(), listens: false },
        );
        self.touched.seat(seat);
        Ok(seat)
    }

    /// The worker holds the seat from now on.
    pub(super) fn take(&mut self, seat: SeatId, worker: WorkerId, instance: Instance) {
        if self.spent.remove(&seat).is_some() {
            self.registry.waits(seat);
        }
        self.registry.take(seat, worker, instance);
        self.touched.seat(seat);
    }

    /// A program has bound the seat, and had set this itself.
    pub(super) fn was_bound(&mut self, seat: SeatId, options: Options) {
        if let Some(socket) = self.sockets.get_mut(&seat) {
            (socket.options, socket.listens) = (options, false);
        }
        self.touched.seat(seat);
    }

    /// Whether whoever has bound the seat last has listened since.
    pub(super) fn listens(&self, seat: SeatId) -> bool {
        self.sockets.get(&seat).is_some_and(|socket| socket.listens)
    }

    /// What the program had set itself that bound the seat last; nothing where none has.
    pub(super) fn options(&self, seat: SeatId) -> Options {
        self.sockets.get(&seat).map(|socket| socket.options).unwrap_or_default()
    }

    /// The seat of the socket with this inode.
    pub(super) fn find(&self, inode: u64) -> Option<SeatId> {
        self.sockets.iter().find(|(_, socket)| socket.inode == inode).map(|(seat, _)| *seat)
    }

    /// The seat's socket.
    pub(super) fn socket(&self, seat: SeatId) -> Option<BorrowedFd<'_>> {
        self.sockets.get(&seat).map(|socket| socket.fd.as_fd())
    }

    /// The seat's inode.
    pub(super) fn inode(&self, seat: SeatId) -> Option<u64> {
        self.sockets.get(&seat).map(|socket| socket.inode)
    }

    /// The listener of a seat.
    pub(super) fn listener_of(&self, seat: SeatId) -> Option<(ListenerId, &Listener)> {
        let id = self.registry.seat(seat)?.listener;
        Some((id, self.registry.listener(id)?))
    }

    /// The seat's socket listens: the kernel has it in its group. It gets nothing yet.
    pub(super) fn joined(&mut self, seat: SeatId) -> Result<(), GroupError> {
        let Some(listener) = self.registry.seat(seat).map(|seat| seat.listener) else {
            return Ok(());
        };
        let (group, socket) = (self.groups.get_mut(&listener), self.sockets.get_mut(&seat));
        let (Some(group), Some(socket)) = (group, socket) else { return Ok(()) };
        socket.listens = true;
        self.touched.seat(seat);
        self.touched.group(listener);
        group.joined(seat, &socket.fd)
    }

    /// The seat's worker accepts: it gets its share from now on.
    pub(super) fn open(&mut self, seat: SeatId) -> Result<(), GroupError> {
        self.registry.listens(seat);
        self.touched.seat(seat);
        self.move_the_waiting(seat);
        if let Some(listener) = self.registry.seat(seat).map(|seat| seat.listener) {
            self.close_the_spent_of(listener);
        }
        self.rotate_of(seat)
    }

    /// The worker's own seats get nothing new from now on.
    pub(super) fn drain(&mut self, worker: WorkerId) -> Result<(), GroupError> {
        let changed = self.registry.drain(worker);
        for seat in changed {
            self.touched.seat(seat);
            self.rotate_of(seat)?;
        }
        Ok(())
    }

    /// The worker does not hold the seat any more. Where the kernel moves queues and another seat is
    /// there to take them, the seat is closed, soon; else it waits for a worker with all that is queued.
    pub(super) fn let_go(&mut self, seat: SeatId, worker: WorkerId) -> Result<(), GroupError> {
        self.touched.seat(seat);
        if !self.registry.let_go(seat, worker) {
            return Ok(());
        }
        if self.is_deaf(seat) {
            return self.close(seat);
        }
        if self.succeeded.contains(&seat) {
            // Not for the successor, which has another one.
            self.registry.let_go_of_all(seat);
        }
        if !self.migrates_at(seat) && self.succeeded.remove(&seat) {
            self.spent.insert(seat, Handshakes::default());
        }
        self.rotate_of(seat)?;
        if self.transport(seat) == Some(Transport::Udp) && self.can_close(seat) {
            return self.close(seat);
        }
        self.closing.left(seat, Instant::now());
        Ok(())
    }

    /// Whether it has no queue that could wait for anybody, for nobody ever listened.
    fn is_deaf(&self, seat: SeatId) -> bool {
        let is_deaf = |socket| sockopt::socket_acceptconn(socket) == Ok(false);
        self.transport(seat) == Some(Transport::Tcp) && self.socket(seat).is_some_and(is_deaf)
    }

    fn transport(&self, seat: SeatId) -> Option<Transport> {
        self.listener_of(seat).map(|(_, listener)| listener.key.transport)
    }

    /// What would come to the old seat waits in the new one, as soon as the old one drains.
    pub(super) fn succeed(&mut self, old: SeatId, new: SeatId) {
        self.registry.waits(new);
        self.succeeded.insert(old);
        self.touched.seat(new);
        self.touched.seat(old);
    }

    /// Whether what would come to the seat waits elsewhere.
    pub(super) fn is_succeeded(&self, seat: SeatId) -> bool {
        self.succeeded.contains(&seat)
    }

    /// Whether the kernel moves what waits in a seat of the listener that closes.
    pub(super) fn migrates(&self, listener: ListenerId) -> bool {
        self.groups.get(&listener).is_some_and(Group::migrates)
    }

    /// Whether the kernel can be told which of the listener's seats get connections.
    pub(super) fn has_a_rotation(&self, listener: ListenerId) -> bool {
        self.groups.get(&listener).is_some_and(Group::has_a_rotation)
    }

    /// Whether another seat of the listener gets connections.
    pub(super) fn has_others(&self, seat: SeatId) -> bool {
        let listener = self.registry.seat(seat).map(|seat| seat.listener);
        let others = listener.map(|listener| self.registry.rotation(listener));
        others.is_some_and(|others| others.iter().any(|other| *other != seat))
    }

    /// Whether the seat gets connections.
    pub(super) fn is_in_rotation(&self, seat: SeatId) -> bool {
        self.registry.seat(seat).is_some_and(|seat| seat.state == SeatState::InRotation)
    }

    /// The seat gets nothing new until its worker listens again.
    pub(super) fn rest(&mut self, seat: SeatId) -> Result<(), GroupError> {
        self.registry.rest(seat);
        self.touched.seat(seat);
        self.rotate_of(seat)
    }

    /// Tells the kernel who is in rotation for the listener of `seat`.
    fn rotate_of(&mut self, seat: SeatId) -> Result<(), GroupError> {
        let listener = self.registry.seat(seat).map(|seat| seat.listener);
        listener.map_or(Ok(()), |listener| self.rotate(listener))
    }

    /// Tells the kernel who is in rotation.
    pub(super) fn rotate(&mut self, listener: ListenerId) -> Result<(), GroupError> {
        let seats = self.with_turns(listener, self.rotation(listener));
        let any = self.any_in_group(listener);
        let Some(socket) = any.and_then(|seat| self.sockets.get(&seat)) else { return Ok(()) };
        let Some(group) = self.groups.get_mut(&listener) else { return Ok(()) };
        group.rotate(&seats, &socket.fd)
    }

    /// The seats in rotation. If there are none, one that waits for a worker, or whose worker is about to
    /// listen: better a connection that waits than one on a seat whose worker is leaving. Only the one that the
    /// next worker takes: nobody is to wait for that whose predecessor is the last to finish.
    fn rotation(&self, listener: ListenerId) -> Vec<SeatId> {
        let seats = self.registry.rotation(listener);
        if !seats.is_empty() {
            return seats;
        }
        let is_next = |(id, seat): &(SeatId, &Seat)| match seat.state {
            SeatState::Waiting => true,
            SeatState::Joining => self.is_in_the_group(*id),
            SeatState::InRotation | SeatState::Draining => false,
        };
        self.most_awaited(listener, is_next).into_iter().collect()
    }

    /// Forgets a listener whose first seat did not come about.
    pub(super) fn forget_if_empty(&mut self, listener: ListenerId) {
        if self.registry.seats_of(listener).next().is_none() {
            self.registry.remove_listener(listener);
            self.groups.remove(&listener);
            self.touched.listener(listener);
        }
    }
}
