//! How much of what a worker is to be told has gone out.
//!
//! The cluster says what it has to say to the channel's task, which sends it a moment later: on a busy machine
//! that may be long. Whoever must know that something has left this process asks here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Orders so far: said by one side, sent by the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    said: AtomicU64,
    sent: AtomicU64,
}

/// Everything that was said up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::primary) struct Mark(u64);

impl Gone {
    pub(super) fn said(&self) {
        self.0.said.fetch_add(1, Ordering::Relaxed);
    }

    /// So many orders are with the kernel.
    pub(super) fn sent(&self, orders: u64) {
        self.0.sent.store(orders, Ordering::Release);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.0.said.load(Ordering::Relaxed))
    }

    pub(super) fn is_out(&self, Mark(orders): Mark) -> bool {
        self.0.sent.load(Ordering::Acquire) >= orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_out_when_as_many_orders_were_sent() {
        let gone = Gone::default();
        assert!(gone.is_out(gone.mark()));
        gone.said();
        let first = gone.mark();
        gone.said();
        assert!(!gone.is_out(first));
        gone.sent(1);
        assert!(gone.is_out(first) && !gone.is_out(gone.mark()));
    }
}
