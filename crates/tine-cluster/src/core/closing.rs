//! Seats that nobody holds any more, until they are closed.
//!
//! A seat leaves the rotation first and is closed a while later ([`GRACE`]): a handshake that began
//! before ends there in the meantime, and is not reset by the close. A successor that comes within
//! that while takes the seat over with all that waits in it.

use std::time::{Duration, Instant};

use crate::id::SeatId;

/// Longer than most round trips to a client, and short for whoever waits in the seat's queue.
pub const GRACE: Duration = Duration::from_millis(200);

/// The seats that are to be closed, in the order in which they come due.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    due: Vec<(SeatId, Instant)>,
}

impl Closing {
    /// Nobody holds the seat, and it is out of rotation from `now` on.
    pub fn left(&mut self, seat: SeatId, now: Instant) {
        self.due.retain(|(other, _)| *other != seat);
        self.due.push((seat, now + GRACE));
    }

    /// It is to be looked at once more; not later than it would be anyway.
    pub fn stayed(&mut self, seat: SeatId, now: Instant) {
        if !self.due.iter().any(|(other, _)| *other == seat) {
            self.left(seat, now);
        }
    }

    /// The seats that have waited long enough. Whether nobody has taken them meanwhile is for the
    /// caller to see.
    #[must_use = "they are forgotten here"]
    pub fn take_due(&mut self, now: Instant) -> Vec<SeatId> {
        let count = self.due.partition_point(|(_, at)| *at <= now);
        self.due.drain(..count).map(|(seat, _)| seat).collect()
    }

    /// When the next is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_due_after_the_grace_and_once() {
        let (mut closing, start) = (Closing::default(), Instant::now());
        closing.left(SeatId(1), start);
        assert_eq!(closing.poll_timeout(), Some(start + GRACE));
        assert_eq!(closing.take_due(start + GRACE / 2), []);
        assert_eq!(closing.take_due(start + GRACE), [SeatId(1)]);
        assert_eq!((closing.take_due(start + GRACE), closing.poll_timeout()), (vec![], None));
    }

    #[test]
    fn a_seat_that_was_taken_and_left_again_waits_anew() {
        let (mut closing, start) = (Closing::default(), Instant::now());
        closing.left(SeatId(1), start);
        closing.left(SeatId(2), start);
        closing.left(SeatId(1), start + GRACE / 2);
        assert_eq!(closing.take_due(start + GRACE), [SeatId(2)]);
        assert_eq!(closing.take_due(start + GRACE * 2), [SeatId(1)]);
    }

    #[test]
    fn a_seat_that_is_to_be_looked_at_again_is_due_no_later() {
        let (mut closing, start) = (Closing::default(), Instant::now());
        closing.left(SeatId(1), start);
        closing.stayed(SeatId(1), start + GRACE / 2);
        closing.stayed(SeatId(2), start + GRACE / 2);
        assert_eq!(closing.take_due(start + GRACE), [SeatId(1)]);
        assert_eq!(closing.take_due(start + GRACE * 2), [SeatId(2)]);
    }
}
