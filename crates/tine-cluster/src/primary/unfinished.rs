//! Tells an answer that is held back in the middle from one that is over.
//!
//! To the kernel they are alike: the server spoke last, and everything has arrived. So a connection whose
//! server has just spoken is given [`PAUSE`] for more to come, once for each worker that leaves; after that
//! only those of which a part did come after a pause are. Where no answer ever took more than a segment
//! nothing is waited for: programs that send in parts have done it before.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tine_linux::{sock_diag::Inode, socket::Exchange};

/// Longer than servers leave between two parts of an answer. A client with a request more often than this
/// would keep its connection up to the drain's end if it were asked for without limit.
const PAUSE: Duration = Duration::from_millis(1_500);
/// So many segments with requests have to have come before the answers to them say anything.
const ENOUGH: u32 = 4;

/// What was seen of the answers of a worker that leaves.
#[derive(Debug, Default)]
pub(super) struct Answers {
    since: Option<Instant>,
    in_segments: bool,
    seen: HashMap<Inode, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    received: u64,
    sent: u64,
    /// The server had spoken last, and all had arrived.
    rested: bool,
    /// More came of the same answer after that.
    in_parts: bool,
}

impl Answers {
    /// Whether the answer that went out last on this connection may be one that is not over. `rests`: the
    /// kernel would call it idle. To be asked of all connections at each look.
    pub(super) fn may_go_on(
        &mut self,
        inode: Inode,
        (now, rests): (Exchange, bool),
        at: Instant,
    ) -> bool {
        if now.received == 0 {
            return false;
        }
        let in_parts = self.note(inode, now, rests);
        self.in_segments |= now.segments_out > now.segments_in;
        let since = self.since.get_or_insert(at);
        // At the first look the others have not been seen yet.
        let first = *since == at;
        let is_known = !self.in_segments && now.segments_in >= ENOUGH && !first;
        let waits = in_parts || (at.duration_since(*since) < PAUSE && !is_known);
        waits && now.quiet < PAUSE
    }

    /// Whether it came in parts.
    fn note(&mut self, inode: Inode, now: Exchange, rested: bool) -> bool {
        let before = self.seen.get(&inode).filter(|seen| seen.received == now.received);
        let in_parts =
            before.is_some_and(|seen| seen.in_parts || (seen.rested && now.sent > seen.sent));
        let seen = Seen { received: now.received, sent: now.sent, rested, in_parts };
        self.seen.insert(inode, seen);
        in_parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Inode = Inode(1);
    const OTHER: Inode = Inode(2);
    const LOOK: Duration = Duration::from_millis(20);

    fn after(requests: u32, answers: u32) -> Exchange {
        Exchange {
            received: u64::from(requests) * 100,
            sent: u64::from(answers) * 100,
            segments_in: requests,
            segments_out: answers,
            ..Exchange::default()
        }
    }

    #[test]
    fn the_first_part_of_an_answer_is_not_its_end() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        assert!(answers.may_go_on(ONE, (after(1, 1), true), start));
        assert!(answers.may_go_on(ONE, (after(1, 1), true), start + LOOK));
        let quiet = Exchange { quiet: PAUSE, ..after(1, 1) };
        assert!(!answers.may_go_on(ONE, (quiet, true), start + PAUSE));
    }

    #[test]
    fn what_comes_in_parts_is_waited_for_until_it_pauses_for_long() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        for part in 1..10 {
            assert!(answers.may_go_on(ONE, (after(1, part), true), start + PAUSE * part));
        }
        let quiet = Exchange { quiet: PAUSE, ..after(1, 9) };
        assert!(!answers.may_go_on(ONE, (quiet, true), start + PAUSE * 10));
    }

    #[test]
    fn a_client_that_asks_often_does_not_keep_its_connection() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        answers.may_go_on(ONE, (after(1, 2), true), start);
        assert!(answers.may_go_on(ONE, (after(2, 3), true), start + LOOK));
        assert!(!answers.may_go_on(ONE, (after(3, 4), true), start + PAUSE));
    }

    #[test]
    fn where_answers_are_never_longer_than_a_segment_nothing_is_waited_for() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        answers.may_go_on(ONE, (after(ENOUGH, ENOUGH), true), start);
        assert!(!answers.may_go_on(ONE, (after(ENOUGH, ENOUGH), true), start + LOOK));
    }

    #[test]
    fn a_connection_whose_answers_were_longer_speaks_for_the_others() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        answers.may_go_on(ONE, (after(ENOUGH, ENOUGH), true), start);
        answers.may_go_on(OTHER, (after(1, 2), true), start);
        assert!(answers.may_go_on(ONE, (after(ENOUGH, ENOUGH), true), start + LOOK));
    }

    #[test]
    fn who_never_asked_waits_for_no_answer() {
        let mut answers = Answers::default();
        assert!(!answers.may_go_on(ONE, (after(0, 1), true), Instant::now()));
    }
}
