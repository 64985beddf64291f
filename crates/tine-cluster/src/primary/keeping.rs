//! Tells the keeper what has changed, after each input and before the next one.
//!
//! Records are made only of what was touched, and put only where they differ: in a cluster in which
//! nothing happens nothing is put.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    keep::Keep,
    records::{ClusterRecord, EndsRecord, Talked, VERSION, WorkerRecord, WorkerState},
    start::Parts,
    taken::Taken,
    task::Task,
    worker::{Talk, Worker},
};
use crate::id::{ListenerId, SeatId, WorkerId};

/// A worker counts as ready for a successor when the answer by which it can listen has gone out, which may be a
/// while after it is first taken to be. So long after a look at that follows the next.
const SETTLING: Duration = Duration::from_millis(5);

/// What the keeper knows, and what it does not know yet.
#[derive(Debug)]
pub(super) struct Keeping {
    keeper: Option<Arc<dyn Keep>>,
    /// What was put last, as its hash: two records that follow each other never have the same one. `None`
    /// where the keeper knows something from before.
    last: BTreeMap<String, Option<u64>>,
    hash: RandomState,
    pub(super) workers: BTreeSet<WorkerId>,
    pub(super) places: bool,
    pub(super) all: bool,
    /// Workers that are to be recorded as ready, and when.
    settling: BTreeMap<WorkerId, Instant>,
}

impl Keeping {
    pub(super) fn new(keeper: Option<Arc<dyn Keep>>) -> Self {
        let (last, workers) = (BTreeMap::new(), BTreeSet::new());
        let settling = BTreeMap::new();
        let hash = RandomState::new();
        Self { keeper, last, hash, workers, places: false, all: false, settling }
    }

    /// The worker's record is to be looked at.
    pub(super) fn touch(&mut self, worker: WorkerId) {
        if self.keeper.is_some() {
            self.workers.insert(worker);
        }
    }

    /// When a worker is to be recorded as ready.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.settling.values().min().copied()
    }

    /// Those that are to be looked at again by now.
    fn settle(&mut self, now: Instant) {
        let settled = self.settling.extract_if(.., |_, at| *at <= now);
        self.workers.extend(settled.map(|(worker, _)| worker));
    }

    /// Whether it was another one before.
    fn put(&mut self, key: String, value: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> bool {
        let Some(keeper) = &self.keeper else { return false };
        let value = serde_json::to_vec(value).expect("a record has a form in JSON");
        let hash = Some(self.hash.hash_one(&value));
        if self.last.get(&key) == Some(&hash) {
            return false;
        }
        keeper.put(&key, &value, descriptors);
        self.last.insert(key, hash);
        true
    }

    fn forget(&mut self, key: &str) {
        if self.last.remove(key).is_some()
            && let Some(keeper) = &self.keeper
        {
            keeper.forget(key);
        }
    }

    /// The way into what the worker holds itself.
    pub(super) fn put_ends(&mut self, worker: WorkerId, record: &EndsRecord, into: BorrowedFd<'_>) {
        self.put_once(format!("worker/{}/ends", worker.0), record, &[into]);
    }

    /// A record of two parts.
    fn forget_both(&mut self, key: &str, part: &str) {
        self.forget(key);
        self.forget(&format!("{key}/{part}"));
    }

    /// The cluster is at its end: nobody is to go on with it.
    pub(super) fn forget_all(&mut self) {
        let keys: Vec<String> = self.last.keys().cloned().collect();
        for key in keys {
            self.forget(&key);
        }
    }

    /// What was taken over with these keys is known to the keeper, and goes when it is forgotten.
    pub(super) fn knows(&mut self, keys: impl IntoIterator<Item = String>) {
        self.last.extend(keys.into_iter().map(|key| (key, None)));
    }

    /// Records that are put once, and hold descriptors: what was kept of them before is as good.
    /// Whether this was the first time.
    fn put_once(
        &mut self,
        key: String,
        value: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> bool {
        !self.last.contains_key(&key) && self.put(key, value, descriptors)
    }
}

impl Task {
    /// Tells the keeper what has changed.
    pub(super) fn keep_records(&mut self) {
        let touched = self.seats.take_touched();
        self.keeping.settle(Instant::now());
        let workers = std::mem::take(&mut self.keeping.workers);
        let places = std::mem::take(&mut self.keeping.places);
        let all = std::mem::take(&mut self.keeping.all);
        let nothing = touched.seats.is_empty() && touched.groups.is_empty() && workers.is_empty();
        if self.keeping.keeper.is_none() || nothing && !places && !all {
            return;
        }
        for id in touched.listeners {
            self.keep_listener(id);
        }
        for id in touched.groups {
            self.keep_group(id);
        }
        for id in touched.seats {
            self.keep_seat(id);
        }
        let every: BTreeSet<WorkerId> = self.workers.keys().copied().collect();
        let workers = if all { &every | &workers } else { workers };
        for id in workers {
            self.keep_worker(id);
        }
        if all || places {
            self.keep_places();
        }
        let record = self.cluster_record();
        self.keeping.put("cluster".to_owned(), &record, &[]);
    }

    fn keep_listener(&mut self, id: ListenerId) {
        let key = format!("listener/{}", id.0);
        let Some((record, descriptors)) = self.seats.listener_record(id) else {
            return self.keeping.forget_both(&key, "group");
        };
        if self.keeping.put(key, &record, &descriptors) {
            self.spread_program(id);
        }
    }

    fn keep_group(&mut self, id: ListenerId) {
        if let Some(record) = self.seats.group_record(id) {
            self.keeping.put(format!("listener/{}/group", id.0), &record, &[]);
        }
    }

    fn keep_seat(&mut self, id: SeatId) {
        let key = format!("seat/{}", id.0);
        let Some((record, now, socket)) = self.seats.seat_record(id) else {
            return self.keeping.forget_both(&key, "state");
        };
        if self.keeping.put_once(key.clone(), &record, &[socket]) {
            self.spread_socket(id);
        }
        self.keeping.put(format!("{key}/state"), &now, &[]);
    }

    /// Where its calls are written down, before the first one is taken.
    pub(super) fn keep_calls(&mut self, worker: &mut Worker) -> io::Result<()> {
        if self.keeping.keeper.is_none() || worker.trap.is_none() {
            return Ok(());
        }
        let taken = Taken::new()?;
        self.keeping.put_once(format!("worker/{}/calls", worker.id.0), &(), &[taken.as_fd()]);
        worker.taken = Some(Arc::new(taken));
        Ok(())
    }

    /// A worker that runs since a moment ago: nothing of it was answered yet.
    pub(super) fn keep_new_worker(
        &mut self,
        worker: &mut Worker,
        parts: &mut Parts,
    ) -> io::Result<()> {
        let pair = parts.take_pair();
        if self.keeping.keeper.is_none() {
            return Ok(());
        }
        let (has, ends) = parts.ends(worker.trap.as_deref());
        let at = worker.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = WorkerRecord {
            pid: worker.pid().as_raw_pid(),
            started: tine_linux::tree::entry(worker.pid())?.started,
            at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            instance: worker.instance,
            kind: worker.kind,
            mark: worker.mark().to_owned(),
            cgroup: worker.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
            has,
        };
        let descriptors: Vec<BorrowedFd<'_>> =
            [worker.process.as_fd()].into_iter().chain(ends).collect();
        self.keeping.put_once(format!("worker/{}", worker.id.0), &record, &descriptors);
        if let Some(pair) = pair
            && let Err(error) = self.leave_ends(worker, (pair, parts))
        {
            // It is replaced if this process is killed together with its keeper, and only then.
            self.trouble(worker.id, "leave descriptors in a worker", error);
        }
        Ok(())
    }

    fn keep_worker(&mut self, id: WorkerId) {
        let key = format!("worker/{}", id.0);
        let Some(mut state) = self.worker_state(id) else {
            return self.forget_worker(id);
        };
        if self.workers.get(&id).is_some_and(Worker::waits_for_an_answer) {
            state.ready = false;
            self.keeping.settling.insert(id, Instant::now() + SETTLING);
        }
        self.keeping.put(format!("{key}/state"), &state, &[]);
    }

    /// Nothing is left of it.
    pub(super) fn forget_worker(&mut self, id: WorkerId) {
        let key = format!("worker/{}", id.0);
        self.keeping.settling.remove(&id);
        self.keeping.forget(&format!("{key}/calls"));
        self.keeping.forget(&format!("{key}/ends"));
        self.keeping.forget_both(&key, "state");
    }

    /// `None`: nothing is left of it.
    fn worker_state(&self, id: WorkerId) -> Option<WorkerState> {
        let worker = self.workers.get(&id).filter(|worker| !worker.is_gone())?;
        let listens = self.told_listening.range((id, SeatId(0))..=(id, SeatId(u32::MAX)));
        Some(WorkerState {
            leaves: !worker.life.serves(),
            asked: worker.asked,
            retired: worker.retired,
            listened: worker.listened,
            said_ready: worker.said_ready,
            ready: worker.ready,
            on_trial: self.is_on_trial(id),
            exited_after_disconnect: worker.exited_after_disconnect,
            talk: match (&worker.channel, worker.talk) {
                (None, Talk::Silent | Talk::Speaks | Talk::ToldToLeave(_)) => Talked::Closed,
                (_, talk) => talk.into(),
            },
            ports: worker.ports.iter().copied().collect(),
            addresses: worker.addresses.clone().into_iter().collect(),
            listens: listens.map(|(_, seat)| *seat).collect(),
            declared: self.declared.get(&id).cloned().unwrap_or_default(),
            given: self.asks.given_to(id),
        })
    }

    fn keep_places(&mut self) {
        let now = moment();
        for (number, place) in self.places.iter().enumerate() {
            self.keeping.put(format!("place/{number}"), &place.record(now), &[]);
        }
        let mut beyond = self.places.len();
        while self.keeping.last.contains_key(&format!("place/{beyond}")) {
            self.keeping.forget(&format!("place/{beyond}"));
            beyond += 1;
        }
    }

    fn cluster_record(&self) -> ClusterRecord {
        let (next_listener, next_seat) = self.seats.registry().next_numbers();
        let (bound, last_name) = self.asks.record();
        ClusterRecord {
            version: VERSION,
            number: self.means.number(),
            last_worker: self.last_worker,
            last_name,
            next_listener,
            next_seat,
            ever_listened: self.ever_listened,
            instances: self.settings.instances,
            bound,
            data: self.node.record(),
            files: self.paths.record(),
        }
    }
}

/// This moment, by this process's clock and by one that a successor has too.
pub(super) fn moment() -> (Instant, Duration) {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (Instant::now(), clock.try_into().unwrap_or_default())
}
