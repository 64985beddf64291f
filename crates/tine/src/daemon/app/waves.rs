//! Restarts an app's workers so that somebody serves meanwhile.
//!
//! Half of those who serve stop and start first, those who have run for longest; the others follow when one of
//! these serves again. If none of the first does, the others are left as they are: what does not start takes
//! no site down.

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
            let outcome = self.await_the_slow(&begun).await;
            if let Some(error) = outcome.error.as_deref()
                && (self.interrupted || !first.iter().any(|instance| self.serves(*instance)))
            {
                let error = format!("{error}; the others run as before");
                return Outcome { error: Some(error), ..outcome };
            }
            self.restart_wave(&second, reason).await;
        }
        self.await_the_slow(which).await
    }

    async fn restart_wave(&mut self, instances: &BTreeSet<u32>, reason: Reason) {
        let concerned = |(instance, _): &(&u32, &mut Slot)| instances.contains(instance);
        self.slots.iter_mut().filter(concerned).for_each(|(_, slot)| slot.wants(reason));
        self.each(instances, Single::Restart).await;
    }

    /// Until they serve; as long as a reload waits for it where none of them has ended, who may only be slow.
    async fn await_the_slow(&mut self, which: &Which) -> Outcome {
        let outcome = self.await_readiness("restarted", which).await;
        let more = self.spec.reload_patience().saturating_sub(self.patience());
        let is_slow = |slot: &Slot| slot.status() == Status::Launching && slot.early_ends == 0;
        let concerned = |slot: &&Slot| which.has(slot.id) && slot.wanted;
        let are_slow = self.slots.values().filter(concerned).any(is_slow);
        if outcome.error.is_none() || self.interrupted || more.is_zero() || !are_slow {
            return outcome;
        }
        self.await_readiness_for(more, "restarted", which).await
    }

    fn serves(&self, instance: u32) -> bool {
        self.slots.get(&instance).is_some_and(|slot| slot.status() == Status::Online)
    }

    /// Who goes first, and who afterwards.
    fn waves(&self, instances: &BTreeSet<u32>) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let others_serve = self.slots.keys().any(|it| !instances.contains(it) && self.serves(*it));
        let (mut serving, idle): (Vec<u32>, Vec<u32>) =
            instances.iter().partition(|instance| self.serves(**instance));
        // Once more after one that came no further is not the same again.
        serving.sort_by_key(|instance| self.slots.get(instance).and_then(|slot| slot.started_at));
        if others_serve || serving.len() < 2 {
            return (instances.clone(), BTreeSet::new());
        }
        let (first, second) = serving.split_at(serving.len() / 2);
        (idle.iter().chain(first).copied().collect(), second.iter().copied().collect())
    }
}
