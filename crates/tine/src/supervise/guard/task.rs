//! Waits for whatever comes first, and says what follows from it.

use std::time::SystemTime;

use rustix::process::Pid;
use tokio::{
    sync::{mpsc, watch as channel},
    time,
};

use super::{Demand, Notices, Why, now};
use crate::{
    causes::causes,
    spec::Action,
    supervise::{
        cron::Alarm,
        health::{Checks, Subjects, Verdict},
        memory::MemoryGuard,
        meter::Samples,
        sampler::Sample,
        watch::{Changed, Notice, Watcher},
    },
};

/// What may happen.
pub(super) struct Sources {
    pub alarm: Option<Alarm>,
    pub notices: Option<Notices>,
    pub verdicts: Option<mpsc::UnboundedReceiver<Verdict>>,
    pub samples: Option<channel::Receiver<Samples>>,
}

/// What happened.
enum Input {
    /// Time to look at the clock.
    Look,
    Notice(Notice),
    Verdict(Verdict),
    Samples(Samples),
}

pub(super) struct Work {
    pub sources: Sources,
    pub memory: Option<MemoryGuard>,
    pub subjects: channel::Receiver<Subjects>,
    pub action: Action,
    pub tell: mpsc::UnboundedSender<Demand>,
    /// They work as long as they are there.
    pub _held: (Option<Watcher>, Option<Checks>),
}

impl Sources {
    async fn next(&mut self) -> Input {
        let Self { alarm, notices, verdicts, samples } = self;
        tokio::select! {
            () = look(alarm.as_ref()) => Input::Look,
            notice = told(notices) => Input::Notice(notice),
            verdict = told(verdicts) => Input::Verdict(verdict),
            samples = changed(samples) => Input::Samples(samples),
        }
    }
}

async fn look(alarm: Option<&Alarm>) {
    match alarm {
        Some(alarm) => time::sleep(alarm.wait(SystemTime::now())).await,
        None => std::future::pending().await,
    }
}

/// What is told next; never, where nobody tells anything any more.
async fn told<T>(from: &mut Option<mpsc::UnboundedReceiver<T>>) -> T {
    if let Some(open) = from
        && let Some(told) = open.recv().await
    {
        return told;
    }
    *from = None;
    std::future::pending().await
}

async fn changed(from: &mut Option<channel::Receiver<Samples>>) -> Samples {
    if let Some(open) = from
        && open.changed().await.is_ok()
    {
        return open.borrow_and_update().clone();
    }
    *from = None;
    std::future::pending().await
}

impl Work {
    /// Until it is aborted, or nobody hears its demands.
    pub(super) async fn run(mut self) {
        loop {
            let demand = match self.sources.next().await {
                Input::Look => self.look(),
                Input::Notice(notice) => Some(self.noticed(notice)),
                Input::Verdict(verdict) => self.judged(verdict),
                Input::Samples(samples) => self.weigh(&samples),
            };
            if let Some(demand) = demand
                && self.tell.send(demand).is_err()
            {
                return;
            }
        }
    }

    fn look(&mut self) -> Option<Demand> {
        let alarm = self.sources.alarm.as_mut()?;
        alarm.look(SystemTime::now()).then(|| {
            let text = format!("its schedule: {}", alarm.in_words());
            Demand::Renew { how: Action::Restart, why: Why::Cron, text }
        })
    }

    fn noticed(&self, notice: Notice) -> Demand {
        let note = |text| Demand::Note { what: "watch", text, worker: None };
        match notice {
            Notice::Watching { directories } => {
                note(format!("{directories} directories are watched"))
            }
            Notice::Changed(changed) => {
                Demand::Renew { how: self.action, why: Why::Watch, text: files(&changed) }
            }
            Notice::Failed(error) => note(causes(&error)),
        }
    }

    /// One that is ill is replaced; where nobody can tell which one it is, all are, one by one. Those that
    /// went meanwhile are nobody's business.
    fn judged(&self, verdict: Verdict) -> Option<Demand> {
        let Verdict { worker, healthy, reason } = verdict;
        if healthy {
            let text = "it answers its checks".to_owned();
            return Some(Demand::Note { what: "healthy", text, worker });
        }
        let subjects = self.subjects.borrow();
        match worker {
            Some(id) if subjects.workers.iter().any(|known| known.id == id) => {
                Some(Demand::Replace { workers: [id].into(), why: Why::Health, text: reason })
            }
            Some(_) => None,
            None => Some(Demand::Renew { how: Action::Reload, why: Why::Health, text: reason }),
        }
    }

    fn weigh(&mut self, samples: &Samples) -> Option<Demand> {
        let guard = self.memory.as_mut()?;
        let subjects = self.subjects.borrow().clone();
        let processes: Vec<(u32, Pid)> =
            subjects.workers.iter().map(|worker| (worker.id, worker.pid)).collect();
        let samples: Vec<Sample> =
            processes.iter().filter_map(|(id, _)| samples.get(id).copied()).collect();
        let over = guard.look(&samples, &processes, now());
        let first = over.first()?;
        let text = format!(
            "it uses {} of memory, more than the {} that are allowed",
            megabytes(first.memory),
            megabytes(first.limit)
        );
        let workers = over.iter().map(|over| over.worker).collect();
        Some(Demand::Replace { workers, why: Why::Memory, text })
    }
}

fn files(changed: &Changed) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> =
        changed.paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    match changed.paths.len().saturating_sub(SHOWN) + changed.more {
        0 => format!("changed: {}", shown.join(", ")),
        others => format!("changed: {} and {others} more", shown.join(", ")),
    }
}

/// Bytes as people say them: `203.5 MB`.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
