//! One instance of an app, as the manager sees it: pm2's process with a `pm_id`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tine_cluster::id::WorkerId;
use tine_linux::process::Exit;

use super::{
    events::{began, now},
    state::{Mark, SavedWorker},
};
use crate::api::apps::Status;

/// Why a worker was followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It ended by itself.
    Crash,
    /// Somebody asked for it.
    Asked,
    /// It was replaced by a reload.
    Reload,
    /// It used too much memory.
    Memory,
    /// It was time.
    Cron,
    /// Files changed.
    Watch,
    /// It was not well.
    Health,
}

impl Reason {
    /// The word in JSON.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Asked => "asked",
            Self::Reload => "reload",
            Self::Memory => "memory",
            Self::Cron => "cron",
            Self::Watch => "watch",
            Self::Health => "health",
        }
    }
}

/// How often there was another worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub total: u32,
    pub by_reason: BTreeMap<String, u32>,
    /// Of these, after an end that came too early.
    pub unstable: u32,
}

impl Counts {
    fn add(&mut self, reason: Reason) {
        self.total = self.total.saturating_add(1);
        *self.by_reason.entry(reason.word().to_owned()).or_default() += 1;
    }
}

/// A worker that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub worker: WorkerId,
    pub pid: Pid,
    /// It, for whoever comes after this manager.
    pub mark: Option<Mark>,
    /// Milliseconds since 1970.
    pub started_at: u64,
    pub since: Instant,
    pub ready: bool,
    pub leaving: bool,
}

/// What an instance is while nobody fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    /// Nobody wants it filled, or it ended as it should.
    Stopped,
    /// It was given up.
    GivenUp,
    /// It is filled again.
    Waiting { until: Instant },
}

/// One instance.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub id: u32,
    pub instance: u32,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// Milliseconds since 1970.
    pub started_at: Option<u64>,
    pub current: Option<Running>,
    /// A reload's, not in place yet.
    pub incoming: Option<Running>,
    /// Of the version before, kept beside.
    pub aside: Option<Running>,
    pub empty: Empty,
    /// What a worker that a reload puts in place counts as.
    pub renewal: Reason,
    /// The next worker counts as a restart.
    pub due: Option<Reason>,
    pub counts: Counts,
    pub exit_code: Option<i32>,
    /// Connections of its workers that a drain's end has cut.
    pub cut: u64,
    /// Why there is no worker that serves, in words; since the last order.
    pub failure: Option<String>,
    /// The worker that the failure is about, where its end would explain nothing more.
    pub explained: Option<WorkerId>,
    /// Ends before their time since the last order.
    pub early_ends: u32,
    /// Somebody wants it filled.
    pub wanted: bool,
}

impl Slot {
    pub(super) fn new(id: u32, instance: u32) -> Self {
        Self {
            id,
            instance,
            created_at: now(),
            started_at: None,
            current: None,
            incoming: None,
            aside: None,
            empty: Empty::Stopped,
            renewal: Reason::Reload,
            due: None,
            counts: Counts::default(),
            exit_code: None,
            cut: 0,
            failure: None,
            explained: None,
            early_ends: 0,
            wanted: false,
        }
    }

    /// As it was under the manager before, as yet without a worker.
    pub(super) fn of_before(saved: &SavedWorker) -> Self {
        let empty = match (saved.wanted, saved.given_up) {
            (false, _) => Empty::Stopped,
            (true, true) => Empty::GivenUp,
            (true, false) => Empty::Waiting { until: Instant::now() },
        };
        Self {
            created_at: saved.created_at,
            counts: saved.restarts.clone(),
            wanted: saved.wanted,
            exit_code: saved.exit_code,
            empty,
            // Unless there is still the one that it had.
            due: saved.process.filter(|_| saved.wanted).map(|_| Reason::Crash),
            ..Self::new(saved.id, saved.instance)
        }
    }

    /// This worker ran under the manager before already, and since then.
    pub(super) fn adopted(&mut self, worker: WorkerId, pid: Pid, (age, ready): (Duration, bool)) {
        let running = Running {
            worker,
            pid,
            mark: Mark::of(pid),
            started_at: now().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(0)),
            since: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            ready,
            leaving: false,
        };
        self.due = None;
        self.place(running);
    }

    /// An order begins that wants it filled anew. What follows a worker that runs counts as `reason`.
    pub(super) fn wants(&mut self, reason: Reason) {
        self.due = self.current.is_some().then_some(reason);
        self.empty = Empty::Waiting { until: Instant::now() };
        self.wanted = true;
        self.failure = None;
        self.early_ends = 0;
    }

    /// An order begins that wants it empty.
    pub(super) fn unwanted(&mut self) {
        self.wanted = false;
        self.due = None;
        self.failure = None;
    }

    pub(super) fn started(&mut self, worker: WorkerId, pid: Pid) {
        let running = Running {
            worker,
            pid,
            mark: Mark::of(pid),
            started_at: now(),
            since: Instant::now(),
            ready: false,
            leaving: false,
        };
        if self.current.is_some() {
            self.incoming = Some(running);
            return;
        }
        if let Some(reason) = self.due.take() {
            self.counts.add(reason);
        }
        self.place(running);
    }

    pub(super) fn place(&mut self, running: Running) {
        self.started_at = Some(running.started_at);
        self.current = Some(running);
        self.empty = Empty::Stopped;
    }

    /// The process of one of its workers.
    pub(super) fn mark_of(&self, worker: WorkerId) -> Option<Mark> {
        let both = [self.current, self.incoming].into_iter().flatten();
        both.filter(|running| running.worker == worker).find_map(|running| running.mark)
    }

    /// Whether that is news.
    pub(super) fn is_ready(&mut self, worker: WorkerId) -> bool {
        let both = [&mut self.current, &mut self.incoming];
        let found = both.into_iter().flatten().find(|running| running.worker == worker);
        let Some(running) = found.filter(|running| !running.ready) else { return false };
        running.ready = true;
        self.failure = None;
        self.explained = None;
        true
    }

    pub(super) fn leaves(&mut self, worker: WorkerId) {
        if let Some(running) = self.current.as_mut().filter(|running| running.worker == worker) {
            running.leaving = true;
            self.replace();
        }
    }

    /// The reload's worker takes the place.
    pub(super) fn replace(&mut self) {
        if let Some(running) = self.incoming.take() {
            self.due = None;
            self.counts.add(self.renewal);
            self.place(running);
        }
    }

    /// A worker of it has ended. Whether that was the one in place.
    pub(super) fn ended(&mut self, worker: WorkerId, exit: Exit, early: Option<bool>) -> bool {
        if self.incoming.is_some_and(|running| running.worker == worker) {
            self.incoming = None;
            return false;
        }
        if self.aside.take_if(|running| running.worker == worker).is_some()
            || self.current.is_none_or(|running| running.worker != worker)
        {
            return false;
        }
        self.exit_code = Some(i32::from(exit.shell_code()));
        self.current = None;
        self.replace();
        if let Some(early) = early {
            // Until it is told what follows.
            self.empty = Empty::Waiting { until: Instant::now() };
            self.due = Some(Reason::Crash);
            self.counts.unstable += u32::from(early);
            self.early_ends += u32::from(early);
        }
        true
    }

    pub(super) fn waits(&mut self, delay: Duration) {
        self.empty = Empty::Waiting { until: Instant::now() + delay };
    }

    /// When its worker began, or the last one did, in milliseconds since 1970 by the clock as it is set now.
    pub(super) fn began(&self) -> Option<u64> {
        let at = self.started_at?;
        Some(began(at, self.current.and_then(|running| running.mark)))
    }

    pub(super) fn saved(&self) -> SavedWorker {
        SavedWorker {
            id: self.id,
            instance: self.instance,
            wanted: self.wanted,
            created_at: self.created_at,
            restarts: self.counts.clone(),
            process: self.current.and_then(|running| running.mark),
            given_up: self.empty == Empty::GivenUp,
            exit_code: self.exit_code,
            beside: self.aside.and_then(|running| running.mark),
        }
    }

    /// The cluster is gone, and with it every worker.
    pub(super) fn abandoned(&mut self) {
        self.current = None;
        self.incoming = None;
        self.aside = None;
        if let Empty::Waiting { .. } = self.empty {
            self.empty = Empty::Stopped;
        }
    }

    pub(super) fn status(&self) -> Status {
        match (self.current, self.empty) {
            (Some(Running { leaving: true, .. }), _) => Status::Stopping,
            (Some(Running { ready: true, .. }), _) => Status::Online,
            (Some(Running { ready: false, .. }), _) => Status::Launching,
            (None, Empty::Stopped) => Status::Stopped,
            (None, Empty::GivenUp) => Status::Errored,
            (None, Empty::Waiting { .. }) => Status::Waiting,
        }
    }

    /// Nobody fills it, and nobody will by itself: its worker has done its work, or was given up.
    pub(super) fn is_over(&self) -> bool {
        self.current.is_none() && matches!(self.empty, Empty::Stopped | Empty::GivenUp)
    }

    /// Whether there is nothing to wait for: it serves, or will not before somebody does something.
    pub(super) fn is_settled(&self) -> bool {
        match self.status() {
            // With something due it is the one before.
            Status::Online => self.due.is_none(),
            Status::Stopped | Status::Errored => true,
            Status::Launching | Status::Stopping | Status::Waiting => false,
        }
    }
}
