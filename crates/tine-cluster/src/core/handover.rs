//! Hand-over: the primary accepts, and gives each connection to a worker. Node's own algorithm
//! (`lib/internal/cluster/round_robin_handle.js`) with four things mended.
//!
//! ```text
//!  connection() ─▶ pending, FIFO ─▶ next() ─▶ in flight ─▶ reply(accepted) ─▶ out
//!                     ▲   ▲                    │     │
//!                     │   └──── refused ───────┘     │      at most one in flight per worker;
//!                     └──── front ◀── worker_left() ─┘      idle workers take turns, FIFO
//! ```
//!
//! As in Node, a worker gets its next connection when it has answered for the last, so that one that
//! is blocked holds up one connection at most. Other than in Node:
//!
//! - what a worker had not answered for when it died goes to another, at once and before all others.
//!   Node loses it, and its client hangs;
//! - who refused a connection is remembered. Node hands a connection that all refuse round and round
//!   at full speed; here it rests for [`REST`], or until somebody is idle who has not refused it;
//! - [`HandOver::has_taker`] and [`HandOver::wants_more`] say when to leave connections in the
//!   kernel's queue;
//! - [`HandOver::silent`] names the workers that have not answered for [`PATIENCE`]. Nothing more is
//!   sent to them, and what was sent cannot be taken back while they live.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::id::WorkerId;

/// How long a connection rests that all workers have refused.
pub const REST: Duration = Duration::from_millis(50);

/// A worker that has not answered for so long is called silent.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// With so many pending the primary stops accepting.
pub const MOST_PENDING: usize = 256;

/// The connections of one listener on their way to its workers. `C` is whatever keeps a connection
/// open; it is given up when a worker has accepted it.
#[derive(Debug)]
pub struct HandOver<C> {
    workers: BTreeMap<WorkerId, Worker<C>>,
    /// Those that may be given a connection, the one that has waited longest first.
    idle: VecDeque<WorkerId>,
    pending: VecDeque<Pending<C>>,
}

#[derive(Debug)]
enum Worker<C> {
    Idle,
    Busy(InFlight<C>),
    /// It takes no more, but has one that it may yet accept.
    Leaving(InFlight<C>),
}

#[derive(Debug)]
struct InFlight<C> {
    connection: Pending<C>,
    since: Instant,
}

#[derive(Debug)]
struct Pending<C> {
    connection: C,
    refused_by: BTreeSet<WorkerId>,
    /// All idle workers have refused it; they are not asked again before then.
    rests_until: Option<Instant>,
}

impl<C> Default for HandOver<C> {
    fn default() -> Self {
        Self { workers: BTreeMap::new(), idle: VecDeque::new(), pending: VecDeque::new() }
    }
}

impl<C> HandOver<C> {
    /// This worker listens, and takes its place at the end of the row. Again if it had left off.
    pub fn worker_joined(&mut self, id: WorkerId) {
        let known = match self.workers.remove(&id) {
            None => {
                self.idle.push_back(id);
                Worker::Idle
            }
            Some(Worker::Leaving(in_flight) | Worker::Busy(in_flight)) => Worker::Busy(in_flight),
            Some(Worker::Idle) => Worker::Idle,
        };
        self.workers.insert(id, known);
    }

    /// This worker is alive but takes no more: it was told to leave, or has closed this listener.
    /// What is in flight to it stays with it until it answers ([`Self::reply`]) or dies
    /// ([`Self::worker_left`]), since it may have been accepted already.
    pub fn worker_leaving(&mut self, id: WorkerId) {
        match self.workers.remove(&id) {
            Some(Worker::Busy(in_flight) | Worker::Leaving(in_flight)) => {
                self.workers.insert(id, Worker::Leaving(in_flight));
            }
            Some(Worker::Idle) => self.forget(id),
            None => {}
        }
    }

    /// This worker is dead, and its channel was read to the end: what it has not answered for it has
    /// not seen, and goes to the front.
    pub fn worker_left(&mut self, id: WorkerId) {
        match self.workers.remove(&id) {
            Some(Worker::Busy(in_flight) | Worker::Leaving(in_flight)) => {
                self.pending.push_front(in_flight.connection);
            }
            Some(Worker::Idle) | None => {}
        }
        self.forget(id);
    }

    fn forget(&mut self, id: WorkerId) {
        self.idle.retain(|&other| other != id);
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
    pub fn next(&mut self, now: Instant) -> Option<(WorkerId, &C)> {
        if self.idle.is_empty() {
            return None;
        }
        let (at, id) = (0..self.pending.len()).find_map(|at| Some((at, self.taker(at, now)?)))?;
        let mut connection = self.pending.remove(at)?;
        connection.rests_until = None;
        self.idle.retain(|&other| other != id);
        let worker =
            self.workers.entry(id).insert_entry(Worker::Busy(InFlight { connection, since: now }));
        match worker.into_mut() {
            Worker::Busy(in_flight) | Worker::Leaving(in_flight) => {
                Some((id, &in_flight.connection.connection))
            }
            Worker::Idle => None,
        }
    }

    /// The first idle worker that has not refused the connection.
    fn taker(&mut self, at: usize, now: Instant) -> Option<WorkerId> {
        let pending = &mut self.pending[at];
        match pending.rests_until {
            Some(end) if now >= end => {
                pending.rests_until = None;
                pending.refused_by.clear();
            }
            Some(_) | None => {}
        }
        let taker = self.idle.iter().find(|id| !pending.refused_by.contains(id)).copied();
        if taker.is_none() && pending.rests_until.is_none() {
            // Those that are busy may still take it as soon as they are idle, but one of them may be
            // silent for ever: so the others are asked again.
            pending.rests_until = Some(now + REST);
        }
        taker
    }

    /// A worker has answered for the connection that it was sent. Returns the connection if it was
    /// accepted: this side's share may be closed.
    pub fn reply(&mut self, id: WorkerId, accepted: bool) -> Option<C> {
        let mut in_flight = match self.workers.remove(&id) {
            Some(Worker::Busy(in_flight)) => {
                self.workers.insert(id, Worker::Idle);
                self.idle.push_back(id);
                in_flight
            }
            Some(Worker::Leaving(in_flight)) => {
                self.forget(id);
                in_flight
            }
            Some(Worker::Idle) => {
                self.workers.insert(id, Worker::Idle);
                return None;
            }
            None => return None,
        };
        if accepted {
            return Some(in_flight.connection.connection);
        }
        if self.workers.contains_key(&id) {
            in_flight.connection.refused_by.insert(id);
        }
        self.pending.push_back(in_flight.connection);
        None
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

    /// Whether somebody is idle, so that a new connection can be sent at once.
    #[must_use]
    pub fn has_taker(&self) -> bool {
        !self.idle.is_empty()
    }

    /// The workers that have owed an answer for longer than [`PATIENCE`].
    pub fn silent(&self, now: Instant) -> impl Iterator<Item = WorkerId> {
        let is_silent = move |worker: &Worker<C>| match worker {
            Worker::Busy(sent) | Worker::Leaving(sent) => now >= sent.since + PATIENCE,
            Worker::Idle => false,
        };
        self.workers.iter().filter(move |(_, worker)| is_silent(worker)).map(|(&id, _)| id)
    }

    /// Connections that no worker has been sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Connections that a worker has been sent and has not answered for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let owes = |worker: &&Worker<C>| match worker {
            Worker::Busy(_) | Worker::Leaving(_) => true,
            Worker::Idle => false,
        };
        self.workers.values().filter(owes).count()
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
