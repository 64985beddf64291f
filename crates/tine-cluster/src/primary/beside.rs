//! An old generation kept beside the new one: carries out what [`crate::core::generations`] decides.
//!
//! Who is kept fills no place and starts nothing; its seats stay its own. Aside, they are out of rotation,
//! and what it has already accepted it finishes in its own time. As the other part of a canary they stay in
//! rotation, with their part of the turns ([`super::shares`]). The way back puts the old ones into their
//! places first, and then lets the new ones go, so that somebody serves at every moment.

use std::{collections::BTreeSet, io, sync::Arc, time::Instant};

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Cluster, Ended, Program, event::What, input::Command, task::Task};
use crate::{
    core::{
        generations::{Beside, Generations},
        instance::Filling,
    },
    id::{Instance, WorkerId},
    policy::Mechanism,
};

/// Why nothing became of an old generation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The reload that keeps it is not over.
    #[error("a reload is under way")]
    Reloading,
    /// There is none.
    #[error("no old generation is kept")]
    NoneKept,
}

/// Why old workers cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotKept {
    /// Nobody tells the kernel how many connections each generation is to have.
    #[error(
        "{listener} is served by {mechanism}: only kernel-ebpf can give the new version a part"
    )]
    NoParts {
        /// Where.
        listener: String,
        /// By what.
        mechanism: Mechanism,
    },
    /// Old workers would go on taking what comes there.
    #[error(
        "{listener} is served by {mechanism}: old workers cannot be kept from taking what comes"
    )]
    NotAside {
        /// Where.
        listener: String,
        /// By what.
        mechanism: Mechanism,
    },
    /// There is no rotation to be out of.
    #[error("the app listens nowhere: old workers cannot be kept from working")]
    ListensNowhere,
}

/// The old workers, and what they run.
#[derive(Debug)]
pub(super) struct Kept {
    generations: Generations,
    before: Arc<Program>,
}

impl Cluster {
    /// Ends the time of an old generation that a [reload](Cluster::reload) has kept: its workers are
    /// drained and stopped; of a canary, the new workers get all connections. [`What::Promoted`] tells.
    ///
    /// # Errors
    ///
    /// When none is kept, or the reload is still under way.
    pub async fn promote(&self) -> Result<(), GenerationError> {
        self.ask(Command::Promote).await?
    }

    /// Goes back to an old generation that a [reload](Cluster::reload) has kept: its workers fill their
    /// places again and serve at once, the new ones are drained and stopped, and what ran before runs from
    /// now on. Gives the instances that are as they were; in the others the old worker had ended
    /// meanwhile, and a new one stays, which only another reload replaces.
    ///
    /// # Errors
    ///
    /// When none is kept, or the reload is still under way, which [`Cluster::cancel_reload`] ends.
    pub async fn revert(&self) -> Result<BTreeSet<Instance>, GenerationError> {
        self.ask(Command::Revert).await?
    }
}

impl Task {
    /// Why it cannot be.
    pub(super) fn cannot_keep(&self, beside: Beside) -> Option<NotKept> {
        let mut listeners = self.seats.registry().listeners().peekable();
        if listeners.peek().is_none() {
            return Some(NotKept::ListensNowhere);
        }
        listeners.find_map(|(_, it)| refusal(beside, it.key.to_string(), it.choice.mechanism))
    }

    /// A reload begins that keeps whom it replaces.
    pub(super) fn begin_to_keep(&mut self, beside: Beside, before: Arc<Program>) {
        if let Beside::Canary(part) = beside {
            let old = self.workers.values().filter(|worker| worker.life.serves());
            let shares = Some((old.map(|worker| worker.id).collect(), part));
            self.share_out(shares);
        }
        self.kept = Some(Kept { generations: Generations::new(beside), before });
    }

    /// Its place has a new worker. Whether it stays beside.
    pub(super) fn keep(&mut self, instance: Instance, old: WorkerId) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        kept.generations.replaced(instance, old);
        if let Some(worker) = self.workers.get_mut(&old) {
            worker.retired = true;
        }
        if self.is_aside(old) {
            if let Err(error) = self.seats.drain(old) {
                self.trouble(old, "take a seat out of rotation", io::Error::other(error));
            }
            self.leave_handing(old);
        }
        self.tell(old, What::Kept);
        true
    }

    /// The reload is over: both generations stand, or the old one is back.
    pub(super) fn kept_to_the_end(&mut self, failed: bool, now: Instant) {
        if failed {
            self.go_back();
        } else if let Some(kept) = &mut self.kept {
            kept.generations.settled(now);
        }
    }

    /// Whether the worker is kept, and is to get nothing.
    pub(super) fn is_aside(&self, worker: WorkerId) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.generations.keeps_aside(worker))
    }

    pub(super) fn promote(&mut self, done: oneshot::Sender<Result<(), GenerationError>>) {
        let refusal = self.refuses_to_change_generation();
        if refusal.is_none() {
            self.let_the_old_go();
        }
        // Whoever asked may have given up.
        let _ = done.send(refusal.map_or(Ok(()), Err));
    }

    pub(super) fn revert(
        &mut self,
        done: oneshot::Sender<Result<BTreeSet<Instance>, GenerationError>>,
    ) {
        let refusal = self.refuses_to_change_generation();
        let answer = refusal.map_or_else(|| Ok(self.go_back()), Err);
        let _ = done.send(answer);
    }

    fn refuses_to_change_generation(&self) -> Option<GenerationError> {
        if self.rolling.is_some() {
            return Some(GenerationError::Reloading);
        }
        self.kept.is_none().then_some(GenerationError::NoneKept)
    }

    /// The old ones leave; there is no way back from here.
    pub(super) fn let_the_old_go(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        self.share_out(None);
        for (_, old) in kept.generations.old() {
            self.retire(old);
        }
        self.tell(WorkerId(0), What::Promoted);
    }

    /// The old ones fill their places, and then the new ones leave. Gives the places.
    fn go_back(&mut self) -> BTreeSet<Instance> {
        let Some(kept) = self.kept.take() else { return BTreeSet::new() };
        self.program = kept.before;
        self.share_out(None);
        let (mut back, mut leavers) = (BTreeSet::new(), Vec::new());
        for (instance, old) in kept.generations.old() {
            if !self.is_wanted_again(instance, old) {
                self.retire(old);
                continue;
            }
            if let Some(Filling::Worker(new)) = self.place(instance).map(|it| it.filling()) {
                leavers.push(new);
            }
            self.returns(instance, old);
            back.insert(instance);
        }
        for new in leavers {
            self.retire(new);
        }
        back
    }

    /// Whether it lives, and its place is to be filled at all.
    fn is_wanted_again(&mut self, instance: Instance, old: WorkerId) -> bool {
        let serves = self.workers.get(&old).is_some_and(|worker| worker.life.serves());
        let filling = self.place(instance).map(|place| place.filling());
        serves && filling.is_some_and(|filling| filling != Filling::Empty)
    }

    fn returns(&mut self, instance: Instance, old: WorkerId) {
        if let Some(place) = self.place(instance) {
            place.filled(old);
        }
        if let Some(worker) = self.workers.get_mut(&old) {
            worker.retired = false;
        }
        for seat in self.seats.registry().held_by(old) {
            // One that it has closed meanwhile is not among them.
            if !self.told_listening.contains(&(old, seat)) {
                continue;
            }
            if let Err(error) = self.seats.open(seat) {
                self.trouble(old, "put a seat into rotation", io::Error::other(error));
            }
        }
        for listener in self.handing.keys().copied().collect::<Vec<_>>() {
            self.join_handing(old, listener);
        }
        self.tell(old, What::Returned);
        self.instance_filled(instance);
    }

    /// Nothing is left of the worker.
    pub(super) fn gone_from_the_kept(&mut self, id: WorkerId) {
        if let Some(kept) = &mut self.kept {
            kept.generations.gone(id);
        }
    }

    /// The time of those who are kept may be up.
    pub(super) fn look_at_the_kept(&mut self, now: Instant) {
        if self.kept.as_ref().is_some_and(|kept| kept.generations.is_over(now)) {
            self.let_the_old_go();
        }
    }

    /// When they are to be looked at.
    pub(super) fn kept_timeout(&self) -> Option<Instant> {
        self.kept.as_ref()?.generations.poll_timeout()
    }
}

fn refusal(beside: Beside, listener: String, mechanism: Mechanism) -> Option<NotKept> {
    match (beside, mechanism) {
        (_, Mechanism::KernelEbpf)
        | (Beside::Aside(_), Mechanism::KernelCbpf | Mechanism::HandOver) => None,
        (Beside::Canary(_), _) => Some(NotKept::NoParts { listener, mechanism }),
        // Under one queue the socket is shared; the kernel's hash knows no rotation.
        (Beside::Aside(_), Mechanism::OneQueue | Mechanism::KernelHash) => {
            Some(NotKept::NotAside { listener, mechanism })
        }
    }
}
