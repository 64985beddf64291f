//! What becomes of an instance when its worker has ended.

use std::time::{Duration, Instant};

use super::{
    after,
    backoff::{Backoff, Limits, Retry},
};
use crate::id::WorkerId;

/// A place in the app, and what fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Nothing yet, or nothing any more, on purpose.
    Empty,
    /// This worker.
    Worker(WorkerId),
    /// A worker starts at this time.
    Waiting {
        /// When.
        until: Instant,
    },
    /// The program ended by itself and wants no successor.
    Finished,
    /// It ended early too often.
    GivenUp,
}

/// One instance of the app.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    filling: Filling,
    backoff: Backoff,
}

/// How a worker's first process ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// It was told to go.
    pub asked: bool,
    /// With exit code 0.
    pub clean: bool,
    /// It had listened on an address.
    pub listened: bool,
    /// For how long it had run.
    pub lived: Duration,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start another worker after this wait.
    Restart(Duration),
    /// It ended early so often in a row that the instance is given up.
    GiveUp {
        /// How often.
        early_ends: u32,
    },
    /// Nothing: it was told to go, or has done what it had to do.
    Rest,
}

impl Default for Place {
    fn default() -> Self {
        Self { filling: Filling::Empty, backoff: Backoff::default() }
    }
}

impl Place {
    /// What fills it.
    #[must_use]
    pub const fn filling(&self) -> Filling {
        self.filling
    }

    /// A place that is to be filled at this time.
    #[must_use]
    pub fn wanted(at: Instant) -> Self {
        Self { filling: Filling::Waiting { until: at }, ..Self::default() }
    }

    /// Whether nobody fills it, and nobody is to come.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.filling {
            Filling::Empty | Filling::Finished | Filling::GivenUp => true,
            Filling::Worker(_) | Filling::Waiting { .. } => false,
        }
    }

    /// A worker was started for it.
    pub const fn filled(&mut self, worker: WorkerId) {
        self.filling = Filling::Worker(worker);
    }

    /// No worker shall be started for it any more.
    pub const fn cancel(&mut self) {
        if let Filling::Waiting { .. } = self.filling {
            self.filling = Filling::Empty;
        }
    }

    /// Whether a worker is to be started now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.filling, Filling::Waiting { until } if until <= now)
    }

    /// Its worker ended.
    ///
    /// A program that listened is a server: it has a successor whatever its exit code. One that
    /// never listened and ended well has done its work.
    pub fn ended(&mut self, end: End, now: Instant, limits: &Limits) -> Next {
        if end.asked {
            self.filling = Filling::Empty;
            return Next::Rest;
        }
        if end.clean && !end.listened {
            self.filling = Filling::Finished;
            return Next::Rest;
        }
        self.retry(end.lived, now, limits)
    }

    /// Its worker ended, and there shall be no other.
    pub const fn rest(&mut self) -> Next {
        self.filling = Filling::Empty;
        Next::Rest
    }

    /// It is hopeless.
    pub const fn give_up(&mut self) -> Next {
        self.filling = Filling::GivenUp;
        Next::GiveUp { early_ends: 1 }
    }

    /// Its worker could not even be started.
    pub fn failed_to_start(&mut self, now: Instant, limits: &Limits) -> Next {
        self.retry(Duration::ZERO, now, limits)
    }

    fn retry(&mut self, lived: Duration, now: Instant, limits: &Limits) -> Next {
        match self.backoff.ended(lived, limits) {
            Retry::After(wait) => {
                self.filling = Filling::Waiting { until: after(now, wait) };
                Next::Restart(wait)
            }
            Retry::Never { early_ends } => {
                self.filling = Filling::GivenUp;
                Next::GiveUp { early_ends }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: End =
        End { asked: false, clean: false, listened: false, lived: Duration::from_millis(5) };

    #[test]
    fn a_crash_is_followed_by_a_worker_after_the_wait_and_not_before() {
        let (mut place, now, limits) = (Place::default(), Instant::now(), Limits::default());
        place.filled(WorkerId(1));
        assert_eq!(place.ended(CRASH, now, &limits), Next::Restart(limits.first));
        assert!(!place.is_due(now));
        assert!(place.is_due(now + limits.first));
        place.filled(WorkerId(2));
        assert!(!place.is_due(now + limits.first));
    }

    #[test]
    fn a_program_that_always_exits_at_once_is_given_up() {
        let (mut place, now) = (Place::default(), Instant::now());
        let limits = Limits { max_restarts: 2, ..Limits::default() };
        assert!(matches!(place.ended(CRASH, now, &limits), Next::Restart(_)));
        assert_eq!(place.ended(CRASH, now, &limits), Next::GiveUp { early_ends: 2 });
        assert_eq!(place.filling(), Filling::GivenUp);
        assert!(!place.is_due(now + Duration::from_hours(1)));
    }

    #[test]
    fn a_server_that_exits_with_0_has_a_successor_a_job_has_not() {
        let (now, limits) = (Instant::now(), Limits::default());
        let job = End { clean: true, ..CRASH };
        let server = End { listened: true, ..job };
        assert_eq!(Place::default().ended(job, now, &limits), Next::Rest);
        assert!(matches!(Place::default().ended(server, now, &limits), Next::Restart(_)));
    }

    #[test]
    fn who_was_told_to_go_is_not_replaced() {
        let (mut place, now) = (Place::default(), Instant::now());
        let next = place.ended(End { asked: true, ..CRASH }, now, &Limits::default());
        assert_eq!((next, place.filling()), (Next::Rest, Filling::Empty));
    }

    #[test]
    fn a_cancelled_restart_never_comes_due() {
        let (mut place, now, limits) = (Place::default(), Instant::now(), Limits::default());
        place.ended(CRASH, now, &limits);
        place.cancel();
        assert!(!place.is_due(now + Duration::from_hours(1)));
    }
}
