//! Seats and listeners as records, for a successor, and back.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{Seats, Socket};
use crate::{
    core::registry::{Listener, Seat, SeatState},
    id::{ListenerId, SeatId},
    primary::{
        balance::{Group, GroupError},
        caller::Options,
        leaving::Handshakes,
        records::{GroupRecord, ListenerRecord, SeatNow, SeatRecord},
    },
};

/// What has changed since it was last recorded.
#[derive(Debug, Default)]
pub(in crate::primary) struct Touched {
    pub(in crate::primary) seats: BTreeSet<SeatId>,
    pub(in crate::primary) listeners: BTreeSet<ListenerId>,
    pub(in crate::primary) groups: BTreeSet<ListenerId>,
}

impl Touched {
    pub(super) fn seat(&mut self, seat: SeatId) {
        self.seats.insert(seat);
    }

    pub(super) fn listener(&mut self, listener: ListenerId) {
        self.listeners.insert(listener);
        self.groups.insert(listener);
    }

    pub(super) fn group(&mut self, listener: ListenerId) {
        self.groups.insert(listener);
    }
}

impl Seats {
    /// What has changed since this was asked last.
    pub(in crate::primary) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// `None`: it is closed.
    pub(in crate::primary) fn seat_record(
        &self,
        seat: SeatId,
    ) -> Option<(SeatRecord, SeatNow, BorrowedFd<'_>)> {
        let (entry, socket) = (self.registry.seat(seat)?, self.sockets.get(&seat)?);
        let now = SeatNow {
            instance: entry.instance,
            holders: entry.holders.clone(),
            state: entry.state,
            listens: socket.listens,
            reuseaddr: socket.options.reuseaddr,
            reuseport: socket.options.reuseport,
            succeeded: self.succeeded.contains(&seat),
        };
        let record = SeatRecord { listener: entry.listener, inode: Some(socket.inode) };
        Some((record, now, socket.fd.as_fd()))
    }

    /// `None`: there is no such listener any more.
    pub(in crate::primary) fn listener_record(
        &self,
        id: ListenerId,
    ) -> Option<(ListenerRecord, Vec<BorrowedFd<'_>>)> {
        let (listener, group) = (self.registry.listener(id)?, self.groups.get(&id)?);
        let balancer = group.balancer();
        let record = ListenerRecord {
            key: listener.key.clone(),
            choice: listener.choice,
            acquisition: listener.acquisition,
            balancer: balancer.map(tine_linux::balance::Balancer::knows_queues),
        };
        let descriptors = balancer.map(|it| it.descriptors().to_vec()).unwrap_or_default();
        Some((record, descriptors))
    }

    /// Who is in the listener's group.
    pub(in crate::primary) fn group_record(&self, id: ListenerId) -> Option<GroupRecord> {
        self.groups.get(&id).map(Group::record)
    }

    /// Takes over a listener without its seats.
    pub(in crate::primary) fn adopt_listener(
        &mut self,
        id: ListenerId,
        record: ListenerRecord,
        (members, balancer): (GroupRecord, Vec<OwnedFd>),
    ) -> Result<(), GroupError> {
        let knows_queues = record.balancer.unwrap_or(false);
        let group = Group::adopt(record.choice, members, (balancer, knows_queues))?;
        let ListenerRecord { key, choice, acquisition, .. } = record;
        self.registry.adopt_listener(id, Listener { key, choice, acquisition });
        self.groups.insert(id, group);
        Ok(())
    }

    /// Takes over a seat as it was.
    pub(in crate::primary) fn adopt_seat(
        &mut self,
        id: SeatId,
        listener: ListenerId,
        (now, fd): (SeatNow, OwnedFd),
    ) -> io::Result<()> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        let options = Options { reuseaddr: now.reuseaddr, reuseport: now.reuseport };
        let socket = Socket { fd, inode, waited: false, options, listens: now.listens };
        self.sockets.insert(id, socket);
        if now.succeeded {
            self.succeeded.insert(id);
        }
        let is_left = now.holders.is_empty();
        if is_left && now.state == SeatState::Draining && !now.succeeded {
            self.spent.insert(id, Handshakes::default());
        }
        let SeatNow { instance, holders, state, .. } = now;
        self.registry.adopt_seat(id, Seat { listener, instance, holders, state });
        if is_left {
            self.closing.left(id, std::time::Instant::now());
        }
        Ok(())
    }

    /// No number is given twice.
    pub(in crate::primary) fn go_on(&mut self, next: (u32, u32)) {
        self.registry.go_on(next);
    }
}
