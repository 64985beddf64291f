//! How long nobody was answered although somebody waited.

use std::time::{Duration, Instant};

/// The longest such time so far.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Since when somebody waits without anybody having been answered.
    since: Option<Instant>,
    longest: Duration,
}

impl Stall {
    /// A request was due then.
    pub(super) fn due(&mut self, at: Instant) {
        self.since.get_or_insert(at);
    }

    /// A request was answered, and others wait, or do not. A failure is no answer: the wait goes on.
    pub(super) fn answered(&mut self, now: Instant, others_wait: bool) {
        self.longest = self.so_far(now);
        self.since = others_wait.then_some(now);
    }

    /// The longest, what lasts until now included.
    pub(super) fn so_far(&self, now: Instant) -> Duration {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.longest.max(lasts.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_lasts_from_the_first_who_waits_to_the_next_answer_over_all_failures() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut stall = Stall::default();
        stall.due(at(10));
        stall.answered(at(12), false);
        stall.due(at(100));
        stall.due(at(110));
        stall.answered(at(140), true);
        assert_eq!(stall.so_far(at(140)), Duration::from_millis(40));
        assert_eq!(stall.so_far(at(240)), Duration::from_millis(100), "one still waits");
        stall.answered(at(150), false);
        assert_eq!(stall.so_far(at(900)), Duration::from_millis(40), "nobody waits");
    }
}
