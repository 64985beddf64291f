//! Everything that may demand new workers for one app without anybody having asked: its schedule, its
//! files, its health, its memory.
//!
//! ```text
//!   Alarm ───────┐
//!   Watcher ─────┤   ┌───────┐
//!   Checks ──────┼──▶│ Guard │──Demand──▶ the app
//!   Samples ─────┘   └───────┘
//! ```
//!
//! A guard demands; whether and when the demand is met is for the app to decide, which may be busy with
//! something else.

mod task;

use std::{
    collections::BTreeSet,
    time::{Instant, SystemTime},
};

use thiserror::Error;
use tine_cluster::primary::Program;
use tokio::{
    sync::{mpsc, watch as channel},
    task::JoinHandle,
};

use super::{
    cron::{Alarm, CronError, Schedule},
    health::{Checks, ProbeError, Subjects},
    memory::MemoryGuard,
    meter::Meter,
    watch::Watcher,
};
use crate::spec::{Action, AppSpec};
use task::{Sources, Work};

/// Why there are to be new workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is time.
    Cron,
    /// Files changed.
    Watch,
    /// It does not answer as it should.
    Health,
    /// It uses too much.
    Memory,
}

impl Why {
    /// The word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Watch => "watch",
            Self::Health => "health",
            Self::Memory => "memory",
        }
    }
}

/// What a guard wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// New workers for the whole app.
    Renew {
        /// In which way.
        how: Action,
        /// What it is for.
        why: Why,
        /// The reason, as a sentence.
        text: String,
    },
    /// New workers for some instances, each before the old one goes.
    Replace {
        /// The ids of those who have to go.
        workers: BTreeSet<u32>,
        /// What it is for.
        why: Why,
        /// The reason, as a sentence.
        text: String,
    },
    /// Nothing; but people should know.
    Note {
        /// A word: `watch`, `unhealthy`, `healthy`.
        what: &'static str,
        /// A sentence.
        text: String,
        /// Which worker, if one.
        worker: Option<u32>,
    },
}

/// A part of a spec that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The schedule.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The check of health.
    #[error(transparent)]
    Health(#[from] ProbeError),
}

/// Watches over one app until it is dropped.
#[derive(Debug)]
pub struct Guard {
    task: JoinHandle<()>,
    subjects: channel::Sender<Subjects>,
}

impl Guard {
    /// Begins to watch over an app that runs. Ask [`check`] before, when errors are still welcome.
    ///
    /// # Errors
    ///
    /// Those of [`check`].
    pub fn of_running(
        spec: &AppSpec,
        program: &Program,
        meter: &Meter,
        tell: mpsc::UnboundedSender<Demand>,
    ) -> Result<Self, GuardError> {
        let alarm = alarm(spec)?;
        let (subjects, seen) = channel::channel(Subjects::default());
        let (health, verdicts) = match &spec.health {
            Some(health) => {
                let (told, verdicts) = mpsc::unbounded_channel();
                let checks = Checks::start(health, program, seen.clone(), told)?;
                (Some(checks), Some(verdicts))
            }
            None => (None, None),
        };
        let (watcher, notices) = watcher(spec, &tell);
        let samples = spec.max_memory_restart.map(|_| meter.subscribe());
        let action = spec.watch.as_ref().map_or(Action::default(), |watch| watch.action);
        let work = Work {
            sources: Sources { alarm, notices, verdicts, samples },
            memory: spec.max_memory_restart.map(MemoryGuard::new),
            subjects: seen,
            action,
            tell,
            _held: (watcher, health),
        };
        Ok(Self { task: tokio::spawn(work.run()), subjects })
    }

    /// Watches over an app that does not run: only its schedule counts, which starts it.
    ///
    /// # Errors
    ///
    /// When the schedule makes no sense.
    pub fn of_stopped(
        spec: &AppSpec,
        tell: mpsc::UnboundedSender<Demand>,
    ) -> Result<Self, GuardError> {
        let (subjects, seen) = channel::channel(Subjects::default());
        let sources = Sources { alarm: alarm(spec)?, notices: None, verdicts: None, samples: None };
        let work = Work {
            sources,
            memory: None,
            subjects: seen,
            action: Action::default(),
            tell,
            _held: (None, None),
        };
        Ok(Self { task: tokio::spawn(work.run()), subjects })
    }

    /// Who is to be asked and measured from now on: workers that are ready and stay.
    pub fn watch_over(&self, subjects: Subjects) {
        self.subjects.send_if_modified(|known| {
            let is_new = *known != subjects;
            *known = subjects;
            is_new
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether a guard could watch over such an app.
///
/// # Errors
///
/// When its schedule or its check of health makes no sense.
pub fn check(spec: &AppSpec, program: &Program) -> Result<(), GuardError> {
    schedule(spec)?;
    if let Some(health) = &spec.health {
        Checks::check(health, program)?;
    }
    Ok(())
}

fn schedule(spec: &AppSpec) -> Result<Option<Schedule>, CronError> {
    let zone = spec.cron_timezone.as_deref();
    spec.cron_restart.as_deref().map(|pattern| Schedule::parse(pattern, zone)).transpose()
}

fn alarm(spec: &AppSpec) -> Result<Option<Alarm>, CronError> {
    Ok(schedule(spec)?.map(|schedule| Alarm::new(schedule, SystemTime::now())))
}

type Notices = mpsc::UnboundedReceiver<super::watch::Notice>;

/// Files that cannot be watched are no reason not to run the app: people are told.
fn watcher(
    spec: &AppSpec,
    tell: &mpsc::UnboundedSender<Demand>,
) -> (Option<Watcher>, Option<Notices>) {
    let Some(watch) = &spec.watch else { return (None, None) };
    let (told, notices) = mpsc::unbounded_channel();
    match Watcher::start(watch, told) {
        Ok(watcher) => (Some(watcher), Some(notices)),
        Err(error) => {
            let text = crate::causes::causes(&error);
            let _ = tell.send(Demand::Note { what: "watch", text, worker: None });
            (None, None)
        }
    }
}

/// Now, for the parts that do not read a clock.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
