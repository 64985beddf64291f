//! Hand-over: the primary accepts, and gives each connection to a worker. Node's own algorithm
//! (`lib/internal/cluster/round_robin_handle.js`) with four things mended.
//!
//! ```text
//!  connection() ─▶ pending, FIFO ─▶ next() ─▶ in flight ─▶ reply(accepted) ─▶ out
//!                     ▲   ▲                    │     │
//!                     │   └──── refused ───────┘     │      idle workers take turns, FIFO
//!                     └──── front ◀── worker_left() ─┘
//! ```
//!
//! As in Node, idle workers take turns, and a worker that is blocked holds up what it was sent and no
//! more. Other than in Node:
//!
//! - with nobody idle, a worker that has answered within the last [`AHEAD`] may be sent a second one. It
//!   has that at hand when it has answered for the first, where it would have to wait until the primary
//!   has heard of it. One that is blocked is silent, and gets nothing;
//! - what a worker had not answered for when it died goes to another, at once and before all others.
//!   Node loses it, and its client hangs;
//! - who refused a connection is remembered. Node hands a connection that all refuse round and round
//!   at full speed; here it rests for [`REST`], or until somebody is idle who has not refused it;
//! - [`HandOver::has_taker`] and [`HandOver::wants_more`] say when to leave connections in the
//!   kernel's queue.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::id::WorkerId;

/// How long a connection rests that all workers have refused.
pub const REST: Duration = Duration::from_millis(50);

/// So long after an answer a worker with one connection in flight may be sent a second one. Several times
/// what a worker that is not blocked takes to answer.
pub const AHEAD: Duration = Duration::from_millis(2);

/// With so many pending the primary stops accepting.
pub const MOST_PENDING: usize = 256;

/// The connections of one listener on their way to its workers. `C` is whatever keeps a connection
/// open; it is given up when a worker has accepted it.
#[derive(Debug)]
pub struct HandOver<C> {
    workers: BTreeMap<WorkerId, Worker<C>>,
    /// Those that owe nothing, the one that has waited longest first.
    idle: VecDeque<WorkerId>,
    /// Those with one connection in flight that have answered a moment ago, the one that has had it
    /// longest first.
    lively: VecDeque<WorkerId>,
    pending: VecDeque<Pending<C>>,
    /// The number of the last connection that was sent.
    last: u64,
}

#[derive(Debug)]
struct Worker<C> {
    /// Two at most, the older first.
    in_flight: VecDeque<InFlight<C>>,
    /// It takes no more, but may yet accept what it has.
    leaving: bool,
    /// When it last answered.
    answered: Option<Instant>,
}

#[derive(Debug)]
struct InFlight<C> {
    number: u64,
    connection: Pending<C>,
}

#[derive(Debug)]
struct Pending<C> {
    connection: C,
    refused_by: BTreeSet<WorkerId>,
    /// All who could take it have refused it; they are not asked again before then.
    rests_until: Option<Instant>,
}

impl<C> Default for Worker<C> {
    fn default() -> Self {
        Self { in_flight: VecDeque::new(), leaving: false, answered: None }
    }
}

/// A connection that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent<'a, C> {
    /// To whom.
    pub to: WorkerId,
    /// What its answer has to name, see [`HandOver::reply`].
    pub number: u64,
    /// It stays here until it is answered for.
    pub connection: &'a C,
}

impl<C> Default for HandOver<C> {
    fn default() -> Self {
        Self {
            workers: BTreeMap::new(),
            idle: VecDeque::new(),
            lively: VecDeque::new(),
            pending: VecDeque::new(),
            last: 0,
        }
    }
}

impl<C> HandOver<C> {
    /// This worker listens, and takes its place at the end of the row. Again if it had left off.
    pub fn worker_joined(&mut self, id: WorkerId) {
        if let Some(known) = self.workers.get_mut(&id) {
            if known.leaving {
                known.leaving = false;
                known.answered = None;
            }
            return;
        }
        self.workers.insert(id, Worker::default());
        self.idle.push_back(id);
    }

    /// This worker is alive but takes no more: it was told to leave, or has closed this listener.
    /// What is in flight to it stays with it until it answers ([`Self::reply`]) or dies
    /// ([`Self::worker_left`]), since it may have been accepted already.
    pub fn worker_leaving(&mut self, id: WorkerId) {
        self.takes_no_more(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.leaving = true;
        if worker.in_flight.is_empty() {
            self.forget(id);
        }
    }

    /// This worker is dead, and its channel was read to the end: what it has not answered for it has
    /// not seen, and goes to the front.
    pub fn worker_left(&mut self, id: WorkerId) {
        let in_flight =
            self.workers.get_mut(&id).map(|worker| std::mem::take(&mut worker.in_flight));
        for sent in in_flight.into_iter().flatten().rev() {
            self.pending.push_front(sent.connection);
        }
        self.takes_no_more(id);
        self.forget(id);
    }

    fn takes_no_more(&mut self, id: WorkerId) {
        self.idle.retain(|&other| other != id);
        self.lively.retain(|&other| other != id);
    }

    fn forget(&mut self, id: WorkerId) {
        self.workers.remove(&id);
        for pending in &mut self.pending {
            pending.refused_by.remove(&id);
        }
    }

    /// A connection was accepted.
    pub fn connection(&mut self, connection: C) {
        let refused_by = BTreeSet::new();
        self.pending.push_back(Pending { connection, refused_by, rests_until: None });
    }

    /// Who is to be sent what, if anything can be sent now. To be called until it says `None` after
    /// every other method, and at [`Self::poll_timeout`].
    #[must_use = "the connection counts as sent"]
    pub fn next(&mut self, now: Instant) -> Option<Sent<'_, C>> {
        if !self.has_taker(now) {
            return None;
        }
        let (at, id) = (0..self.pending.len()).find_map(|at| Some((at, self.taker(at, now)?)))?;
        let mut connection = self.pending.remove(at)?;
        connection.rests_until = None;
        self.last += 1;
        let number = self.last;
        let was_idle = self.idle.contains(&id);
        self.takes_no_more(id);
        if was_idle {
            self.lively.push_back(id);
        }
        let in_flight = &mut self.workers.get_mut(&id)?.in_flight;
        in_flight.push_back(InFlight { number, connection });
        let connection = &in_flight.back()?.connection.connection;
        Some(Sent { to: id, number, connection })
    }

    /// The first idle worker that has not refused the connection, or the first that is about to be.
    fn taker(&mut self, at: usize, now: Instant) -> Option<WorkerId> {
        let pending = &mut self.pending[at];
        match pending.rests_until {
            Some(end) if now >= end => {
                pending.rests_until = None;
                pending.refused_by.clear();
            }
            Some(_) | None => {}
        }
        let mut takers = self.idle.iter().chain(&self.lively);
        let taker = takers.find(|id| !pending.refused_by.contains(id)).copied();
        if taker.is_none() && pending.rests_until.is_none() {
            // Those that are busy may still take it as soon as they are idle, but one of them may be
            // silent for ever: so the others are asked again.
            pending.rests_until = Some(now + REST);
        }
        taker
    }

    /// A worker has answered for the connection of this number that it was sent. Returns the connection
    /// if it was accepted: this side's share may be closed.
    pub fn reply(&mut self, id: WorkerId, number: u64, accepted: bool, now: Instant) -> Option<C> {
        let worker = self.workers.get_mut(&id)?;
        let place = worker.in_flight.iter().position(|sent| sent.number == number)?;
        let mut connection = worker.in_flight.remove(place)?.connection;
        worker.answered = Some(now);
        let stays = self.owes_less(id);
        if accepted {
            return Some(connection.connection);
        }
        if stays {
            connection.refused_by.insert(id);
        }
        self.pending.push_back(connection);
        None
    }

    /// The worker owes one answer less. Whether it is still known.
    fn owes_less(&mut self, id: WorkerId) -> bool {
        self.takes_no_more(id);
        let Some(worker) = self.workers.get(&id) else { return false };
        match (worker.leaving, worker.in_flight.is_empty()) {
            (false, true) => self.idle.push_back(id),
            (false, false) => self.lively.push_back(id),
            (true, true) => {
                self.forget(id);
                return false;
            }
            (true, false) => {}
        }
        true
    }

    /// When [`Self::next`] may have something to say without any other event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Without an idle worker there is nobody to ask: an answer comes first.
        let rests = self.pending.iter().filter_map(|pending| pending.rests_until);
        if self.idle.is_empty() { None } else { rests.min() }
    }

    /// Whether to accept another connection, or to leave it in the kernel's queue.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.pending.len() < MOST_PENDING
    }

    /// Whether there is somebody to whom a new connection can be sent at once.
    #[must_use]
    pub fn has_taker(&mut self, now: Instant) -> bool {
        let workers = &self.workers;
        let answered = |id: &WorkerId| workers.get(id).and_then(|worker| worker.answered);
        self.lively.retain(|id| answered(id).is_some_and(|at| now < at + AHEAD));
        !self.idle.is_empty() || !self.lively.is_empty()
    }

    /// Connections that no worker has been sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Those connections, in the order in which they are sent.
    pub fn connections(&self) -> impl Iterator<Item = &C> {
        self.pending.iter().map(|pending| &pending.connection)
    }

    /// Connections that a worker has been sent and has not answered for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.workers.values().map(|worker| worker.in_flight.len()).sum()
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
