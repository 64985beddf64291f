//! How many requests of which kind.

use std::time::Duration;

/// What a request is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// On a connection of its own.
    New,
    /// On a connection of its own, answered after 300 ms.
    NewSlow,
    /// On a connection that was used before and will be used again.
    Kept,
    /// Likewise, answered after 300 ms.
    KeptSlow,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::New, Self::NewSlow, Self::Kept, Self::KeptSlow];

    /// Whether its connection is for it alone.
    #[must_use]
    pub fn is_new(self) -> bool {
        matches!(self, Self::New | Self::NewSlow)
    }

    /// Whether its answer takes time by itself.
    #[must_use]
    pub fn is_slow(self) -> bool {
        matches!(self, Self::NewSlow | Self::KeptSlow)
    }

    pub(super) fn path(self, number: u64) -> String {
        format!("/{}/{number}", if self.is_slow() { "slow" } else { "plain" })
    }
}

/// Requests a second of each kind, and what is borne.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Of [`Kind::New`] and [`Kind::Kept`] each.
    pub plain: u32,
    /// Of [`Kind::NewSlow`] and [`Kind::KeptSlow`] each.
    pub slow: u32,
    /// Connections that are kept; with none, there are no requests on kept ones.
    pub connections: usize,
    /// After this long a request that is not answered has timed out.
    pub patience: Duration,
    /// An end so soon after a request on a kept connection had been on its way before the request came: a busy
    /// program is that slow.
    pub moment: Duration,
}

impl Default for Pace {
    /// 200 plain and 20 slow requests a second, one half of them on 24 kept connections.
    fn default() -> Self {
        let (patience, moment) = (Duration::from_secs(5), Duration::from_millis(20));
        Self { plain: 100, slow: 10, connections: 24, patience, moment }
    }
}

impl Pace {
    /// From one request of this kind to the next; `None` when there are none.
    pub(super) fn interval(&self, kind: Kind) -> Option<Duration> {
        let rate = if kind.is_slow() { self.slow } else { self.plain };
        Duration::from_secs(1).checked_div(rate)
    }
}
