//! What happened to apps: kept for a while, and told to whoever watches.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::broadcast;

use crate::api::apps::AppEvent;

/// So many are kept of each app.
const KEPT: usize = 50;

/// Of one app.
#[derive(Debug)]
pub(super) struct History {
    last: VecDeque<AppEvent>,
    watchers: broadcast::Sender<AppEvent>,
}

impl History {
    pub(super) fn new(watchers: broadcast::Sender<AppEvent>) -> Self {
        Self { last: VecDeque::new(), watchers }
    }

    /// Keeps an event, and tells it.
    pub(super) fn add(&mut self, event: AppEvent) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(event.clone());
        // Nobody may be watching.
        let _ = self.watchers.send(event);
    }

    /// The newest last.
    pub(super) fn all(&self) -> Vec<AppEvent> {
        self.last.iter().cloned().collect()
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
