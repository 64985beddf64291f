//! How much of what one worker does may wait for an owner that takes no events.
//!
//! What a worker can do as often as it likes is counted, and beyond [`MOST`] only the number is kept.
//! The steps of its life are not: each takes a process to start or to end.

use std::{mem, sync::Arc};

use tokio::sync::Semaphore;

use super::{budget::Permit, event::What};

/// So many such events of one worker may wait.
const MOST: usize = 64;

/// One worker's share.
#[derive(Debug)]
pub(super) struct Quota {
    room: Arc<Semaphore>,
    missed: u64,
}

/// An event that may be told.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What it takes up until the owner takes it.
    pub(super) permit: Option<Permit>,
    /// So many were not told before it.
    pub(super) missed: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MOST)), missed: 0 }
    }
}

impl Quota {
    /// `None`: there is no room, and it is counted.
    pub(super) fn admit(&mut self, what: &What) -> Option<Admitted> {
        let mut permit = None;
        if is_counted(what) {
            permit = Arc::clone(&self.room).try_acquire_owned().ok();
            if permit.is_none() {
                self.missed += 1;
                return None;
            }
        }
        Some(Admitted { permit, missed: mem::take(&mut self.missed) })
    }

    /// How many were missed, once the owner has taken all that waited.
    pub(super) fn catch_up(&mut self) -> Option<u64> {
        (self.room.available_permits() == MOST).then(|| mem::take(&mut self.missed))
    }
}

/// Whether a worker can bring it about as often as it likes.
const fn is_counted(what: &What) -> bool {
    match what {
        What::Online
        | What::Listening { .. }
        | What::Refused { .. }
        | What::Unfit { .. }
        | What::AcceptsAgain
        | What::Trouble { .. } => true,
        What::Started { .. }
        | What::Adopted { .. }
        | What::Unlimited { .. }
        | What::NotStarted { .. }
        | What::Ready
        | What::NotReady { .. }
        | What::Disconnected
        | What::Setup
        | What::Kept
        | What::Returned
        | What::Promoted
        | What::Draining
        | What::Cut { .. }
        | What::Misbehaved { .. }
        | What::Exited { .. }
        | What::Restarting { .. }
        | What::Finished
        | What::GivenUp { .. }
        | What::Missed { .. } => false,
        // Both have a measure of their own.
        What::Output { .. } | What::Message { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_share_a_worker_is_counted_and_told_of_when_there_is_room() {
        let mut quota = Quota::default();
        let waiting: Vec<_> = (0..MOST).map(|_| quota.admit(&What::Online).unwrap()).collect();
        assert!(waiting.iter().all(|it| it.permit.is_some() && it.missed == 0));
        assert!(quota.admit(&What::Online).is_none() && quota.admit(&What::AcceptsAgain).is_none());
        assert_eq!(quota.catch_up(), None, "the owner is behind");
        drop(waiting);
        assert_eq!(quota.admit(&What::Online).unwrap().missed, 2);
        assert_eq!(quota.admit(&What::Online).unwrap().missed, 0, "told once");
    }

    #[test]
    fn the_steps_of_a_life_are_always_told_and_what_was_missed_with_them() {
        let mut quota = Quota::default();
        let _waiting: Vec<_> = (0..=MOST).map(|_| quota.admit(&What::Online)).collect();
        let ready = quota.admit(&What::Ready).unwrap();
        assert!(ready.permit.is_none() && ready.missed == 1);
    }

    #[test]
    fn an_owner_that_has_caught_up_hears_how_many_it_missed() {
        let mut quota = Quota::default();
        let waiting: Vec<_> = (0..MOST + 5).map(|_| quota.admit(&What::Online)).collect();
        drop(waiting);
        assert_eq!(quota.catch_up(), Some(5));
    }
}
