//! What is written to disk: what the manager knows now, and the list that was saved.
//!
//! Both have one form. A worker is named by its pid and its start time, in clock ticks since the boot
//! that is named as well: together they never come twice. Who comes after an unclean end knows by that
//! which processes are meant, to end them or to take them over.

mod file;
mod leftovers;

use serde::{Deserialize, Serialize};

pub(super) use file::{StateError, read, remove, replace, replace_keeping};
pub(super) use leftovers::{end_leftovers, end_processes};

use super::{app::Card, slot::Counts};
use crate::spec::{AppSpec, Env};

/// Of the form. A manager reads those up to its own.
pub(super) const VERSION: u32 = 1;

/// All apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub version: u32,
    /// Who wrote it, while it lives.
    pub manager: Mark,
    /// In whose name its workers' cgroups are made: its watchdog. Not said by those that had none.
    #[serde(default)]
    pub watchdog: Option<Mark>,
    /// Of `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The next worker's id.
    pub next_id: u32,
    pub apps: Vec<SavedApp>,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub pid: i32,
    /// Clock ticks since boot.
    pub started: u64,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedApp {
    pub number: u32,
    pub spec: AppSpec,
    /// What it was before the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AppSpec>,
    pub workers: Vec<SavedWorker>,
    /// All processes that are workers of it, also those that are leaving, and not in place yet.
    #[serde(default)]
    pub processes: Vec<Mark>,
    /// Its environment was left out, and is that of whoever starts it again.
    #[serde(default)]
    pub no_env: bool,
}

/// One instance, with its worker if it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedWorker {
    pub id: u32,
    pub instance: u32,
    /// Somebody wants it to run.
    pub wanted: bool,
    pub created_at: u64,
    pub restarts: Counts,
    pub process: Option<Mark>,
    /// It was given up.
    #[serde(default)]
    pub given_up: bool,
    /// How the one before ended.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The worker of the version before, kept beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Mark>,
}

impl Mark {
    /// `None`: there is no such process any more.
    pub(super) fn of(pid: rustix::process::Pid) -> Option<Self> {
        let entry = tine_linux::tree::entry(pid).ok()?;
        Some(Self { pid: pid.as_raw_pid(), started: entry.started })
    }
}

impl SavedApp {
    /// Its workers.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        let both = |worker: &SavedWorker| [worker.process, worker.beside];
        let in_place = self.workers.iter().flat_map(both).flatten();
        in_place.chain(self.processes.iter().copied())
    }
}

impl Saved {
    pub(super) fn of(cards: &[Card], next_id: u32, watchdog: Option<Mark>) -> Self {
        let own = Mark::of(rustix::process::getpid());
        let manager = own.unwrap_or(Mark { pid: 0, started: 0 });
        let apps = cards.iter().map(|card| SavedApp {
            number: card.number,
            spec: card.spec.as_ref().clone(),
            previous: card.previous.as_deref().cloned(),
            workers: card.workers.as_ref().clone(),
            processes: card.processes.as_ref().clone(),
            no_env: false,
        });
        Self { version: VERSION, manager, watchdog, boot: boot(), next_id, apps: apps.collect() }
    }

    /// Leaves all environments out.
    pub(super) fn strip(&mut self) {
        for app in &mut self.apps {
            app.no_env = true;
            for spec in std::iter::once(&mut app.spec).chain(&mut app.previous) {
                spec.env = Env::new();
                spec.inherited = Env::new();
            }
        }
    }
}

/// Which boot of this machine it is.
pub(crate) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
