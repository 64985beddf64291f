//! How long nobody was answered although somebody waited.

use std::time::{Duration, Instant};

use super::Kind;

/// The longest such times. A kept connection goes straight to its worker, so whoever asks on one may be answered
/// while no new connection is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stalls {
    /// Of plain requests on connections of their own.
    pub new: Duration,
    /// Of plain requests on kept ones.
    pub kept: Duration,
}

impl Stalls {
    /// The longer one.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.new.max(self.kept)
    }
}

/// Sees the plain requests, those on new connections apart from those on kept ones.
#[derive(Debug, Default)]
pub(super) struct Watch {
    new: Stall,
    kept: Stall,
}

impl Watch {
    fn of(&mut self, kind: Kind) -> Option<&mut Stall> {
        match kind {
            Kind::New => Some(&mut self.new),
            Kind::Kept => Some(&mut self.kept),
            Kind::NewSlow | Kind::KeptSlow => None,
        }
    }

    /// A request was due then.
    pub(super) fn due(&mut self, kind: Kind, at: Instant) {
        if let Some(stall) = self.of(kind) {
            stall.due(at);
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, kind: Kind, now: Instant) {
        if let Some(stall) = self.of(kind) {
            stall.answered(now);
        }
    }

    /// A request failed, which is no answer: for the others the wait goes on.
    pub(super) fn gave_up(&mut self, kind: Kind) {
        if let Some(stall) = self.of(kind) {
            stall.waiting -= 1;
        }
    }

    /// The longest, what lasts until now included.
    pub(super) fn so_far(&self, now: Instant) -> Stalls {
        Stalls { new: self.new.so_far(now), kept: self.kept.so_far(now) }
    }
}

/// The longest such time so far among requests of a kind.
#[derive(Debug, Default)]
struct Stall {
    /// Requests under way.
    waiting: usize,
    /// Since when somebody waits without anybody having been answered.
    since: Option<Instant>,
    longest: Duration,
}

impl Stall {
    fn due(&mut self, at: Instant) {
        self.waiting += 1;
        self.since.get_or_insert(at);
    }

    fn answered(&mut self, now: Instant) {
        self.longest = self.so_far(now);
        self.waiting -= 1;
        self.since = (self.waiting > 0).then_some(now);
    }

    fn so_far(&self, now: Instant) -> Duration {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.longest.max(lasts.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Kind = Kind::New;

    #[test]
    fn a_stall_lasts_from_the_first_who_waits_to_the_next_answer_over_all_failures() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::default();
        watch.due(NEW, at(10));
        watch.answered(NEW, at(12));
        watch.due(NEW, at(100));
        watch.due(NEW, at(110));
        watch.due(NEW, at(120));
        watch.gave_up(NEW);
        watch.answered(NEW, at(140));
        assert_eq!(watch.so_far(at(140)).new, Duration::from_millis(40));
        assert_eq!(watch.so_far(at(240)).new, Duration::from_millis(100), "one still waits");
        watch.answered(NEW, at(150));
        assert_eq!(watch.so_far(at(900)).new, Duration::from_millis(40), "nobody waits");
    }

    #[test]
    fn an_answer_on_a_kept_connection_ends_no_stall_of_new_ones() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::default();
        watch.due(NEW, at(0));
        for ms in [10, 200, 400] {
            watch.due(Kind::Kept, at(ms));
            watch.answered(Kind::Kept, at(ms + 5));
        }
        // What takes time by itself says nothing.
        watch.due(Kind::KeptSlow, at(0));
        watch.answered(NEW, at(800));
        let stalls = watch.so_far(at(900));
        assert_eq!(stalls.new, Duration::from_millis(800));
        assert_eq!(stalls.kept, Duration::from_millis(5));
        assert_eq!(stalls.longest(), stalls.new);
    }
}
