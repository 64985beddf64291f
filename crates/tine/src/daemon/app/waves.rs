//! Restarts an app's workers so that somebody serves meanwhile.
//!
//! Half of those who serve stop and start first; the others follow when these serve again. If none of the
//! first does, the others are left as they are: what does not start takes no site down.

use std::collections::BTreeSet;

use super::{App, orders::Single};
use crate::{
    api::apps::{Outcome, Status},
    daemon::{
        order::Which,
        slot::{Reason, Slot},
    },
};

impl App {
    pub(super) async fn restart_each(
        &mut self,
        instances: &BTreeSet<u32>,
        (which, reason): (&Which, Reason),
    ) -> Outcome {
        let (first, second) = self.waves(instances);
        self.restart_wave(&first, reason).await;
        if !second.is_empty() {
            let ids = self.slots.iter().filter(|(instance, _)| first.contains(instance));
            let begun = Which::Ids(ids.map(|(_, slot)| slot.id).collect());
            let outcome = self.await_readiness("restarted", &begun).await;
            if let Some(error) = outcome.error.as_deref()
                && (self.interrupted || !first.iter().any(|instance| self.serves(*instance)))
            {
                let error = format!("{error}; the others run as before");
                return Outcome { error: Some(error), ..outcome };
            }
            self.restart_wave(&second, reason).await;
        }
        self.await_readiness("restarted", which).await
    }

    async fn restart_wave(&mut self, instances: &BTreeSet<u32>, reason: Reason) {
        let concerned = |(instance, _): &(&u32, &mut Slot)| instances.contains(instance);
        self.slots.iter_mut().filter(concerned).for_each(|(_, slot)| slot.wants(reason));
        self.each(instances, Single::Restart).await;
    }

    fn serves(&self, instance: u32) -> bool {
        self.slots.get(&instance).is_some_and(|slot| slot.status() == Status::Online)
    }

    /// Who goes first, and who afterwards.
    fn waves(&self, instances: &BTreeSet<u32>) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let others_serve = self.slots.keys().any(|it| !instances.contains(it) && self.serves(*it));
        let (serving, idle): (Vec<u32>, Vec<u32>) =
            instances.iter().partition(|instance| self.serves(**instance));
        if others_serve || serving.len() < 2 {
            return (instances.clone(), BTreeSet::new());
        }
        let (first, second) = serving.split_at(serving.len() / 2);
        (idle.iter().chain(first).copied().collect(), second.iter().copied().collect())
    }
}
