//! Hand-over: the primary accepts, and passes each connection to a worker.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{
    accept::{self, Gate},
    channel::Order,
    event::What,
    input::News,
    task::Task,
    worker::Talk,
};
use crate::{
    core::handover::HandOver,
    id::{ListenerId, WorkerId},
};

/// One listener under hand-over.
#[derive(Debug)]
pub(super) struct Handing {
    queue: HandOver<Arc<OwnedFd>>,
    gate: Gate,
    /// How each worker calls the listener.
    names: BTreeMap<WorkerId, String>,
    /// Connections that each worker took.
    taken: BTreeMap<WorkerId, u64>,
}

impl Handing {
    /// Begins to accept from `socket`.
    pub(super) fn open(listener: ListenerId, socket: OwnedFd, tell: mpsc::Sender<News>) -> Self {
        let gate = accept::start(listener, socket, tell);
        Self { queue: HandOver::default(), gate, names: BTreeMap::new(), taken: BTreeMap::new() }
    }

    pub(super) fn join(&mut self, worker: WorkerId, name: String) {
        self.names.insert(worker, name);
    }

    /// The worker takes no more.
    pub(super) fn leave(&mut self, worker: WorkerId) {
        self.queue.worker_leaving(worker);
        self.names.remove(&worker);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.poll_timeout()
    }

    pub(super) fn taken(&self, worker: WorkerId) -> u64 {
        self.taken.get(&worker).copied().unwrap_or(0)
    }

    /// The workers that take connections.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.names.keys().copied()
    }

    /// Whether connections wait for a worker, or for a worker's answer.
    pub(super) fn is_busy(&self) -> bool {
        self.queue.pending() > 0 || self.queue.in_flight() > 0
    }

    /// Connections accepted that no worker has taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.queue.pending()
    }
}

impl Task {
    /// The worker listens there: it gets connections from now on.
    pub(super) fn join_handing(&mut self, worker: WorkerId, listener: ListenerId) {
        if let Some(handing) = self.handing.get_mut(&listener)
            && handing.names.contains_key(&worker)
        {
            handing.queue.worker_joined(worker);
        }
    }

    /// A connection was accepted.
    pub(super) fn accepted(&mut self, listener: ListenerId, connection: OwnedFd) {
        if let Some(handing) = self.handing.get_mut(&listener) {
            handing.queue.connection(Arc::new(connection));
        }
    }

    /// The app stops: what waits in the kernel's queue is accepted, and then nothing any more.
    pub(super) fn accept_the_rest(&mut self, listener: ListenerId) {
        let seats: Vec<_> =
            self.seats.registry().seats_of(listener).map(|(seat, _)| seat).collect();
        let Some(handing) = self.handing.get_mut(&listener) else { return };
        for seat in &seats {
            while let Some(Ok(connection)) = self.seats.socket(*seat).map(accept::accept_one) {
                handing.queue.connection(Arc::new(connection));
            }
        }
        handing.gate.close();
        for seat in seats {
            // Nothing is to be rotated: no worker holds the socket.
            self.seats.close_socket(seat);
        }
    }

    /// A worker answered for a connection.
    pub(super) fn answered(&mut self, worker: WorkerId, listener: ListenerId, accepted: bool) {
        let Some(handing) = self.handing.get_mut(&listener) else { return };
        // Dropping what it took closes the primary's share.
        drop(handing.queue.reply(worker, accepted));
        if accepted {
            *handing.taken.entry(worker).or_default() += 1;
        }
    }

    /// Gives waiting connections to idle workers.
    pub(super) fn hand_over(&mut self, now: Instant) {
        for (listener, handing) in &mut self.handing {
            while let Some((worker, connection)) = handing.queue.next(now) {
                let fd = Arc::clone(connection);
                let channel = self.workers.get(&worker).and_then(|worker| worker.channel.as_ref());
                let (Some(channel), Some(key)) = (channel, handing.names.get(&worker)) else {
                    handing.queue.worker_left(worker);
                    continue;
                };
                let key = key.clone();
                channel.say(Order::Connection { listener: *listener, key, fd });
            }
            handing.gate.set(handing.queue.wants_more());
        }
    }

    /// The worker is leaving.
    pub(super) fn leave_handing(&mut self, worker: WorkerId) {
        for handing in self.handing.values_mut() {
            handing.queue.worker_leaving(worker);
        }
    }

    /// The worker's channel was read to its end: what it did not answer for goes to others.
    pub(super) fn channel_closed(&mut self, worker: WorkerId) {
        for handing in self.handing.values_mut() {
            handing.queue.worker_left(worker);
            handing.names.remove(&worker);
        }
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.channel = None;
            worker.talk = Talk::Closed(Instant::now());
        }
    }

    /// The worker broke the rules of its channel, and is ended for it. What it has not answered for
    /// goes to others when it is dead: until then it may accept it.
    pub(super) fn channel_broken(&mut self, worker: WorkerId, error: String) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.channel = None;
        }
        self.leave_handing(worker);
        self.misbehaved(worker, error);
    }

    /// Accepting pauses, or goes on again.
    pub(super) fn accept_paused(&mut self, _: ListenerId, reason: Option<std::io::Error>) {
        let what = match reason {
            Some(error) => What::Trouble { doing: "accept connections (pausing)", error },
            None => What::AcceptsAgain,
        };
        self.tell(WorkerId(0), what);
    }

    /// The worker knows of its channel.
    pub(super) fn speaks(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker)
            && worker.talk == Talk::Silent
        {
            worker.talk = Talk::Speaks;
        }
    }

    pub(super) fn order(&self, worker: WorkerId, order: Order) {
        if let Some(channel) = self.workers.get(&worker).and_then(|worker| worker.channel.as_ref())
        {
            channel.say(order);
        }
    }
}
