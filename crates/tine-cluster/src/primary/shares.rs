//! How many turns each generation of workers has while a canary is tried.
//!
//! The kernel's program knows of no generations: a seat that is to get more is more often in the list that
//! it goes round. So what is told of `rr` and `sticky` holds here too, over turns in place of seats.

use std::{collections::BTreeSet, io};

use super::{balance::GroupError, seats::Seats, task::Task};
use crate::{
    core::generations::{Percent, parted, turns},
    id::{ListenerId, SeatId, WorkerId},
};

/// The workers of the old generation, and the part of all others.
pub(super) type Shares = (BTreeSet<WorkerId>, Percent);

impl Task {
    /// Shares out in this way from now on; evenly, where nothing is said.
    pub(super) fn share_out(&mut self, shares: Option<Shares>) {
        if let Err(error) = self.seats.share_out(shares) {
            self.trouble(WorkerId(0), "share connections out", io::Error::other(error));
        }
    }
}

impl Seats {
    fn share_out(&mut self, shares: Option<Shares>) -> Result<(), GroupError> {
        if self.shares.is_none() && shares.is_none() {
            return Ok(());
        }
        self.shares = shares;
        let all: Vec<ListenerId> = self.registry().listeners().map(|(id, _)| id).collect();
        all.into_iter().try_for_each(|listener| self.rotate(listener))
    }

    /// The seats with their turns.
    pub(super) fn with_turns(&self, listener: ListenerId, seats: Vec<SeatId>) -> Vec<SeatId> {
        let Some((old, part)) = self.shares.as_ref().filter(|_| self.migrates(listener)) else {
            return seats;
        };
        let holders = |seat| self.registry().seat(seat).map(|it| it.holders.clone());
        let seats = seats.into_iter().map(|seat| (seat, holders(seat).unwrap_or_default()));
        let (old, new) = parted(seats.collect(), old);
        turns(&old, &new, *part)
    }
}
