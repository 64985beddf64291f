//! Workers that are no children of this process: how they ended is known to others.

use std::time::{Duration, Instant};

use rustix::process::Pid;
use tine_linux::process::Exit;

use super::{task::Task, watch};
use crate::id::WorkerId;

/// So long it takes to be told at the most: whoever was its parent waits for it at once, if it lives.
const PATIENCE: Duration = Duration::from_secs(2);

impl Task {
    /// How the worker's first process ended, which it has; `None` while nobody says.
    pub(super) fn exit_of(&mut self, id: WorkerId, now: Instant) -> Option<Exit> {
        let worker = self.workers.get_mut(&id).filter(|worker| worker.exit.is_none())?;
        if !worker.is_foreign {
            let ended = worker.process.try_wait();
            if let Ok(None) = ended {
                watch::exit_again(id, self.news.clone());
            }
            return ended.ok().flatten();
        }
        let since = *worker.ended_unknown.get_or_insert(now);
        let told = self.ends.remove(&worker.pid()).or_else(|| worker.process.told_exit());
        // Nobody has waited for it who could say: it cannot have gone well.
        let unknown = (now.saturating_duration_since(since) >= PATIENCE).then_some(Exit::Code(255));
        let exit = told.or(unknown)?;
        worker.ended_unknown = None;
        Some(exit)
    }

    /// Whoever was its parent has waited for it.
    pub(super) fn child_ended(&mut self, pid: Pid, exit: Exit) {
        let whose = self
            .workers
            .values()
            .find(|worker| worker.is_foreign && worker.exit.is_none() && worker.pid() == pid);
        let Some(id) = whose.map(|worker| worker.id) else { return };
        self.ends.insert(pid, exit);
        self.exited(id);
    }

    /// Those of whom nobody has said yet how they ended.
    pub(super) fn ask_how_they_ended(&mut self) {
        let waits = self.workers.values().filter(|worker| worker.ended_unknown.is_some());
        let waits: Vec<WorkerId> = waits.map(|worker| worker.id).collect();
        for id in waits {
            self.exited(id);
        }
    }
}
