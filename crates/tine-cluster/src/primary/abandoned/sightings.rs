//! Where workers were last seen to hold their seats, and since when they were not.
//!
//! Most seats are found again where they were, at the cost of one link in `/proc`. Only for one that is
//! not there all that its worker has open is looked through.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Pid;

use crate::id::{SeatId, WorkerId};

/// A seat, with a worker that holds it.
pub(in crate::primary) type Held = (SeatId, WorkerId);

/// A process, and its number for a socket.
pub(in crate::primary) type Place = (Pid, i32);

/// A program that closes its listener may listen again within this time, and finds what came meanwhile.
pub(in crate::primary) const GRACE: Duration = Duration::from_secs(5);

/// What was seen of every seat that its worker could close unheard.
#[derive(Debug, Default)]
pub(in crate::primary) struct Sightings {
    of: BTreeMap<Held, Sighting>,
    /// Whose turn was last.
    last: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
enum Sighting {
    At(Place),
    /// Not since the first moment; to be looked for again at the second.
    Missed(Instant, Instant),
}

impl Sightings {
    /// The worker holds the seat there.
    pub(in crate::primary) fn seen(&mut self, held: Held, at: Place) {
        self.of.insert(held, Sighting::At(at));
    }

    /// It does not hold it anywhere. For how long that has been so.
    pub(super) fn missed(&mut self, held: Held, now: Instant) -> Duration {
        let since = match self.of.get(&held) {
            Some(Sighting::Missed(since, _)) => *since,
            Some(Sighting::At(_)) | None => now,
        };
        self.of.insert(held, Sighting::Missed(since, now + GRACE));
        now.saturating_duration_since(since)
    }

    /// Nobody may see whether it holds the seat.
    pub(super) fn unknown(&mut self, held: Held) {
        self.of.remove(&held);
    }

    /// Where it was last seen.
    pub(super) fn place(&self, held: Held) -> Option<Place> {
        match self.of.get(&held)? {
            Sighting::At(place) => Some(*place),
            Sighting::Missed(..) => None,
        }
    }

    /// One that is to be looked for again by now.
    pub(super) fn due(&self, now: Instant) -> Option<Held> {
        let due = |sighting: &Sighting| match sighting {
            Sighting::Missed(_, again) => *again <= now,
            Sighting::At(_) => false,
        };
        self.of.iter().find(|(_, sighting)| due(sighting)).map(|(held, _)| *held)
    }

    /// Goes on through `all`, which is in order, from where it last came to: the first of the next `most`
    /// that is not where it was.
    pub(super) fn next_suspect(
        &mut self,
        all: &[Held],
        most: usize,
        is_there: impl Fn(Held, Place) -> bool,
    ) -> Option<Held> {
        let begin = self.last.map_or(0, |last| all.partition_point(|held| *held <= last));
        for held in all[begin..].iter().chain(&all[..begin]).take(most) {
            self.last = Some(*held);
            let suspect = match self.of.get(held) {
                Some(Sighting::At(place)) => !is_there(*held, *place),
                // It has a moment of its own.
                Some(Sighting::Missed(..)) => false,
                None => true,
            };
            if suspect {
                return Some(*held);
            }
        }
        None
    }

    /// Forgets what is not among `all`, which is in order.
    pub(super) fn keep(&mut self, all: &[Held]) {
        self.of.retain(|held, _| all.binary_search(held).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u32) -> Held {
        (SeatId(n), WorkerId(n))
    }

    fn place(number: i32) -> Place {
        (Pid::INIT, number)
    }

    #[test]
    fn all_have_their_turn_and_a_round_ends_at_the_first_suspect() {
        let all: Vec<Held> = (0..5).map(held).collect();
        let mut sightings = Sightings::default();
        for (held, number) in all.iter().zip(0..) {
            sightings.seen(*held, place(number));
        }
        let there = |_: Held, (_, number): Place| number != 1 && number != 4;
        let mut next = || sightings.next_suspect(&all, 3, there);
        assert_eq!(
            [next(), next(), next(), next()],
            [Some(held(1)), Some(held(4)), Some(held(1)), Some(held(4))]
        );
        assert_eq!(sightings.next_suspect(&all, 3, |_, _| true), None);
        assert_eq!(sightings.next_suspect(&[], 3, there), None);
    }

    #[test]
    fn what_is_missed_is_looked_for_again_after_the_grace_and_not_before() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        assert_eq!(sightings.missed(held(1), start), Duration::ZERO);
        assert_eq!(sightings.next_suspect(&[held(1)], 9, |_, _| false), None);
        assert_eq!(sightings.due(start + GRACE / 2), None);
        assert_eq!(sightings.due(start + GRACE), Some(held(1)));
        assert_eq!(sightings.missed(held(1), start + GRACE), GRACE);
        assert_eq!(sightings.due(start + GRACE), None);
        assert_eq!(sightings.missed(held(1), start + GRACE * 3), GRACE * 3);
    }

    #[test]
    fn what_cannot_be_seen_any_more_is_not_missed_and_keeps_nobody_from_its_turn() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let _ = sightings.missed(held(1), start);
        let _ = sightings.missed(held(2), start);
        sightings.unknown(held(1));
        assert_eq!(sightings.due(start + GRACE), Some(held(2)));
        assert_eq!(sightings.missed(held(1), start + GRACE), Duration::ZERO);
    }

    #[test]
    fn what_is_seen_again_is_not_missed_any_more() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let _ = sightings.missed(held(1), start);
        sightings.seen(held(1), place(7));
        assert_eq!(
            (sightings.due(start + GRACE), sightings.place(held(1))),
            (None, Some(place(7)))
        );
        assert_eq!(sightings.missed(held(1), start + GRACE), Duration::ZERO);
        sightings.keep(&[]);
        assert_eq!(sightings.place(held(1)), None);
    }
}
