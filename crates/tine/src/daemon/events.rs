//! What happened to apps: kept for a while, and told to whoever watches.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::broadcast;

use super::state::Mark;
use crate::api::apps::AppEvent;

/// So many are kept of each app.
const KEPT: usize = 50;
/// Milliseconds; a clock that is off by more was set.
const SET: u64 = 3000;

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

/// When the process began that is said to have begun then: where the clock was set since, the time that makes
/// its age right.
pub(super) fn began(at: u64, process: Option<Mark>) -> u64 {
    let age = process.and_then(|mark| tine_linux::tree::age(mark.started).ok());
    let Some(age) = age else { return at };
    by_age(at, now(), age)
}

fn by_age(at: u64, now: u64, age: Duration) -> u64 {
    let began = now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    // It is told of a little after it has begun, and clocks are corrected by little all the time.
    if began.abs_diff(at) > SET { began } else { at }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_nobody_older_or_younger() {
        let (hour, age) = (3_600_000, Duration::from_secs(90));
        let at = 100 * hour;
        assert_eq!(by_age(at, at + 91_000, age), at, "corrected by little");
        assert_eq!(by_age(at, at + 90_000 + hour, age), at + hour);
        assert_eq!(by_age(at, at + 90_000 - 6 * hour, age), at - 6 * hour);
        assert_eq!(by_age(at, 0, age), 0);
    }
}
