//! What an app does unasked: by the calendar, when files change, when workers are ill or too large.

use std::collections::BTreeSet;

use rustix::process::Pid;
use tine_cluster::{address::Endpoint, id::Instance, primary::Program};
use tokio::sync::mpsc;

use super::{App, change::Turn};
use crate::{
    api::apps::Outcome,
    daemon::{
        order::{Alter, Which},
        slot::{Reason, Running},
    },
    spec::{Action, AppSpec},
    supervise::{
        guard::{Demand, Guard, Why},
        health::{Subject, Subjects},
    },
};

impl App {
    /// Watches over what runs from now on, as it is to be now.
    pub(super) fn guard(&mut self, program: &Program) {
        // What the guard before has demanded is met, or no longer wanted.
        let (tell, demands) = mpsc::unbounded_channel();
        self.inputs.demands = demands;
        match Guard::of_running(&self.spec, program, &self.shared.meter, tell) {
            Ok(guard) => self.guard = Some(guard),
            Err(error) => self.note(None, "trouble", error.to_string()),
        }
        self.show_workers();
    }

    /// An app that stands still may have a time to start.
    pub(super) fn guard_stopped(&mut self) {
        let (tell, demands) = mpsc::unbounded_channel();
        self.inputs.demands = demands;
        self.guard = match self.spec.cron_restart {
            Some(_) => Guard::of_stopped(&self.spec, tell).ok(),
            None => None,
        };
    }

    /// Files are not watched any more, until somebody says so again.
    pub(super) fn unwatch(&mut self) {
        if self.spec.watch.is_none() {
            return;
        }
        self.spec = AppSpec { watch: None, ..self.spec.as_ref().clone() }.into();
        let program = self.runs.as_ref().map(|runs| runs.settings.program.clone());
        if let (Some(program), Some(_)) = (program, &self.guard) {
            self.guard(&program);
        }
        self.publish();
    }

    /// Tells the guard and the meter who runs.
    pub(super) fn show_workers(&self) {
        let all = || self.slots.values().filter_map(|slot| Some((slot.id, slot.current?)));
        let running: Vec<(u32, Pid)> = all().map(|(id, running)| (id, running.pid)).collect();
        self.shared.meter.workers(self.number, running, self.spec.max_memory_restart.is_some());
        if let Some(guard) = &self.guard {
            let well = all().filter(|(_, running)| running.ready && !running.leaving);
            let workers = well.map(|(id, running)| subject(id, &running)).collect();
            guard.watch_over(Subjects { workers, address: self.address });
        }
    }

    /// It listens there; the first address counts.
    pub(super) fn listens(&mut self, endpoint: &Endpoint) {
        if let Endpoint::Inet { address, .. } = endpoint {
            self.address.get_or_insert(*address);
        }
    }

    pub(super) async fn meet(&mut self, demand: Demand) {
        self.interrupted = false;
        match demand {
            Demand::Note { what, text, worker } => self.note(worker, what, text),
            Demand::Renew { how, why, text } => {
                self.note(None, why.word(), text);
                self.renew(how, reason(why)).await;
            }
            Demand::Replace { workers, why, text } => {
                self.note(None, why.word(), text);
                let slots = self.slots.iter().filter(|(_, slot)| workers.contains(&slot.id));
                let only = slots.map(|(instance, _)| Instance(*instance)).collect();
                self.replace(Some(only), reason(why)).await;
            }
        }
        self.publish();
    }

    async fn renew(&mut self, how: Action, reason: Reason) {
        let outcome = match how {
            Action::Restart => {
                self.restart(&self.concerned(reason), Alter::default(), reason).await
            }
            Action::Reload => return self.replace(None, reason).await,
        };
        self.told(outcome);
    }

    /// Changed files start nobody who was told to stop. The time to start comes for all.
    fn concerned(&self, reason: Reason) -> Which {
        let wanted = self.slots.values().filter(|slot| slot.wanted || reason != Reason::Watch);
        Which::Ids(wanted.map(|slot| slot.id).collect())
    }

    /// New before old: all, or only those of some instances.
    async fn replace(&mut self, only: Option<BTreeSet<Instance>>, reason: Reason) {
        let turn = Turn { parallel: None, only };
        let outcome = self.reload(Alter::default(), turn, reason).await;
        self.told(outcome);
    }

    fn told(&mut self, outcome: Outcome) {
        if let Some(error) = outcome.error {
            self.note(None, "trouble", error);
        }
    }
}

const fn reason(why: Why) -> Reason {
    match why {
        Why::Cron => Reason::Cron,
        Why::Watch => Reason::Watch,
        Why::Health => Reason::Health,
        Why::Memory => Reason::Memory,
    }
}

const fn subject(id: u32, running: &Running) -> Subject {
    Subject { id, pid: running.pid, since: running.since }
}
