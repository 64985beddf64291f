//! Starts and stops an app.

use std::{collections::BTreeSet, time::Duration};

use tine_cluster::{
    id::Instance,
    primary::{Cluster, InstanceError, Settings},
};
use tokio::{task::JoinSet, time::Instant};

use super::{App, Runs, succession::Started};
use crate::{
    api::apps::{Outcome, Status},
    daemon::{
        order::Which,
        slot::{Empty, Reason, Slot},
    },
    spec::Millis,
    supervise::launch::Launch,
};

/// What is done with single instances.
#[derive(Clone, Copy, Debug)]
pub(super) enum Single {
    Start,
    Stop,
    Restart,
}

impl App {
    /// Runs what does not run.
    pub(super) async fn start(&mut self, which: &Which) -> Outcome {
        let launch = match self.prepare(self.spec.as_ref().clone()).await {
            Ok(launch) => launch,
            Err(error) => return self.failed(error, which),
        };
        let idle = |slot: &&mut Slot| which.has(slot.id) && slot.current.is_none();
        let idle: Vec<&mut Slot> = self.slots.values_mut().filter(idle).collect();
        if which.has_none() {
            return self.done("not started", &Which::All);
        }
        if idle.is_empty() {
            return self.done("unchanged", which);
        }
        let instances = idle.into_iter().map(|slot| {
            slot.wants(Reason::Asked);
            slot.instance
        });
        let instances = instances.collect();
        self.fill(launch, &instances).await;
        let outcome = self.await_readiness("started", which).await;
        if outcome.error.is_none() {
            // Whatever failed before is of no interest any more.
            self.note = None;
        }
        outcome
    }

    /// Starts workers for these instances, in the cluster that runs or in a new one.
    pub(super) async fn fill(&mut self, launch: Launch, instances: &BTreeSet<u32>) {
        if self.adopt(&launch).await {
            self.each(instances, Single::Start).await;
        } else {
            self.begin(launch.settings);
        }
    }

    /// Starts the cluster with all instances that are wanted.
    pub(super) fn begin(&mut self, mut settings: Settings) {
        let count = self.slots.keys().next_back().map_or(0, |last| last + 1);
        let wanted = |instance: &u32| self.slots.get(instance).is_some_and(|slot| slot.wanted);
        settings.instances = count;
        self.number(&mut settings);
        settings.vacant = (0..count).filter(|i| !wanted(i)).map(Instance).collect();
        self.configure_logs();
        self.run_with(settings.clone(), Cluster::start(settings));
    }

    pub(super) fn run_with(&mut self, settings: Settings, (cluster, events): Started) {
        self.clusters += 1;
        self.inputs.events = Some(events);
        self.runs = Some(Runs { cluster, settings });
    }

    /// The same with several instances at the same time. What goes wrong is told by events.
    pub(super) async fn each(&mut self, instances: &BTreeSet<u32>, what: Single) {
        let Some(runs) = &self.runs else { return };
        let mut all = JoinSet::new();
        for instance in instances.iter().copied().map(Instance) {
            let cluster = runs.cluster.clone();
            all.spawn(async move { one(&cluster, instance, what).await });
        }
        let results = self.during(all.join_all()).await;
        for error in results.into_iter().filter_map(Result::err) {
            self.note(None, "trouble", error.to_string());
        }
    }

    /// So long a worker that is started may take until it serves.
    pub(super) fn patience(&self) -> Duration {
        let said = self.spec.start_patience();
        // Many at once take their time to start at all.
        let many = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let said = said + Duration::from_millis(200) * many;
        said + self.spec.min_uptime.duration() + Duration::from_secs(1)
    }

    /// Waits until all of them serve, or it is known that they will not for now.
    pub(super) async fn await_readiness(&mut self, done: &str, which: &Which) -> Outcome {
        self.await_readiness_for(self.patience(), done, which).await
    }

    /// The same, for so long at most.
    pub(super) async fn await_readiness_for(
        &mut self,
        patience: Duration,
        done: &str,
        which: &Which,
    ) -> Outcome {
        let deadline = Instant::now() + patience;
        let concerned = |slot: &&Slot| which.has(slot.id) && slot.wanted;
        self.until(deadline, |app| app.slots.values().filter(concerned).all(Slot::is_settled))
            .await;
        let failed = |slot: &&Slot| match slot.status() {
            Status::Online => false,
            // It had something to do, and has done it.
            Status::Stopped => slot.failure.is_some() && slot.exit_code != Some(0),
            Status::Errored | Status::Waiting | Status::Launching | Status::Stopping => true,
        };
        if self.interrupted {
            return self.failed("something else was asked for meanwhile", which);
        }
        let program = self.runs.as_ref().map(|runs| runs.settings.program.clone());
        if let Some(program) = program {
            self.guard(&program);
        }
        self.until(told_by(), |app| app.sought.is_empty()).await;
        let complaint = self.slots.values().filter(concerned).find(failed);
        let Some((id, complaint)) = complaint.map(|slot| (slot.id, slot.complaint())) else {
            return self.done(done, which);
        };
        let last_lines = self.last_lines_of_id(id).await;
        Outcome { last_lines, ..self.failed(complaint, which) }
    }

    /// Drains and stops.
    pub(super) async fn stop(&mut self, which: &Which) -> Outcome {
        let mut stopped = BTreeSet::new();
        for slot in self.slots.values_mut().filter(|slot| which.has(slot.id)) {
            slot.unwanted();
            stopped.insert(slot.instance);
        }
        if self.slots.values().any(|slot| slot.wanted) {
            self.each(&stopped, Single::Stop).await;
        } else {
            self.stop_all().await;
        }
        let stopped = self.slots.values_mut().filter(|slot| which.has(slot.id));
        stopped.for_each(|slot| slot.empty = Empty::Stopped);
        if self.runs.is_none() {
            self.guard_stopped();
        }
        self.done("stopped", which)
    }

    /// With the listeners: who connects afterwards is refused.
    pub(super) async fn stop_all(&mut self) {
        let Some(runs) = &self.runs else { return };
        let cluster = runs.cluster.clone();
        // A cluster that has ended already is what is wanted.
        let _ = self.during(cluster.stop()).await;
        self.until_ended().await;
        self.address = None;
    }

    /// Connections have so long to finish, whatever the app says; until [`Self::drain_as_ever`].
    pub(super) async fn drain_within(&mut self, time: Option<Millis>) {
        let (Some(time), Some(runs)) = (time, &self.runs) else { return };
        let (cluster, mut tuning) = (runs.cluster.clone(), runs.settings.tuning());
        tuning.patience.drain = time.duration();
        // A cluster that has ended has nothing to finish.
        let _ = self.during(cluster.configure(tuning)).await;
    }

    pub(super) async fn drain_as_ever(&mut self) {
        let Some(runs) = &self.runs else { return };
        let (cluster, tuning) = (runs.cluster.clone(), runs.settings.tuning());
        let _ = self.during(cluster.configure(tuning)).await;
    }

    pub(super) async fn delete(&mut self) -> Outcome {
        let Outcome { app, ids, .. } = self.stop(&Which::All).await;
        self.note(None, "delete", "is deleted".to_owned());
        Outcome { app, ids, done: "deleted".to_owned(), ..Outcome::default() }
    }
}

/// Who holds an address is known sooner than that.
fn told_by() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

async fn one(cluster: &Cluster, instance: Instance, what: Single) -> Result<(), InstanceError> {
    match what {
        Single::Start => cluster.start_instance(instance).await,
        Single::Stop => cluster.stop_instance(instance).await,
        Single::Restart => cluster.restart_instance(instance).await,
    }
}
