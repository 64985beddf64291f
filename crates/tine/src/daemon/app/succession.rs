//! From one manager to the next: an app leaves its workers alone, and another one takes them over.

use std::{collections::BTreeSet, os::fd::BorrowedFd, sync::Arc, time::Duration};

use rustix::process::Pid;
use tine_cluster::{
    id::WorkerId,
    primary::{Cluster, Events, Keep, Kept, Output, Settings, Stdio},
};
use tine_linux::process::Exit;
use tokio::time::timeout;

use super::{App, actions, pid_file};
use crate::{
    api::apps::Outcome,
    causes::causes,
    daemon::{
        left::app_key,
        order::{Departure, Which},
        slot::{Empty, Slot},
        state::{Mark, end_processes},
    },
    spec::Instances,
    supervise::launch::Launch,
    watchdog::{Item, Keeper},
};

/// Workers that live on.
#[derive(Debug)]
pub(in crate::daemon) struct Left {
    /// What the cluster had kept.
    pub items: Vec<(String, Item)>,
    /// Processes that have ended meanwhile.
    pub ends: Vec<(Pid, Exit)>,
    /// All processes that were workers of it.
    pub processes: Vec<Mark>,
    /// After what they are taken over.
    pub before: String,
    /// What of it cannot be taken over, and why.
    pub lost: Option<String>,
}

/// A cluster, and what it tells.
pub(super) type Started = (Cluster, Events);

/// What the cluster of one app has kept, beside those of the others.
#[derive(Debug)]
struct OfApp {
    keeper: Keeper,
    prefix: String,
}

impl Keep for OfApp {
    fn put(&self, key: &str, value: &[u8], descriptors: &[BorrowedFd<'_>]) {
        self.keeper.put(&format!("{}{key}", self.prefix), value, descriptors);
    }

    fn forget(&self, key: &str) {
        self.keeper.forget(&format!("{}{key}", self.prefix));
    }
}

impl App {
    /// What the manager wants of every cluster.
    pub(super) fn manage(&self, settings: &mut Settings) {
        settings.lives_on = true;
        settings.ends_in_workers = true;
        settings.program.stdio = Stdio::Pipes { input: true };
        settings.owner = Some(self.shared.watchdog);
        settings.reach = Some(Arc::new(self.shared.keeper.clone()));
        settings.keeper = Some(Arc::new(OfApp {
            keeper: self.shared.keeper.clone(),
            prefix: app_key(self.number),
        }));
    }

    /// Waits until all apps are here, and then knows its workers no longer.
    pub(super) async fn leave(&mut self, departure: Departure) -> Outcome {
        let Departure { here, mut go } = departure;
        drop(here);
        // If nobody says it any more, it is time as well.
        let _ = self.during(async move { go.wait_for(|go| *go).await.map(|_| ()) }).await;
        self.guard = None;
        self.leaving = true;
        if let Some(runs) = &self.runs {
            let cluster = runs.cluster.clone();
            // One that has ended already has nothing to leave.
            let _ = self.during(async move { cluster.leave().await }).await;
        }
        self.done("handed over", &Which::All)
    }

    /// Goes on with what the manager before has left. What cannot be taken over is ended, and started
    /// anew.
    pub(super) async fn take_over(&mut self, mut left: Left) {
        let offers =
            left.items.extract_if(.., |(key, _)| key.starts_with(actions::OFFER)).collect();
        if left.items.is_empty() {
            // It stood still; but one that was on its way into its place may have got there.
            if let Some(lost) = &left.lost {
                let text = format!("could not be taken over, and is started anew: {lost}");
                self.note(None, "trouble", text);
            }
            return self.start_anew(&left, None).await;
        }
        let launch = self.launch_of_before().await;
        self.configure_logs();
        // Not a copy of them: there may be no descriptors for that.
        let kept = std::mem::take(&mut left.items).into_iter().map(kept);
        match Cluster::adopt(launch.settings.clone(), kept.collect()) {
            Ok(adopted) => {
                self.go_on(launch, adopted, left).await;
                self.remember_programs(offers);
            }
            Err(error) => self.start_anew(&left, Some(error.into())).await,
        }
    }

    async fn go_on(&mut self, launch: Launch, adopted: Started, left: Left) {
        let program = launch.settings.program.clone();
        self.run_with(launch.settings, adopted);
        for (pid, exit) in left.ends.into_iter().chain(std::mem::take(&mut self.ends)) {
            self.child_ended(pid, exit);
        }
        let known = self.slots.len();
        self.meet_workers().await;
        if self.slots.len() > known {
            self.tell_numbers().await;
        }
        self.note(None, "adopted", format!("taken over after {}", left.before));
        if let Some(lost) = left.lost {
            let text = format!("not all workers could be taken over, others follow them: {lost}");
            self.note(None, "trouble", text);
        }
        self.guard(&program);
        self.publish();
    }

    /// Whoever asks from now on sees those that were there.
    async fn meet_workers(&mut self) {
        let Some(runs) = &self.runs else { return };
        // They were told before it answers this.
        let _ = runs.cluster.clone().report().await;
        while let Some(events) = &mut self.inputs.events
            && let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await
        {
            self.heard(event);
        }
    }

    /// It runs with what it was started with, also where that is not to be had any more.
    async fn launch_of_before(&mut self) -> Launch {
        // Nobody is answered before it is known who runs.
        let found = self.search(self.spec.as_ref().clone()).await;
        match self.found(found) {
            Ok(launch) => launch,
            Err(error) => {
                self.note(None, "trouble", format!("could not be started now: {error}"));
                let mut launch = Launch::of_before(&self.spec, &self.shared.place);
                self.manage(&mut launch.settings);
                self.number(&mut launch.settings);
                launch
            }
        }
    }

    async fn start_anew(&mut self, left: &Left, error: Option<anyhow::Error>) {
        let processes = left.processes.clone();
        let ended = tokio::task::spawn_blocking(move || end_processes(&processes));
        let killed = self.during(ended).await.unwrap_or(0);
        self.shared.keeper.forget_below(&app_key(self.number));
        if let Some(error) = error {
            let text = format!(
                "could not be taken over after {}, and is started anew; {killed} processes were \
                 killed: {}",
                left.before,
                causes(error.as_ref())
            );
            crate::daemon::say(&format!("{}: {text}", self.spec.name));
            self.note(None, "trouble", text);
        }
        let wanted = self.slots.values().filter(|slot| slot.wanted && slot.empty != Empty::GivenUp);
        let wanted: BTreeSet<u32> = wanted.map(|slot| slot.id).collect();
        if wanted.is_empty() {
            return self.guard_stopped();
        }
        let outcome = self.start(&Which::Ids(wanted)).await;
        self.told(outcome);
    }

    /// The watchdog had this process for a child.
    pub(super) fn child_ended(&mut self, pid: Pid, exit: Exit) {
        match &self.runs {
            Some(runs) => {
                let cluster = runs.cluster.clone();
                // A cluster that has ended waits for nobody.
                tokio::spawn(async move { cluster.child_ended(pid, exit).await });
            }
            None => self.ends.push((pid, exit)),
        }
    }

    /// A worker of before is one of this manager's now.
    pub(super) fn adopted(&mut self, (instance, worker): (u32, WorkerId), found: Found) {
        let Found { pid, lived, ready, in_place, output } = found;
        if !self.slots.contains_key(&instance) {
            self.add_begun(instance);
        }
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let id = slot.id;
        self.processes.extend(Mark::of(pid).map(|mark| (worker, mark)));
        if in_place {
            slot.adopted(worker, pid, (lived, ready));
            let path = pid_file::path(&self.spec, id, &self.shared.home);
            pid_file::write(&path, pid.as_raw_pid());
        }
        self.capture(id, worker, output);
    }

    /// The manager before was killed while it added instances: those that have a worker are there.
    fn add_begun(&mut self, instance: u32) {
        let mut slot = Slot::new(self.shared.next_id(), instance);
        slot.wanted = true;
        self.slots.insert(instance, slot);
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let mut spec = self.spec.as_ref().clone();
        spec.instances = Instances::Count(count);
        self.spec = spec.into();
    }
}

/// A worker of before.
#[derive(Debug)]
pub(super) struct Found {
    pub pid: Pid,
    pub lived: Duration,
    pub ready: bool,
    pub in_place: bool,
    pub output: Option<Output>,
}

fn kept((key, Item { value, descriptors }): (String, Item)) -> Kept {
    Kept { key, value, descriptors }
}
