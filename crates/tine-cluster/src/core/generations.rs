//! Two generations of an app side by side: the new one fills the places, the old one is kept.
//!
//! ```text
//!   reload begins                all are ready              promoted, or its time is up
//!  ────────────────▶ gathering ───────────────▶ standing ───────────────────────────▶ old ones leave
//!                        │ failed                   │ reverted
//!                        ▼                          ▼
//!            the old ones fill their places again, the new ones leave
//! ```
//!
//! What the old ones do meanwhile is said by [`Beside`]: nothing ([`Beside::Aside`]), or their part of
//! the work ([`Beside::Canary`]). A machine without clock or I/O: it is told what happened, and says who
//! is to leave and who returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use super::after;
use crate::id::{Instance, SeatId, WorkerId};

/// Turns of a whole rotation, at most: what the kernel's table holds.
const MOST_TURNS: usize = 4096;

/// A part of all connections, in percent: 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// `None` for what leaves one of two generations nothing at all.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value >= 1 && value <= 99 { Some(Self(value)) } else { None }
    }

    /// The number that it was made from.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// What becomes of the old workers when their successors are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// They get nothing new, and live on for so long: a way back that takes no start.
    Aside(Duration),
    /// They serve on; all successors together get this part of the connections.
    Canary(Percent),
}

/// Who is kept, and for how long.
#[derive(Clone, Debug)]
pub struct Generations {
    beside: Beside,
    old: BTreeMap<Instance, WorkerId>,
    standing: bool,
    until: Option<Instant>,
}

impl Generations {
    /// A reload begins that keeps the old workers.
    #[must_use]
    pub const fn new(beside: Beside) -> Self {
        Self { beside, old: BTreeMap::new(), standing: false, until: None }
    }

    /// What was asked for.
    #[must_use]
    pub const fn beside(&self) -> Beside {
        self.beside
    }

    /// The place has its new worker; this old one is kept.
    pub fn replaced(&mut self, instance: Instance, old: WorkerId) {
        self.old.insert(instance, old);
    }

    /// Every place has its new worker. The time of those that are aside begins.
    pub fn settled(&mut self, now: Instant) {
        self.standing = true;
        self.until = match self.beside {
            Beside::Aside(time) => Some(after(now, time)),
            Beside::Canary(_) => None,
        };
    }

    /// Whether the reload has come to its end, and both generations stand.
    #[must_use]
    pub const fn is_standing(&self) -> bool {
        self.standing
    }

    /// Nothing is left of the worker.
    pub fn gone(&mut self, worker: WorkerId) {
        self.old.retain(|_, old| *old != worker);
    }

    /// Whether this worker is kept.
    #[must_use]
    pub fn keeps(&self, worker: WorkerId) -> bool {
        self.old.values().any(|old| *old == worker)
    }

    /// Whether this worker is kept, and gets nothing.
    #[must_use]
    pub fn keeps_aside(&self, worker: WorkerId) -> bool {
        matches!(self.beside, Beside::Aside(_)) && self.keeps(worker)
    }

    /// Who is kept, by place.
    pub fn old(&self) -> impl Iterator<Item = (Instance, WorkerId)> {
        self.old.iter().map(|(instance, worker)| (*instance, *worker))
    }

    /// When [`Self::is_over`] is to be asked.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Whether there is no way back any more: the time is up, or those who were aside have gone. A canary
    /// whose old workers have all gone still waits for its owner's word.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        match self.beside {
            Beside::Aside(_) if self.standing => {
                self.old.is_empty() || self.until.is_some_and(|until| until <= now)
            }
            Beside::Aside(_) | Beside::Canary(_) => false,
        }
    }
}

/// The turns of a rotation in which `new` get `part` of the connections and `old` the rest, each seat of a
/// generation as many as the others, and the generations mixed as evenly as can be.
///
/// Where one generation is empty the other gets all.
#[must_use]
pub fn turns(old: &[SeatId], new: &[SeatId], part: Percent) -> Vec<SeatId> {
    if old.is_empty() || new.is_empty() {
        return [old, new].concat();
    }
    let whole = 100 * old.len().max(new.len());
    let whole = whole.min(MOST_TURNS);
    let (mut of_old, mut of_new) = (old.iter().cycle(), new.iter().cycle());
    let part = usize::from(part.get());
    // The new ones' turn is where the running total passes a whole number.
    let is_new = |turn: usize| (turn + 1) * part / 100 > turn * part / 100;
    let next = |turn| if is_new(turn) { of_new.next() } else { of_old.next() };
    (0..whole).filter_map(next).copied().collect()
}

/// A rotation's seats, parted by who holds them.
#[must_use]
pub fn parted(
    seats: Vec<(SeatId, Vec<WorkerId>)>,
    kept: &BTreeSet<WorkerId>,
) -> (Vec<SeatId>, Vec<SeatId>) {
    let is_old = |holders: &[WorkerId]| holders.iter().any(|holder| kept.contains(holder));
    let (old, new): (Vec<_>, Vec<_>) = seats.into_iter().partition(|(_, holders)| is_old(holders));
    let ids = |seats: Vec<(SeatId, _)>| seats.into_iter().map(|(seat, _)| seat).collect();
    (ids(old), ids(new))
}

#[cfg(test)]
#[path = "generations_tests.rs"]
mod tests;
