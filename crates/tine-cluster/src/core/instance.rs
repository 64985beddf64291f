//! What becomes of an instance when its worker has ended.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    after,
    backoff::{Backoff, Limits, Retry},
    restart::{Delay, Rules},
    worker::Phase,
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
    wish: Wish,
    backoff: Backoff,
    fills: u32,
}

/// What the owner wants when the worker has ended that it told to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wish {
    /// It told nobody to go: what follows depends on the end.
    #[default]
    None,
    /// Nobody is to follow.
    Nobody,
    /// Another one is to follow, at once.
    Another,
}

/// A place, for whoever goes on with it in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRecord {
    filling: Filled,
    wish: Wish,
    early_ends: u32,
    fills: u32,
}

/// [`Filling`], with times that mean the same in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Filled {
    Empty,
    Worker(WorkerId),
    /// For so long, in milliseconds, as it was recorded first: the time since then was lost.
    Waiting(u64),
    /// Until then, in milliseconds by a clock that both processes have.
    Until(u64),
    Finished,
    GivenUp,
}

/// What is with an instance, in one word, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Empty, on purpose.
    Stopped,
    /// Its worker runs and is not ready yet.
    Launching,
    /// Its worker is ready.
    Online,
    /// Its worker is on its way out.
    Stopping,
    /// Its next worker waits for its time.
    Waiting,
    /// Its program has ended and is not to be followed.
    Finished,
    /// It ended early too often.
    GivenUp,
}

impl State {
    /// The word for this filling, with the phase of the worker that is there, ready or not.
    #[must_use]
    pub const fn of(filling: Filling, worker: Option<(Phase, bool)>) -> Self {
        match (filling, worker) {
            (Filling::Worker(_), Some((Phase::Starting | Phase::Online, false))) => Self::Launching,
            (Filling::Worker(_), Some((Phase::Starting | Phase::Online, true))) => Self::Online,
            (Filling::Worker(_), _) | (Filling::Empty, Some(_)) => Self::Stopping,
            (Filling::Empty, None) => Self::Stopped,
            (Filling::Waiting { .. }, _) => Self::Waiting,
            (Filling::Finished, _) => Self::Finished,
            (Filling::GivenUp, _) => Self::GivenUp,
        }
    }
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
        let (wish, backoff) = (Wish::default(), Backoff::default());
        Self { filling: Filling::Empty, wish, backoff, fills: 0 }
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

    /// What another process needs to go on with it. `clock` is what a clock tells now that both have, and that
    /// nobody sets.
    #[must_use]
    pub fn record(&self, (now, clock): (Instant, Duration)) -> PlaceRecord {
        let filling = match self.filling {
            Filling::Empty => Filled::Empty,
            Filling::Worker(worker) => Filled::Worker(worker),
            Filling::Waiting { until } => {
                let at = clock.saturating_add(until.saturating_duration_since(now)).as_millis();
                Filled::Until(u64::try_from(at).unwrap_or(u64::MAX))
            }
            Filling::Finished => Filled::Finished,
            Filling::GivenUp => Filled::GivenUp,
        };
        let early_ends = self.backoff.early_ends();
        PlaceRecord { filling, wish: self.wish, early_ends, fills: self.fills }
    }

    /// The place that was recorded, with what the clock of [`Self::record`] tells by now.
    #[must_use]
    pub fn recorded(record: PlaceRecord, (now, clock): (Instant, Duration)) -> Self {
        let filling = match record.filling {
            Filled::Empty => Filling::Empty,
            Filled::Worker(worker) => Filling::Worker(worker),
            Filled::Waiting(left) => {
                Filling::Waiting { until: after(now, Duration::from_millis(left)) }
            }
            Filled::Until(at) => {
                let left = Duration::from_millis(at).saturating_sub(clock);
                Filling::Waiting { until: after(now, left) }
            }
            Filled::Finished => Filling::Finished,
            Filled::GivenUp => Filling::GivenUp,
        };
        let backoff = Backoff::after(record.early_ends);
        Self { filling, wish: record.wish, backoff, fills: record.fills }
    }

    /// Whether nobody fills it, and nobody is to come.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.filling {
            Filling::Empty | Filling::Finished | Filling::GivenUp => true,
            Filling::Worker(_) | Filling::Waiting { .. } => false,
        }
    }

    /// How many workers have followed its first one, for whatever reason.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.fills.saturating_sub(1)
    }

    /// How many workers in a row have ended too early, or could not be started.
    #[must_use]
    pub const fn early_ends(&self) -> u32 {
        self.backoff.early_ends()
    }

    /// A worker was started for it.
    pub const fn filled(&mut self, worker: WorkerId) {
        self.filling = Filling::Worker(worker);
        self.wish = Wish::None;
        self.fills = self.fills.saturating_add(1);
    }

    /// No worker shall be started for it any more.
    pub const fn cancel(&mut self) {
        if let Filling::Waiting { .. } = self.filling {
            self.filling = Filling::Empty;
        }
        self.wish = Wish::None;
    }

    /// The owner wants nobody here. Gives the worker that is to be told to go.
    #[must_use = "the worker is to be told"]
    pub const fn stop(&mut self) -> Option<WorkerId> {
        match self.filling {
            Filling::Worker(worker) => {
                self.wish = Wish::Nobody;
                Some(worker)
            }
            Filling::Empty | Filling::Waiting { .. } | Filling::Finished | Filling::GivenUp => {
                self.filling = Filling::Empty;
                None
            }
        }
    }

    /// The owner wants somebody here, now. A worker that is there stays, unless it is `leaving`: then
    /// another one follows it.
    pub fn start(&mut self, now: Instant, leaving: bool) {
        match self.filling {
            Filling::Worker(_) if leaving => self.wish = Wish::Another,
            Filling::Worker(_) => {}
            Filling::Empty | Filling::Waiting { .. } | Filling::Finished | Filling::GivenUp => {
                self.begin_anew(now);
            }
        }
    }

    /// The owner wants somebody else here. Gives the worker that is to be told to go first.
    #[must_use = "the worker is to be told"]
    pub fn restart(&mut self, now: Instant) -> Option<WorkerId> {
        match self.filling {
            Filling::Worker(worker) => {
                self.wish = Wish::Another;
                Some(worker)
            }
            Filling::Empty | Filling::Waiting { .. } | Filling::Finished | Filling::GivenUp => {
                self.begin_anew(now);
                None
            }
        }
    }

    /// Nothing is known of who fills it.
    pub fn start_anew(&mut self, now: Instant) {
        self.filling = Filling::Waiting { until: now };
        self.wish = Wish::None;
    }

    /// As if nobody had ever been here.
    fn begin_anew(&mut self, now: Instant) {
        self.backoff = Backoff::default();
        self.filling = Filling::Waiting { until: now };
    }

    /// What the owner wants after the worker that it told to go.
    fn wished(&mut self, now: Instant) -> Option<Next> {
        match std::mem::take(&mut self.wish) {
            Wish::None => None,
            Wish::Nobody => Some(self.rest()),
            Wish::Another => {
                self.begin_anew(now);
                Some(Next::Restart(Duration::ZERO))
            }
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
        if let Some(next) = self.wished(now) {
            return next;
        }
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

    /// Likewise, under the owner's rules, with the exit code or `None` for a signal.
    pub fn followed(
        &mut self,
        (end, code): (End, Option<i32>),
        now: Instant,
        rules: &Rules,
    ) -> Next {
        let by_itself = self.wish == Wish::None && !end.asked;
        if by_itself && !rules.restart.follows(code) {
            self.filling = Filling::Finished;
            return Next::Rest;
        }
        // Where no job ends, every program is a server.
        let listened = end.listened || !rules.restart.jobs_end;
        let next = self.ended(End { listened, ..end }, now, &rules.limits);
        if by_itself { self.delayed(next, now, rules) } else { next }
    }

    /// A fixed delay takes the place of the growing one.
    fn delayed(&mut self, next: Next, now: Instant, rules: &Rules) -> Next {
        match (next, rules.restart.delay) {
            (Next::Restart(_), Delay::Fixed(wait)) => {
                self.filling = Filling::Waiting { until: after(now, wait) };
                Next::Restart(wait)
            }
            (Next::Restart(_), Delay::Growing) | (Next::GiveUp { .. } | Next::Rest, _) => next,
        }
    }

    /// Its worker could not be started, or was not ready in time: an early end, under the owner's rules.
    pub fn failed(&mut self, now: Instant, rules: &Rules) -> Next {
        if let Some(next) = self.wished(now) {
            return next;
        }
        if !rules.restart.automatic {
            return self.give_up();
        }
        let next = self.failed_to_start(now, &rules.limits);
        self.delayed(next, now, rules)
    }

    /// Its worker ended, and there shall be no other.
    pub const fn rest(&mut self) -> Next {
        self.filling = Filling::Empty;
        self.wish = Wish::None;
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
#[path = "instance_tests.rs"]
mod tests;
