//! How the requests fared.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Kind, Stalls};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every byte is right.
    Answered,
    /// Nobody listens.
    Refused,
    /// The connection was reset before a byte of the answer.
    Reset,
    /// The connection ended before the answer did.
    Cut,
    /// No whole answer in time.
    TimedOut,
    /// Other bytes than it should be.
    Wrong,
    /// The connection had been kept, and the server had closed it before the request arrived: its system
    /// answered with a reset, within a moment, which finds the client with the end of the stream already there.
    /// No server can do anything about it, and every client asks again.
    Raced,
    /// The connection had been kept, and was reset before a byte of the answer within a moment of the request: that
    /// arrived when the server had looked at it for the last time and had not closed it yet, or was killed.
    ResetKept,
    /// The connection had been kept, and ended without a byte of the answer within a moment of the request:
    /// the server read it when it was about to close.
    EndedKept,
}

impl Outcome {
    /// Whether it is neither an answer nor the end of a kept connection that was met.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Answered | Self::Raced | Self::ResetKept | Self::EndedKept => false,
            Self::Refused | Self::Reset | Self::Cut | Self::TimedOut | Self::Wrong => true,
        }
    }

    /// In a few letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::TimedOut => "timed out",
            Self::Wrong => "wrong",
            Self::Raced => "raced",
            Self::ResetKept => "reset when used again",
            Self::EndedKept => "ended when used again",
        }
    }
}

/// A request that was not answered as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it was like.
    pub kind: Kind,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was due, since the load's start.
    pub due: Duration,
    /// How long after that it failed.
    pub after: Duration,
    /// Whether its connection had served a request before, and whose pid that was.
    pub reused_of: Option<u32>,
    /// What was seen last.
    pub detail: String,
}

/// Requests of some kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub requests: usize,
    /// Those that failed, without those that met the end of a kept connection.
    pub failed: usize,
    /// Likewise, by what became of them.
    pub causes: BTreeMap<Outcome, usize>,
    /// Those that met the end of a kept connection: [`Outcome::Raced`], [`Outcome::ResetKept`],
    /// [`Outcome::EndedKept`].
    pub met_the_end: usize,
}

/// The whole of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: BTreeMap<(Kind, Outcome), usize>,
    /// The first thousand failures, with what is known of them.
    pub failures: Vec<Failure>,
    /// What the plain requests took, in milliseconds, from when they were due.
    pub latencies: Vec<f64>,
    /// The longest times in which plain requests waited and none was answered.
    pub stalls: Stalls,
    /// The latest that a request was sent after it was due: what the machine did to the load itself.
    pub lateness: Duration,
    /// Kept connections that the server ended while nothing was under way on them.
    pub closed_idle: usize,
}

/// So many failures are known in full.
const TOLD: usize = 1000;

impl Tally {
    pub(super) fn add(&mut self, kind: Kind, outcome: Outcome) {
        *self.counts.entry((kind, outcome)).or_default() += 1;
    }

    pub(super) fn tell(&mut self, failure: Failure) {
        if self.failures.len() < TOLD {
            self.failures.push(failure);
        }
    }

    /// Requests of those kinds.
    #[must_use]
    pub fn count(&self, of: impl Fn(Kind) -> bool) -> Count {
        let mut count = Count::default();
        for ((_, outcome), number) in self.counts.iter().filter(|((kind, _), _)| of(*kind)) {
            count.requests += number;
            if outcome.is_failure() {
                count.failed += number;
                *count.causes.entry(*outcome).or_default() += number;
            } else if *outcome != Outcome::Answered {
                count.met_the_end += number;
            }
        }
        count
    }

    /// All requests.
    #[must_use]
    pub fn all(&self) -> Count {
        self.count(|_| true)
    }

    /// Requests with that outcome.
    #[must_use]
    pub fn with(&self, wanted: Outcome) -> usize {
        self.counts.iter().filter(|((_, it), _)| *it == wanted).map(|(_, number)| number).sum()
    }

    /// The longest that a plain request waited for its answer.
    #[must_use]
    pub fn slowest(&self) -> f64 {
        self.latencies.iter().copied().fold(0.0, f64::max)
    }
}
