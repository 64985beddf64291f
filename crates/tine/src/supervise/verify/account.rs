//! What became of requests, in numbers. No clock, no sockets.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::client::Sent;

/// Why a request had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Nobody listened.
    Refused,
    /// The connection was torn down.
    Reset,
    /// It ended before the answer did.
    Closed,
    /// There was none in time.
    Late,
    /// Something on this side, such as no more descriptors.
    Other,
}

impl Loss {
    /// The word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Late => "late",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the connection was refused",
            Self::Reset => "the connection was reset",
            Self::Closed => "the connection ended without an answer",
            Self::Late => "no answer came in time",
            Self::Other => "the request could not be made",
        })
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Answered {
        /// With a status from 500 on.
        error: bool,
        /// Only when it was sent again, since the kept connection was closed meanwhile.
        retried: bool,
    },
    /// It was not.
    Lost(Loss),
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    sent: u64,
    errors: u64,
    retried: u64,
    lost: BTreeMap<Loss, u64>,
    /// Microseconds. A request each 14 ms makes 1 MB in an hour.
    waits: Vec<u32>,
}

impl Account {
    /// One more request is over.
    pub(super) fn add(&mut self, Sent { fate, waited }: Sent) {
        self.sent += 1;
        self.waits.push(u32::try_from(waited.as_micros()).unwrap_or(u32::MAX));
        match fate {
            Fate::Answered { error, retried } => {
                self.errors += u64::from(error);
                self.retried += u64::from(retried);
            }
            Fate::Lost(loss) => *self.lost.entry(loss).or_default() += 1,
        }
    }

    /// How many there were.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many were answered with a status from 500 on.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// How many were answered at the second try only, on a new connection.
    #[must_use]
    pub const fn retried(&self) -> u64 {
        self.retried
    }

    /// How many were lost, by cause.
    #[must_use]
    pub const fn lost(&self) -> &BTreeMap<Loss, u64> {
        &self.lost
    }

    /// The longest wait, that for an answer which never came included.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or(0);
        Duration::from_micros(longest.into())
    }

    /// Half of them waited no longer.
    #[must_use]
    pub fn usual_wait(&self) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let usual = waits.get(waits.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        Duration::from_micros(usual.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Fate = Fate::Answered { error: false, retried: false };

    fn sent(fate: Fate, millis: u64) -> Sent {
        Sent { fate, waited: Duration::from_millis(millis) }
    }

    #[test]
    fn every_request_is_counted_once_and_a_second_try_or_an_error_is_no_loss() {
        let mut account = Account::default();
        account.add(sent(WELL, 1));
        account.add(sent(Fate::Answered { error: true, retried: false }, 2));
        account.add(sent(Fate::Answered { error: false, retried: true }, 3));
        account.add(sent(Fate::Lost(Loss::Reset), 9));
        account.add(sent(Fate::Lost(Loss::Reset), 4));
        assert_eq!((account.sent(), account.errors(), account.retried()), (5, 1, 1));
        assert_eq!(account.lost(), &[(Loss::Reset, 2)].into());
        assert_eq!(account.longest_wait(), Duration::from_millis(9));
        assert_eq!(account.usual_wait(), Duration::from_millis(3));
    }

    #[test]
    fn where_nothing_was_sent_nothing_was_waited_for() {
        let account = Account::default();
        assert_eq!((account.longest_wait(), account.usual_wait()), Default::default());
    }
}
