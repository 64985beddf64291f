//! How soon a manager is followed by another one.

use std::time::{Duration, Instant};

/// One that has lived for so long was well.
const WELL: Duration = Duration::from_secs(5);
/// So many that were not well are followed at once.
const AT_ONCE: u32 = 3;
const FIRST: Duration = Duration::from_millis(100);
/// Whatever goes wrong, workers are to have a manager within a second.
const LONGEST: Duration = Duration::from_millis(800);

/// Counts managers that did not live long.
#[derive(Debug, Default)]
pub(super) struct Pace {
    in_a_row: u32,
}

impl Pace {
    /// When the next one is due, after one that lived from `since` on has ended now.
    pub(super) fn next(&mut self, since: Instant, now: Instant) -> Instant {
        let lived = now.saturating_duration_since(since);
        self.in_a_row = if lived >= WELL { 1 } else { self.in_a_row.saturating_add(1) };
        let Some(more) = self.in_a_row.checked_sub(AT_ONCE + 1) else { return now };
        now + FIRST.saturating_mul(1 << more.min(16)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_end_at_once_are_followed_later_and_later() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let mut next = || pace.next(now, now).duration_since(now).as_millis();
        let pauses: Vec<u128> = std::iter::repeat_with(&mut next).take(10).collect();
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 800, 800, 800, 800]);
        let later = now + WELL;
        assert_eq!(pace.next(now, later), later, "this one was well");
    }
}
