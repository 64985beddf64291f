//! How much of what a worker says may wait for the owner of the cluster.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::json::Json;

/// What the messages of one worker may take up while nobody takes them, in bytes.
const BUDGET: u32 = 1 << 20;
/// What the smallest counts, so that there are no more than 1024 of them.
const SMALLEST: u32 = 1024;
/// What a descriptor counts, so that there are no more than 16 of them.
const DESCRIPTOR: u32 = BUDGET / 16;

/// So long a message may be held while somebody waits for the words behind it. Who waits may be who is to
/// take it, and would wait for itself.
const UNHEARD: Duration = Duration::from_secs(5);

/// A part of a worker's budget. Dropped when the owner takes the message.
pub(super) type Permit = OwnedSemaphorePermit;

/// What a worker's program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) message: Json,
    /// It wants an answer under this number.
    pub(super) seq: Option<u64>,
    pub(super) fd: Option<OwnedFd>,
    pub(super) permit: Option<Permit>,
}

impl Said {
    pub(super) const fn new(message: Json, seq: Option<u64>, fd: Option<OwnedFd>) -> Self {
        Self { message, seq, fd, permit: None }
    }

    /// A message that is larger than the budget takes all of it.
    fn cost(&self) -> u32 {
        let length = u32::try_from(self.message.get().len()).unwrap_or(BUDGET);
        let fd = if self.fd.is_some() { DESCRIPTOR } else { 0 };
        length.max(SMALLEST).saturating_add(fd).min(BUDGET)
    }
}

/// One worker's budget, and the message that it has no room for: until there is, the worker's channel
/// is not read.
#[derive(Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    held: Option<Box<Said>>,
    held_since: Instant,
    lifted: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(BUDGET as usize));
        Self { room, held: None, held_since: Instant::now(), lifted: false }
    }

    /// The message, if there is room for it; otherwise it is held.
    pub(super) fn admit(&mut self, mut said: Box<Said>) -> Option<Box<Said>> {
        match Arc::clone(&self.room).try_acquire_many_owned(said.cost()) {
            Ok(permit) => said.permit = Some(permit),
            Err(_) if self.lifted => {}
            Err(_) => {
                self.held = Some(said);
                self.held_since = Instant::now();
                return None;
            }
        }
        Some(said)
    }

    /// Whether a message is held.
    pub(super) const fn is_used_up(&self) -> bool {
        self.held.is_some()
    }

    /// Waits for room. Cancel safe: whoever asks again waits in the same place, for nobody else does.
    pub(super) async fn room(&self) -> Option<Permit> {
        let cost = self.held.as_ref().map_or(0, |said| said.cost());
        Arc::clone(&self.room).acquire_many_owned(cost).await.ok()
    }

    /// Waits until the message has been held for too long. Cancel safe.
    pub(super) async fn unheard(&self) {
        sleep_until(self.held_since + UNHEARD).await;
    }

    /// The message that was held.
    pub(super) fn release(&mut self, permit: Option<Permit>) -> Option<Box<Said>> {
        let mut said = self.held.take()?;
        said.permit = permit;
        Some(said)
    }

    /// The worker has ended: what it still has to say is what a socket holds, and is heard at once.
    pub(super) fn lift(&mut self) -> Option<Box<Said>> {
        self.lifted = true;
        self.release(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(budget: &mut Budget, length: usize) -> Option<Box<Said>> {
        let message = Json::of(&"x".repeat(length)).unwrap();
        budget.admit(Box::new(Said::new(message, None, None)))
    }

    #[tokio::test]
    async fn what_was_taken_makes_room_for_what_is_held() {
        let mut budget = Budget::new();
        let taken: Vec<_> = (0..1024).map(|_| offer(&mut budget, 1).unwrap()).collect();
        assert!(offer(&mut budget, 1).is_none() && budget.is_used_up());
        drop(taken);
        let permit = budget.room().await;
        assert!(budget.release(permit).is_some() && !budget.is_used_up());
    }

    #[test]
    fn a_message_larger_than_the_budget_passes_alone() {
        let mut budget = Budget::new();
        let large = offer(&mut budget, 3 << 20).unwrap();
        assert!(offer(&mut budget, 1).is_none());
        drop(large);
        assert!(budget.lift().is_some());
        let rest: Vec<_> = (0..5000).map_while(|_| offer(&mut budget, 1)).collect();
        assert_eq!(rest.len(), 5000, "what a dead worker had said is heard to its end");
    }
}
