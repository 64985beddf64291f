//! Carries out a listener's policy on its group of sockets.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
};

use thiserror::Error;
use tine_linux::{
    balance::{Balance, BalanceError, Balancer, KernelOffsets, Slot},
    reuseport::{self, Draw, TooLong},
};

use super::records::GroupRecord;
use crate::{
    core::order::Order,
    id::SeatId,
    policy::{Choice, Mechanism, Policy},
};

/// Who gets the next connection of one listener, as the kernel was told.
#[derive(Debug)]
pub(super) enum Group {
    /// An eBPF program that is being loaded; until then the kernel's own hash chooses.
    Loading {
        /// Who has joined meanwhile, in the kernel's order.
        order: Order,
    },
    /// An eBPF program over slots.
    Ebpf(Box<Slots>),
    /// A classic BPF program over the kernel's order of the group.
    Cbpf {
        /// By what it draws.
        draw: Draw,
        /// Where each seat stands.
        order: Order,
    },
    /// Nothing to be told: one socket, or the kernel's own hash.
    Plain,
}

/// The slots of an eBPF program.
#[derive(Debug)]
pub(super) struct Slots {
    balancer: Balancer,
    attached: bool,
    of: BTreeMap<SeatId, Slot>,
}

/// Why the kernel was not told.
#[derive(Debug, Error)]
pub(super) enum GroupError {
    /// The eBPF program.
    #[error(transparent)]
    Ebpf(#[from] BalanceError),
    /// Too many workers for one program.
    #[error("there are as many workers as one program may serve ({})", Slot::COUNT)]
    Full,
    /// The classic program.
    #[error(transparent)]
    Cbpf(#[from] TooLong),
    /// Attaching the classic program.
    #[error("attach the choosing program to a listener")]
    Attach(#[source] io::Error),
}

impl Group {
    /// Prepares a group for this choice. Under eBPF its program is yet to come: [`Self::loaded`].
    pub(super) fn new(choice: Choice) -> Self {
        match choice.mechanism {
            Mechanism::KernelEbpf => Self::Loading { order: Order::default() },
            Mechanism::KernelCbpf => Self::cbpf(choice.policy, Order::default()),
            Mechanism::KernelHash | Mechanism::OneQueue | Mechanism::HandOver => Self::Plain,
        }
    }

    const fn cbpf(policy: Policy, order: Order) -> Self {
        Self::Cbpf { draw: draw(policy), order }
    }

    /// Another policy holds, as soon as the rotation is told again. `any` is a socket of the group.
    pub(super) fn follow(&mut self, policy: Policy, any: impl AsFd) -> Result<(), GroupError> {
        match self {
            Self::Ebpf(slots) => Ok(slots.balancer.set_policy(balance(policy), any)?),
            Self::Cbpf { draw: by, .. } => {
                *by = draw(policy);
                Ok(())
            }
            Self::Loading { .. } | Self::Plain => Ok(()),
        }
    }

    /// The group of another process's primary. Without the balancer that it should have, its program is
    /// yet to come.
    pub(super) fn adopt(
        choice: Choice,
        members: GroupRecord,
        (balancer, knows_queues): (Vec<OwnedFd>, bool),
    ) -> Result<Self, GroupError> {
        let mut order = Order::default();
        members.order.into_iter().for_each(|seat| order.joined(seat));
        if let Ok(descriptors) = <[OwnedFd; 5]>::try_from(balancer) {
            let balancer = Balancer::adopt(descriptors, balance(choice.policy), knows_queues)?;
            let slots = members.slots.into_iter();
            let of: BTreeMap<SeatId, Slot> =
                slots.filter_map(|(seat, slot)| Some((seat, Slot::new(slot)?))).collect();
            return Ok(Self::Ebpf(Box::new(Slots { balancer, attached: !of.is_empty(), of })));
        }
        Ok(match choice.mechanism {
            Mechanism::KernelEbpf => Self::Loading { order },
            Mechanism::KernelCbpf => Self::cbpf(choice.policy, order),
            Mechanism::KernelHash | Mechanism::OneQueue | Mechanism::HandOver => Self::Plain,
        })
    }

    /// For a successor's [`Self::adopt`].
    pub(super) fn record(&self) -> GroupRecord {
        match self {
            Self::Ebpf(slots) => GroupRecord {
                slots: slots.of.iter().map(|(seat, slot)| (*seat, slot.number())).collect(),
                order: Vec::new(),
            },
            Self::Loading { order } | Self::Cbpf { order, .. } => {
                GroupRecord { slots: Vec::new(), order: order.seats().to_vec() }
            }
            Self::Plain => GroupRecord::default(),
        }
    }

    /// The program, where there is one.
    pub(super) fn balancer(&self) -> Option<&Balancer> {
        match self {
            Self::Ebpf(slots) => Some(&slots.balancer),
            Self::Loading { .. } | Self::Cbpf { .. } | Self::Plain => None,
        }
    }

    /// Here is the program. Gives the seats that have joined meanwhile, to join again.
    pub(super) fn loaded(&mut self, balancer: Balancer) -> Vec<SeatId> {
        let slots = Slots { balancer, attached: false, of: BTreeMap::new() };
        match std::mem::replace(self, Self::Ebpf(Box::new(slots))) {
            Self::Loading { order } => order.seats().to_vec(),
            Self::Ebpf(_) | Self::Cbpf { .. } | Self::Plain => Vec::new(),
        }
    }

    /// There is no program: a classic one does what it can.
    pub(super) fn do_without(&mut self, policy: Policy) {
        if let Self::Loading { order } = self {
            *self = Self::cbpf(policy, std::mem::take(order));
        }
    }

    /// Whether the program is yet to come.
    pub(super) const fn is_loading(&self) -> bool {
        matches!(self, Self::Loading { .. })
    }

    /// The seat's socket has begun to listen: the kernel has added it to the group.
    pub(super) fn joined(&mut self, seat: SeatId, socket: impl AsFd) -> Result<(), GroupError> {
        match self {
            Self::Ebpf(slots) => slots.joined(seat, socket),
            Self::Loading { order } | Self::Cbpf { order, .. } => {
                order.joined(seat);
                Ok(())
            }
            Self::Plain => Ok(()),
        }
    }

    /// The seat's socket is about to be closed.
    pub(super) fn left(&mut self, seat: SeatId) -> Result<(), GroupError> {
        match self {
            Self::Ebpf(slots) => slots.left(seat),
            Self::Loading { order } | Self::Cbpf { order, .. } => {
                order.left(seat);
                Ok(())
            }
            Self::Plain => Ok(()),
        }
    }

    /// These seats, in this order, get the connections from now on. `any` is a socket of the group.
    pub(super) fn rotate(&mut self, seats: &[SeatId], any: impl AsFd) -> Result<(), GroupError> {
        match self {
            Self::Ebpf(slots) => slots.rotate(seats),
            Self::Cbpf { draw, order } => {
                let table: Vec<u32> = seats.iter().filter_map(|seat| order.index(*seat)).collect();
                attach(*draw, &table, any)
            }
            // Until it is loaded, the kernel's hash chooses.
            Self::Loading { .. } | Self::Plain => Ok(()),
        }
    }

    /// The same before `leaving` is closed, so that nothing goes astray until [`Self::rotate`] is told
    /// what has become of the others: a classic program means them by their place in the kernel's order,
    /// and the last of them moves in that moment. Its turns are another's meanwhile.
    pub(super) fn rotate_without(
        &mut self,
        leaving: SeatId,
        seats: &[SeatId],
        any: impl AsFd,
    ) -> Result<(), GroupError> {
        if let Self::Cbpf { draw, order } = self {
            let steady = seats.iter().map(|seat| order.steady_index(*seat, leaving));
            if let Some(other) = steady.clone().flatten().next() {
                let table: Vec<u32> = steady.map(|index| index.unwrap_or(other)).collect();
                return attach(*draw, &table, any);
            }
        }
        self.rotate(seats, any)
    }

    /// Whether no connection goes astray when `leaving` is closed while these are in rotation. In the moment
    /// in which a classic program means nobody the kernel's hash chooses, among all who are left.
    pub(super) fn can_do_without(&self, leaving: SeatId, seats: &[SeatId]) -> bool {
        let Self::Cbpf { order, .. } = self else { return true };
        let mut others = order.seats().iter().filter(|seat| **seat != leaving);
        others.all(|seat| seats.contains(seat))
            || seats.iter().any(|seat| order.steady_index(*seat, leaving).is_some())
    }

    /// Connections that the seat was given so far; `None` where nobody counts.
    pub(super) fn taken(&self, seat: SeatId) -> Option<u64> {
        match self {
            Self::Ebpf(slots) => slots.balancer.taken(*slots.of.get(&seat)?).ok(),
            Self::Loading { .. } | Self::Cbpf { .. } | Self::Plain => None,
        }
    }

    /// Whether it does what [`Self::rotate`] says.
    pub(super) const fn has_a_rotation(&self) -> bool {
        match self {
            Self::Ebpf(_) | Self::Cbpf { .. } => true,
            Self::Loading { .. } | Self::Plain => false,
        }
    }

    /// Whether closing a seat moves its queue to the others.
    pub(super) const fn migrates(&self) -> bool {
        matches!(self, Self::Ebpf(_))
    }
}

fn attach(draw: Draw, table: &[u32], any: impl AsFd) -> Result<(), GroupError> {
    let program = reuseport::program(draw, table)?;
    reuseport::attach(any, &program).map_err(GroupError::Attach)
}

const fn balance(policy: Policy) -> Balance {
    match policy {
        Policy::Sticky => Balance::Sticky,
        Policy::Rr | Policy::Random | Policy::Shared => Balance::RoundRobin,
    }
}

const fn draw(policy: Policy) -> Draw {
    match policy {
        Policy::Sticky => Draw::ClientAddress,
        Policy::Rr | Policy::Random | Policy::Shared => Draw::Random,
    }
}

/// Loads the program for a listener: a few milliseconds of the kernel's verifier, and of reading where
/// this kernel keeps the lengths of its queues. Workers start and bind meanwhile.
pub(super) fn load(
    policy: Policy,
    known: Option<KernelOffsets>,
) -> Result<(Balancer, Option<KernelOffsets>), BalanceError> {
    let balance = balance(policy);
    // Without type information the rotation is strict.
    let offsets = known.or_else(|| KernelOffsets::read().ok());
    match Balancer::load(balance, offsets.as_ref()) {
        Ok(balancer) => Ok((balancer, offsets)),
        // A kernel that is locked down lets nobody read its memory.
        Err(_) if offsets.is_some() => Ok((Balancer::load(balance, None)?, None)),
        Err(error) => Err(error),
    }
}

impl Slots {
    fn joined(&mut self, seat: SeatId, socket: impl AsFd) -> Result<(), GroupError> {
        if self.of.contains_key(&seat) {
            return Ok(());
        }
        if !self.attached {
            self.balancer.attach(&socket)?;
            self.attached = true;
        }
        let slot = self.free().ok_or(GroupError::Full)?;
        self.balancer.reset_taken(slot)?;
        self.balancer.place(slot, socket)?;
        self.of.insert(seat, slot);
        Ok(())
    }

    fn left(&mut self, seat: SeatId) -> Result<(), GroupError> {
        let Some(slot) = self.of.remove(&seat) else { return Ok(()) };
        Ok(self.balancer.clear(slot)?)
    }

    fn rotate(&mut self, seats: &[SeatId]) -> Result<(), GroupError> {
        let slots: Vec<Slot> = seats.iter().filter_map(|seat| self.of.get(seat).copied()).collect();
        Ok(self.balancer.set_rotation(&slots)?)
    }

    fn free(&self) -> Option<Slot> {
        let used: std::collections::BTreeSet<Slot> = self.of.values().copied().collect();
        (0..Slot::COUNT).filter_map(Slot::new).find(|slot| !used.contains(slot))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

    use rustix::net::{
        AddressFamily, Shutdown, SocketType, bind, listen, shutdown, socket, sockopt,
    };

    use super::*;

    /// Sockets of one port, in the kernel's order, and the port.
    fn members(count: u32) -> (Vec<OwnedFd>, u16) {
        let mut address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let members = (0..count).map(|_| {
            let member = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            sockopt::set_socket_reuseport(&member, true).unwrap();
            bind(&member, &address).unwrap();
            listen(&member, 4096).unwrap();
            address = rustix::net::getsockname(&member).unwrap().try_into().unwrap();
            member
        });
        (members.collect(), address.port())
    }

    fn queue(member: &OwnedFd) -> u32 {
        tine_linux::socket::accept_queue(member).unwrap().length
    }

    #[test]
    fn between_the_end_of_one_socket_and_the_next_word_to_the_kernel_nothing_goes_astray() {
        let (members, port) = members(4);
        let mut group = Group::cbpf(Policy::Random, Order::default());
        for (seat, member) in (0..).map(SeatId).zip(&members) {
            group.joined(seat, member).unwrap();
        }
        let serving = [SeatId(2), SeatId(3)];
        assert!(group.can_do_without(SeatId(0), &serving));
        group.rotate_without(SeatId(0), &serving, &members[2]).unwrap();
        shutdown(&members[0], Shutdown::Both).unwrap();
        let clients = (0..64).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
        let clients: Vec<TcpStream> = clients.collect();
        let queues: Vec<u32> = members[1..].iter().map(queue).collect();
        assert_eq!(queues, [0, 64, 0]);
        group.left(SeatId(0)).unwrap();
        group.rotate(&serving, &members[2]).unwrap();
        let more = (0..64).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
        let more: Vec<TcpStream> = more.collect();
        let queues: Vec<u32> = members[1..].iter().map(queue).collect();
        assert!(queues[0] == 0 && queues[2] > 0, "{queues:?}");
        assert_eq!(queues[1..].iter().sum::<u32>() as usize, clients.len() + more.len());
    }

    #[test]
    fn a_socket_stays_whose_end_would_leave_the_choice_to_chance() {
        let mut group = Group::cbpf(Policy::Random, Order::default());
        let any = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
        (0..3).for_each(|seat| group.joined(SeatId(seat), &any).unwrap());
        let can = |group: &Group, seat| group.can_do_without(SeatId(seat), &[SeatId(2)]);
        assert!(!can(&group, 0), "the only one that serves would move, beside one that does not");
        group.joined(SeatId(3), &any).unwrap();
        assert!(can(&group, 0), "another moves");
        group.left(SeatId(3)).unwrap();
        group.left(SeatId(1)).unwrap();
        assert!(can(&group, 0), "only one is left, whoever chooses");
    }
}
