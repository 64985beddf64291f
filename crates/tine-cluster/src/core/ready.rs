//! When a worker counts as ready, and when it is too late.

use std::time::Duration;

/// What is known of a worker that is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Whether its program has said so; `None` where that is not demanded.
    pub said: Option<bool>,
    /// Whether it listens where it has to; `None` where it has to listen nowhere.
    pub listens: Option<bool>,
    /// For how long it has run.
    pub lived: Duration,
}

/// What a worker lacks that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// That its program says so.
    Word,
    /// A listener where it has to have one.
    Listener,
    /// Some more time.
    Time,
}

impl Signs {
    /// Whether they are enough. A program that has nothing to say and nowhere to listen is ready when it
    /// has lived for `min_uptime`.
    #[must_use]
    pub fn are_enough(&self, min_uptime: Duration) -> bool {
        self.missing(min_uptime).is_none()
    }

    /// What it lacks first; nothing when it is ready.
    #[must_use]
    pub fn missing(&self, min_uptime: Duration) -> Option<Missing> {
        match (self.said, self.listens) {
            (Some(false), _) => Some(Missing::Word),
            (Some(true) | None, Some(listens)) => (!listens).then_some(Missing::Listener),
            (Some(true), None) => None,
            (None, None) => (self.lived < min_uptime).then_some(Missing::Time),
        }
    }

    /// Whether it should have said so by now.
    #[must_use]
    pub fn are_late(&self, timeout: Option<Duration>) -> bool {
        self.said == Some(false) && timeout.is_some_and(|timeout| self.lived >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOTHING: Signs = Signs { said: None, listens: None, lived: Duration::ZERO };

    #[test]
    fn whoever_is_to_say_so_is_not_ready_before_however_long_it_lives() {
        let silent = Signs { said: Some(false), listens: Some(true), lived: SECOND * 60 };
        assert!(!silent.are_enough(SECOND));
        assert!(Signs { said: Some(true), ..silent }.are_enough(SECOND));
        assert!(Signs { said: Some(true), ..NOTHING }.are_enough(SECOND));
    }

    #[test]
    fn where_others_listen_listening_counts_and_time_does_not() {
        let deaf = Signs { listens: Some(false), lived: SECOND * 60, ..NOTHING };
        assert!(!deaf.are_enough(SECOND));
        assert!(Signs { listens: Some(true), ..NOTHING }.are_enough(SECOND));
    }

    #[test]
    fn who_has_nothing_to_do_for_it_is_ready_when_it_has_lived_long_enough() {
        assert!(!NOTHING.are_enough(SECOND));
        assert!(Signs { lived: SECOND, ..NOTHING }.are_enough(SECOND));
    }

    #[test]
    fn what_is_missing_is_the_word_before_the_listener_and_the_listener_before_time() {
        let missing = |said, listens| Signs { said, listens, ..NOTHING }.missing(SECOND);
        assert_eq!(missing(Some(false), Some(false)), Some(Missing::Word));
        assert_eq!(missing(Some(true), Some(false)), Some(Missing::Listener));
        assert_eq!(missing(None, Some(false)), Some(Missing::Listener));
        assert_eq!(missing(None, None), Some(Missing::Time));
        assert_eq!((missing(Some(true), None), missing(None, Some(true))), (None, None));
    }

    #[test]
    fn only_who_was_to_say_so_can_be_late() {
        let silent = Signs { said: Some(false), lived: SECOND, ..NOTHING };
        assert!(silent.are_late(Some(SECOND)));
        assert!(!silent.are_late(Some(SECOND * 2)) && !silent.are_late(None));
        assert!(!Signs { said: None, ..silent }.are_late(Some(SECOND)));
        assert!(!Signs { said: Some(true), ..silent }.are_late(Some(SECOND)));
    }
}
