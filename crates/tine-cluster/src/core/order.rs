//! The kernel's list of the sockets of one `SO_REUSEPORT` group.
//!
//! A classic BPF program answers with an index into that list, so its order must be known: a socket
//! that begins to listen is added at the end; when one leaves, the last takes its place
//! (`reuseport_add_sock` and `__reuseport_detach_sock` in `net/core/sock_reuseport.c`).

use crate::id::SeatId;

/// The members in the kernel's order.
#[derive(Clone, Debug, Default)]
pub struct Order {
    seats: Vec<SeatId>,
}

impl Order {
    /// The seat began to listen. Twice is once: `listen(2)` on a listening socket changes nothing.
    pub fn joined(&mut self, seat: SeatId) {
        if !self.seats.contains(&seat) {
            self.seats.push(seat);
        }
    }

    /// The seat's socket was closed, or stopped listening.
    pub fn left(&mut self, seat: SeatId) {
        if let Some(index) = self.position(seat) {
            self.seats.swap_remove(index);
        }
    }

    /// The index that means this seat.
    #[must_use]
    pub fn index(&self, seat: SeatId) -> Option<u32> {
        self.position(seat).and_then(|index| u32::try_from(index).ok())
    }

    /// The index that means this seat now and also when `leaving` has left. The last one has none: it
    /// is to move.
    #[must_use]
    pub fn steady_index(&self, seat: SeatId, leaving: SeatId) -> Option<u32> {
        let mut after = self.clone();
        after.left(leaving);
        self.index(seat).filter(|index| after.index(seat) == Some(*index))
    }

    fn position(&self, seat: SeatId) -> Option<usize> {
        self.seats.iter().position(|other| *other == seat)
    }

    /// The members, in order.
    #[must_use]
    pub fn seats(&self) -> &[SeatId] {
        &self.seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_takes_the_place_of_the_one_that_leaves() {
        let mut order = Order::default();
        for n in 0..4 {
            order.joined(SeatId(n));
        }
        order.left(SeatId(1));
        let indexes: Vec<_> = (0..4).map(|n| order.index(SeatId(n))).collect();
        assert_eq!(indexes, [Some(0), None, Some(2), Some(1)]);
        order.left(SeatId(2));
        assert_eq!(order.seats(), [SeatId(0), SeatId(3)]);
    }

    #[test]
    fn all_but_the_last_keep_their_index_when_one_leaves() {
        let mut order = Order::default();
        (0..4).for_each(|n| order.joined(SeatId(n)));
        let steady = |leaving| (0..4).map(|n| order.steady_index(SeatId(n), leaving)).collect();
        let of: Vec<_> = steady(SeatId(1));
        assert_eq!(of, [Some(0), None, Some(2), None]);
        let of: Vec<_> = steady(SeatId(3));
        assert_eq!(of, [Some(0), Some(1), Some(2), None], "nobody moves");
        let of: Vec<_> = steady(SeatId(9));
        assert_eq!(of, [Some(0), Some(1), Some(2), Some(3)], "it is no member");
    }

    #[test]
    fn to_join_twice_is_to_join_once_and_to_leave_unknown_is_nothing() {
        let mut order = Order::default();
        order.joined(SeatId(7));
        order.joined(SeatId(7));
        order.left(SeatId(8));
        assert_eq!(order.seats(), [SeatId(7)]);
    }
}
