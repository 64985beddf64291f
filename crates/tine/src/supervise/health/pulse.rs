//! From the outcomes of tries to whether somebody is well. Reads no clock.

use std::time::Duration;

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is well: for the first time, or again.
    Well,
    /// It failed so often in a row; the reason of the last time.
    Ill {
        /// How often.
        failures: u32,
        /// Why.
        reason: String,
    },
}

/// Counts the failures of one worker, or of an app.
#[derive(Clone, Debug)]
pub struct Pulse {
    threshold: u32,
    grace: Duration,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    New,
    Well,
    Ill,
}

impl Pulse {
    /// After `threshold` failures in a row it is ill; at an age below `grace` failures do not count.
    #[must_use]
    pub const fn new(threshold: u32, grace: Duration) -> Self {
        Self { threshold, grace, failures: 0, state: State::New }
    }

    /// A try came to this, at this age. Whoever stays ill is told so again after as many failures more:
    /// what was done about it may have failed.
    pub fn heard(&mut self, outcome: Result<(), String>, age: Duration) -> Option<Change> {
        match outcome {
            Ok(()) => self.succeeded(),
            Err(_) if age < self.grace => None,
            Err(reason) => self.failed(reason),
        }
    }

    fn succeeded(&mut self) -> Option<Change> {
        self.failures = 0;
        match std::mem::replace(&mut self.state, State::Well) {
            State::New | State::Ill => Some(Change::Well),
            State::Well => None,
        }
    }

    fn failed(&mut self, reason: String) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        if !self.failures.is_multiple_of(self.threshold.max(1)) {
            return None;
        }
        self.state = State::Ill;
        Some(Change::Ill { failures: self.failures, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Duration = Duration::from_mins(1);

    fn failure() -> Result<(), String> {
        Err("refused".to_owned())
    }

    fn ill(failures: u32) -> Change {
        Change::Ill { failures, reason: "refused".to_owned() }
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let mut pulse = Pulse::new(3, Duration::ZERO);
        assert_eq!(pulse.heard(Ok(()), OLD), Some(Change::Well));
        for _ in 0..2 {
            assert_eq!(pulse.heard(failure(), OLD), None);
            assert_eq!(pulse.heard(failure(), OLD), None);
            assert_eq!(pulse.heard(Ok(()), OLD), None);
        }
        assert_eq!(pulse.heard(failure(), OLD), None);
        assert_eq!(pulse.heard(failure(), OLD), None);
        assert_eq!(pulse.heard(failure(), OLD), Some(ill(3)));
        assert_eq!(pulse.heard(Ok(()), OLD), Some(Change::Well));
    }

    #[test]
    fn who_stays_ill_is_told_again_after_as_many_failures() {
        let mut pulse = Pulse::new(2, Duration::ZERO);
        let heard: Vec<_> = (0..5).map(|_| pulse.heard(failure(), OLD)).collect();
        assert_eq!(heard, [None, Some(ill(2)), None, Some(ill(4)), None]);
    }

    #[test]
    fn failures_of_the_very_young_do_not_count_but_success_does() {
        let young = Duration::from_secs(1);
        let mut pulse = Pulse::new(1, Duration::from_secs(10));
        assert_eq!(pulse.heard(failure(), young), None);
        assert_eq!(pulse.heard(failure(), young), None);
        assert_eq!(pulse.heard(Ok(()), young), Some(Change::Well));
        assert_eq!(pulse.heard(failure(), young), None);
        assert_eq!(pulse.heard(failure(), Duration::from_secs(10)), Some(ill(1)));
    }
}
