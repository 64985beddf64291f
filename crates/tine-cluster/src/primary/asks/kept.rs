//! What a successor needs of the names that workers were given.

use super::Asks;
use crate::{
    address::ListenKey,
    id::{SeatId, WorkerId},
};

impl Asks {
    /// What is bound under which names, and how many names were given: for a successor.
    pub(in crate::primary) fn record(&self) -> (Vec<(String, ListenKey)>, u64) {
        let bound = self.bound.iter().map(|(name, key)| (name.clone(), key.clone()));
        (bound.collect(), self.last_name)
    }

    /// What the worker was given, by its names.
    pub(in crate::primary) fn given_to(&self, worker: WorkerId) -> Vec<(String, SeatId)> {
        let from = self.given.range((worker, String::new())..);
        let of = from.take_while(|((holder, _), _)| *holder == worker);
        of.map(|((_, name), seat)| (name.clone(), *seat)).collect()
    }

    /// Goes on with the names of a predecessor.
    pub(in crate::primary) fn adopt(&mut self, bound: Vec<(String, ListenKey)>, last_name: u64) {
        self.bound = bound.into_iter().collect();
        self.last_name = last_name;
    }

    /// A predecessor gave this to the worker.
    pub(in crate::primary) fn adopt_given(&mut self, worker: WorkerId, name: &str, seat: SeatId) {
        self.given.insert((worker, name.to_owned()), seat);
    }
}
