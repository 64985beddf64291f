//! A worker that a reload begins has to be well before it replaces anybody.

use rustix::process::Pid;
use tine_cluster::{id::WorkerId, primary::Program};
use tokio::task::JoinSet;

use super::App;
use crate::{
    spec::AppSpec,
    supervise::health::{Trial, Tried},
};

/// Those that go on; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Trials {
    trial: Trial,
    tasks: JoinSet<()>,
}

impl App {
    /// Whoever is begun from now on is tried as this app says. Whether anybody is.
    pub(super) fn hold_trials(&mut self, spec: &AppSpec, program: &Program) -> bool {
        // Whether the check makes sense was looked at when the reload was prepared.
        let trial = spec.health.as_ref().and_then(|health| Trial::new(health, program).ok());
        self.trials = trial.map(|trial| Trials { trial, tasks: JoinSet::new() });
        self.trials.is_some()
    }

    /// Nobody is tried any more. What was wrong with the last one.
    pub(super) fn end_trials(&mut self) -> Option<String> {
        self.trials.take().and_then(|trials| trials.trial.why())
    }

    /// A new worker runs, beside the one that it is to replace.
    pub(super) fn begin_trial(&mut self, worker: WorkerId, pid: Pid) {
        let others = self.processes.values().filter_map(|mark| Pid::from_raw(mark.pid));
        let others = others.filter(|other| *other != pid).collect();
        let (Some(trials), Some(runs)) = (&mut self.trials, &self.runs) else { return };
        let tried = Tried { worker: pid, others, port: self.address };
        let (trial, cluster) = (trials.trial.clone(), runs.cluster.clone());
        trials.tasks.spawn(async move {
            trial.pass(&tried).await;
            // A cluster that has ended replaces nobody.
            let _ = cluster.approve(worker).await;
        });
    }
}
