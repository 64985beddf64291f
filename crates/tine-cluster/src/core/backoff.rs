//! When to try again, and when to stop trying.

use std::time::Duration;

/// How often and how soon a worker that ended too early is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The wait after the first early end.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// A worker that lived at least this long ended late: counting begins anew.
    pub min_uptime: Duration,
    /// After this many early ends in a row nobody tries any more.
    pub max_restarts: u32,
}

impl Default for Limits {
    /// pm2's `min_uptime` and `max_restarts`, and its growth by one half.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(15),
            min_uptime: Duration::from_secs(1),
            max_restarts: 16,
        }
    }
}

/// The early ends in a row of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    early_ends: u32,
}

/// What to do after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Start again after this wait.
    After(Duration),
    /// It ended early too often.
    Never {
        /// How often in a row.
        early_ends: u32,
    },
}

impl Backoff {
    /// As it is after so many early ends in a row.
    #[must_use]
    pub const fn after(early_ends: u32) -> Self {
        Self { early_ends }
    }

    /// How many early ends in a row there were.
    #[must_use]
    pub const fn early_ends(self) -> u32 {
        self.early_ends
    }

    /// A worker ended by itself after `lived`.
    pub fn ended(&mut self, lived: Duration, limits: &Limits) -> Retry {
        if lived >= limits.min_uptime {
            *self = Self::default();
            return Retry::After(Duration::ZERO);
        }
        self.early_ends = self.early_ends.saturating_add(1);
        if self.early_ends >= limits.max_restarts {
            return Retry::Never { early_ends: self.early_ends };
        }
        Retry::After(self.wait(limits))
    }

    /// `first × 1.5^(n-1)`, at most `longest`.
    fn wait(self, limits: &Limits) -> Duration {
        let mut wait = limits.first;
        for _ in 1..self.early_ends {
            wait = wait.saturating_add(wait / 2);
            if wait >= limits.longest {
                return limits.longest;
            }
        }
        wait.min(limits.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[test]
    fn the_wait_grows_by_half_up_to_the_longest() {
        let limits = Limits { max_restarts: 100, ..Limits::default() };
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..20)
            .map(|_| match backoff.ended(SOON, &limits) {
                Retry::After(wait) => wait.as_millis(),
                Retry::Never { .. } => panic!("gave up"),
            })
            .collect();
        assert_eq!(waits[..5], [100, 150, 225, 337, 506]);
        assert_eq!(waits[19], 15_000);
    }

    #[test]
    fn no_wait_is_shorter_than_the_one_before_however_long() {
        let limits = Limits { first: Duration::MAX, longest: Duration::MAX, ..Limits::default() };
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            assert_eq!(backoff.ended(SOON, &limits), Retry::After(Duration::MAX));
        }
    }

    #[test]
    fn it_gives_up_at_the_limit() {
        let limits = Limits { max_restarts: 3, ..Limits::default() };
        let mut backoff = Backoff::default();
        assert!(matches!(backoff.ended(SOON, &limits), Retry::After(_)));
        assert!(matches!(backoff.ended(SOON, &limits), Retry::After(_)));
        assert_eq!(backoff.ended(SOON, &limits), Retry::Never { early_ends: 3 });
    }

    #[test]
    fn a_long_life_begins_the_count_anew_and_is_followed_at_once() {
        let limits = Limits::default();
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.ended(SOON, &limits);
        }
        let late = backoff.ended(limits.min_uptime, &limits);
        assert_eq!(late, Retry::After(Duration::ZERO));
        assert_eq!(backoff.ended(SOON, &limits), Retry::After(limits.first));
    }
}
