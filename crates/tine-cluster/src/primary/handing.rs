//! Hand-over: the primary accepts, and passes each connection to a worker.
//!
//! A connection is accepted when it is sent to a worker ([`Ticket`]). While all are busy it waits in the
//! kernel, where the primary's end does not touch it; only if that lasts for [`CROWDED`], and the kernel's queue
//! has come to half of its limit, is it emptied into the primary's.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    accept::{self, Source, Taken},
    channel::Order,
    event::What,
    input::News,
    task::Task,
    ticket::Ticket,
    worker::{Talk, Worker},
};
use crate::{
    core::handover::{HandOver, Sent},
    id::{ListenerId, WorkerId},
};

/// With all workers busy for so long connections are accepted without a taker. Longer than a worker
/// that is not blocked takes to answer, shorter than a burst takes to fill a backlog.
const CROWDED: Duration = Duration::from_millis(5);

/// A connection that a worker was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    /// Of which listener.
    pub(super) listener: ListenerId,
    /// Its number there.
    pub(super) number: u64,
}

/// One listener under hand-over.
#[derive(Debug)]
pub(super) struct Handing {
    queue: HandOver<Arc<Ticket>>,
    /// Nothing is accepted any more without it.
    source: Option<Source>,
    /// Since when connections may have waited for a worker.
    crowded: Option<Instant>,
    /// How each worker calls the listener.
    names: BTreeMap<WorkerId, Arc<str>>,
    /// Connections that each worker took.
    taken: BTreeMap<WorkerId, u64>,
}

impl Handing {
    /// Begins to accept from `socket`.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch one more descriptor.
    pub(super) fn open(
        listener: ListenerId,
        socket: OwnedFd,
        tell: mpsc::Sender<News>,
    ) -> io::Result<Self> {
        Ok(Self {
            queue: HandOver::default(),
            source: Some(Source::open(listener, socket, tell)?),
            crowded: None,
            names: BTreeMap::new(),
            taken: BTreeMap::new(),
        })
    }

    pub(super) fn join(&mut self, worker: WorkerId, name: &str) {
        self.names.insert(worker, name.into());
    }

    /// The worker takes no more.
    pub(super) fn leave(&mut self, worker: WorkerId) {
        self.queue.worker_leaving(worker);
        self.names.remove(&worker);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let source = self.source.as_ref().and_then(Source::poll_timeout);
        let crowded = self.crowded.map(|since| since + CROWDED);
        [self.queue.poll_timeout(), source, crowded].into_iter().flatten().min()
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
        self.queue.connections().filter(|ticket| ticket.is_redeemed()).count()
    }

    /// Whether one more is wanted: for somebody who is idle, or because all have been busy for long.
    fn may_accept(&mut self, now: Instant) -> Option<Wanted> {
        let source = self.source.as_mut()?;
        source.resume(now);
        let wanted = self.queue.wants_more();
        if wanted && self.queue.has_taker(now) {
            self.crowded = None;
            return Some(Wanted::ForSomebody);
        }
        if !wanted || !source.may_have() {
            self.crowded = None;
            return None;
        }
        let is_crowded = now >= *self.crowded.get_or_insert(now) + CROWDED;
        is_crowded.then_some(Wanted::InAdvance)
    }

    /// Accepts one more if it is wanted. What has to be told of it is returned.
    fn accept(&mut self, now: Instant) -> Accepting {
        let Some(wanted) = self.may_accept(now) else { return Accepting::Rests };
        let has_taker = wanted == Wanted::ForSomebody;
        match self.source.as_mut().map_or(Taken::Nothing, |source| source.take(has_taker, now)) {
            Taken::Connection(ticket) => {
                self.queue.connection(Arc::new(ticket));
                Accepting::GoesOn(None)
            }
            Taken::Nothing => {
                self.crowded = None;
                Accepting::Rests
            }
            Taken::NoNeed => {
                // The queue may have become long by the next look.
                self.crowded = Some(now);
                Accepting::Rests
            }
            Taken::Pauses(error) => Accepting::GoesOn(Some(pauses(error))),
        }
    }
}

/// Why one more is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    ForSomebody,
    InAdvance,
}

fn pauses(error: io::Error) -> What {
    What::Trouble { doing: "accept connections (pausing)", error }
}

/// What accepting came to.
enum Accepting {
    /// One more, or something to be told; there may be another.
    GoesOn(Option<What>),
    /// Nothing at the moment.
    Rests,
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

    /// A connection can be accepted.
    pub(super) fn acceptable(&mut self, listener: ListenerId) {
        let handing = self.handing.get_mut(&listener);
        if let Some(source) = handing.and_then(|handing| handing.source.as_mut()) {
            source.readable();
        }
    }

    /// The app stops: what waits in the kernel's queue is accepted, and then nothing any more.
    pub(super) fn accept_the_rest(&mut self, listener: ListenerId) {
        let seats: Vec<_> =
            self.seats.registry().seats_of(listener).map(|(seat, _)| seat).collect();
        let Some(handing) = self.handing.get_mut(&listener) else { return };
        for seat in &seats {
            while let Some(result) = self.seats.socket(*seat).map(accept::accept_one) {
                match result {
                    Ok(connection) => {
                        handing.queue.connection(Arc::new(Ticket::For(Arc::new(connection))));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // No descriptors: what waits is accepted one by one as they come free, and new
                    // connections with it. To close now would reset it.
                    Err(_) => return,
                }
            }
        }
        handing.source = None;
        handing.crowded = None;
        for seat in seats {
            // Nothing is to be rotated: no worker holds the socket.
            self.seats.close_socket(seat);
        }
    }

    /// A worker answered for a connection.
    pub(super) fn answered(&mut self, worker: WorkerId, handed: Handed, accepted: bool) {
        let Some(handing) = self.handing.get_mut(&handed.listener) else { return };
        // Dropping what it took closes the primary's share.
        drop(handing.queue.reply(worker, handed.number, accepted, Instant::now()));
        if accepted {
            *handing.taken.entry(worker).or_default() += 1;
            if let Some(source) = &mut handing.source {
                source.went_well();
            }
        }
    }

    /// No connection could be accepted for the worker: it has none, and is idle again.
    pub(super) fn unaccepted(&mut self, worker: WorkerId, handed: Handed, error: io::Error) {
        let now = Instant::now();
        let Some(handing) = self.handing.get_mut(&handed.listener) else { return };
        drop(handing.queue.reply(worker, handed.number, true, now));
        let Some(source) = &mut handing.source else { return };
        if error.kind() == io::ErrorKind::WouldBlock {
            // Somebody else has it; others may have come meanwhile.
            source.readable();
        } else if let Some(error) = source.failed(error, now) {
            self.tell(WorkerId(0), pauses(error));
        }
    }

    /// Gives connections to idle workers: those that wait here first, then those in the kernel's queue.
    pub(super) fn hand_over(&mut self, now: Instant) {
        let mut told = Vec::new();
        for (listener, handing) in &mut self.handing {
            loop {
                hand_out(&self.workers, *listener, handing, now);
                match handing.accept(now) {
                    Accepting::GoesOn(what) => told.extend(what),
                    Accepting::Rests => break,
                }
            }
            if handing.source.as_mut().is_some_and(|source| source.recovers(now)) {
                told.push(What::AcceptsAgain);
            }
        }
        for what in told {
            self.tell(WorkerId(0), what);
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

/// Sends what waits to the workers that are idle.
fn hand_out(
    workers: &BTreeMap<WorkerId, Worker>,
    listener: ListenerId,
    handing: &mut Handing,
    now: Instant,
) {
    while let Some(Sent { to: worker, number, connection }) = handing.queue.next(now) {
        let ticket = Arc::clone(connection);
        let handed = Handed { listener, number };
        let channel = workers.get(&worker).and_then(|worker| worker.channel.as_ref());
        let (Some(channel), Some(key)) = (channel, handing.names.get(&worker)) else {
            handing.queue.worker_left(worker);
            continue;
        };
        channel.say(Order::Connection { handed, key: Arc::clone(key), ticket });
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_pause_wakes_once_though_nobody_can_take_a_connection() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("non-blocking");
        let (tell, _news) = mpsc::channel(1);
        let mut handing =
            Handing::open(ListenerId(1), socket.into(), tell).expect("the runtime watches it");
        let end = Instant::now();
        handing.source.as_mut().expect("it accepts").pause(end);
        assert_eq!(handing.poll_timeout(), Some(end));

        assert!(matches!(handing.accept(end), Accepting::Rests));
        assert_eq!(handing.poll_timeout(), Some(end + CROWDED), "what waits may be many");
        assert!(matches!(handing.accept(end + CROWDED), Accepting::Rests));
        assert_eq!(handing.poll_timeout(), None, "nobody waits");
    }
}
