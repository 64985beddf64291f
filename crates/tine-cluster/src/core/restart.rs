//! Whether an ended worker is followed by another one, and when.

use std::{collections::BTreeSet, time::Duration};

use super::backoff::Limits;

/// What the owner wants after a worker has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Workers are followed at all. pm2's `autorestart`.
    pub automatic: bool,
    /// A worker that ends with one of these codes has done its work. pm2's `stop_exit_codes`.
    pub stop_exit_codes: BTreeSet<i32>,
    /// One that never listened and ends with 0 is a job that is done. If not, it is followed like any
    /// other, as by pm2.
    pub jobs_end: bool,
    /// How long its place stays empty.
    pub delay: Delay,
}

/// The time between a worker's end and its successor's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delay {
    /// None after a long life; growing waits, within [`Limits`], after early ends.
    #[default]
    Growing,
    /// The same after every end. pm2's `restart_delay`.
    Fixed(Duration),
}

/// All by which it is decided what follows an end.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What is wanted.
    pub restart: Restart,
    /// How often.
    pub limits: Limits,
}

impl Default for Restart {
    /// All but jobs that are done, with growing waits.
    fn default() -> Self {
        let (stop_exit_codes, delay) = (BTreeSet::new(), Delay::default());
        Self { automatic: true, stop_exit_codes, jobs_end: true, delay }
    }
}

impl Restart {
    /// Whether a worker that ended with this exit code is to be followed; `None` is a signal.
    #[must_use]
    pub fn follows(&self, code: Option<i32>) -> bool {
        self.automatic && code.is_none_or(|code| !self.stop_exit_codes.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_signal_has_no_code_that_could_stop_anything() {
        let restart = Restart { stop_exit_codes: [0, 3].into(), ..Restart::default() };
        assert!(restart.follows(None) && restart.follows(Some(1)));
        assert!(!restart.follows(Some(0)) && !restart.follows(Some(3)));
        let never = Restart { automatic: false, ..Restart::default() };
        assert!(!never.follows(None) && !never.follows(Some(1)));
    }
}
