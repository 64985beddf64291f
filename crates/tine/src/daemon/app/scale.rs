//! More or fewer instances.

use std::collections::BTreeSet;

use tine_cluster::id::Instance;

use super::{App, orders::Single};
use crate::{
    api::apps::{Outcome, Status},
    daemon::{
        order::{Scale, Which},
        slot::{Reason, Slot},
    },
    spec::Instances,
    units::MOST_INSTANCES,
};

impl App {
    pub(super) async fn scale(&mut self, to: Scale) -> Outcome {
        let now = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let wanted = match to {
            Scale::To(count) => count,
            Scale::Up(more) => now.saturating_add(more),
            Scale::Down(fewer) => now.saturating_sub(fewer),
        };
        if wanted == 0 {
            let error = "an app has at least one instance; `tine stop` or `tine delete` ends it";
            return self.failed(error, &Which::All);
        }
        if wanted > MOST_INSTANCES {
            let error =
                format!("{wanted} instances are more than the {MOST_INSTANCES} there can be");
            return self.failed(error, &Which::All);
        }
        if let Err(error) = self.settle_versions(false).await {
            return self.failed(error, &Which::All);
        }
        let launch = match self.prepare(self.spec.as_ref().clone()).await {
            Ok(launch) => launch,
            Err(error) => return self.failed(error, &Which::All),
        };
        let added = self.resize(wanted).await;
        if self.runs.is_none() && !added.is_empty() {
            self.begin(launch.settings);
        }
        let mut spec = self.spec.as_ref().clone();
        spec.instances = Instances::Count(wanted);
        self.spec = spec.into();
        // Who goes back wants another version, and not another size.
        if let Some(previous) = &mut self.previous {
            std::sync::Arc::make_mut(previous).instances = Instances::Count(wanted);
        }
        self.await_readiness("scaled", &Which::All).await
    }

    /// Has so many instances. Those that do not serve go first, then the lowest, as with pm2, and their numbers
    /// come back first. Gives those that were added; they run if the cluster does.
    pub(super) async fn resize(&mut self, count: u32) -> BTreeSet<u32> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut all: Vec<(bool, u32)> = self
            .slots
            .values()
            .map(|slot| (slot.status() == Status::Online, slot.instance))
            .collect();
        all.sort_unstable();
        let more = all.len().saturating_sub(count);
        let surplus: BTreeSet<u32> = all.into_iter().take(more).map(|(_, it)| it).collect();
        self.remove(&surplus).await;
        let free = (0u32..).filter(|instance| !self.slots.contains_key(instance));
        let added: BTreeSet<u32> = free.take(count.saturating_sub(self.slots.len())).collect();
        for instance in &added {
            let mut slot = Slot::new(self.shared.next_id(), *instance);
            slot.wants(Reason::Asked);
            self.slots.insert(*instance, slot);
        }
        self.run_added(&added).await;
        self.publish();
        added
    }

    async fn remove(&mut self, surplus: &BTreeSet<u32>) {
        for instance in surplus {
            if let Some(slot) = self.slots.get_mut(instance) {
                slot.unwanted();
            }
        }
        self.each(surplus, Single::Stop).await;
        self.slots.retain(|instance, _| !surplus.contains(instance));
    }

    /// The cluster has places for some of them already.
    async fn run_added(&mut self, added: &BTreeSet<u32>) {
        let Some(last) = added.last() else { return };
        self.tell_numbers().await;
        let known = self.known_instances().await;
        let Some(runs) = &self.runs else { return };
        let cluster = runs.cluster.clone();
        if *last >= known {
            // New places are filled at once; this waits for nobody.
            let _ = self.during(cluster.scale(last + 1)).await;
        }
        let old = added.iter().copied().filter(|instance| *instance < known).collect();
        self.each(&old, Single::Start).await;
    }

    /// Those who start from now on know their new ids.
    pub(super) async fn tell_numbers(&mut self) {
        let Some(runs) = &self.runs else { return };
        let (cluster, mut settings) = (runs.cluster.clone(), runs.settings.clone());
        self.number(&mut settings);
        let program = settings.program.clone();
        if let Some(runs) = &mut self.runs {
            runs.settings = settings;
        }
        // A cluster that has ended starts nobody.
        let _ = self.during(cluster.setup(program)).await;
    }

    /// How many places the cluster has, filled or not.
    async fn known_instances(&mut self) -> u32 {
        let Some(runs) = &self.runs else { return 0 };
        let cluster = runs.cluster.clone();
        let report = self.during(async move { cluster.report().await }).await;
        let last = report.ok().and_then(|report| report.instances.last().map(|it| it.instance));
        last.map_or(0, |Instance(last)| last + 1)
    }
}
