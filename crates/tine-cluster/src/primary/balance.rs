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
                let program = reuseport::program(*draw, &table)?;
                reuseport::attach(any, &program).map_err(GroupError::Attach)
            }
            // Until it is loaded, the kernel's hash chooses.
            Self::Loading { .. } | Self::Plain => Ok(()),
        }
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
