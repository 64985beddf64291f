//! Tells an answer that is held back in the middle from one that is over.
//!
//! To the kernel they are alike: the server spoke last, and everything has arrived. So a connection whose
//! server has just spoken is given [`PAUSE`] for more to come, once for each worker that leaves; after that
//! only those are of which a part did come after a pause, and those whose answer is as long so far as one
//! was that went on. Where no answer ever took more than a segment nothing is waited for: programs that send
//! in parts have done it before.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tine_linux::{sock_diag::Inode, socket::Exchange};

use super::witness::Lengths;

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
    /// Bytes of answers at which they rested and then went on.
    rests: Lengths,
    come_in_parts: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    received: u64,
    sent: u64,
    /// The server had spoken last, and all had arrived.
    rested: bool,
    /// More came of the same answer after that.
    in_parts: bool,
    /// What had gone out before this answer, if that was seen.
    before: Option<u64>,
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
        let seen = self.note(inode, now, rests);
        self.in_segments |= now.segments_out > now.segments_in;
        let since = self.since.get_or_insert(at);
        // At the first look the others have not been seen yet.
        let first = *since == at;
        let is_known = !self.in_segments && now.segments_in >= ENOUGH && !first;
        let is_young = at.duration_since(*since) < PAUSE && !is_known;
        let looks_like_a_part = seen.length().is_some_and(|length| self.rests.contains(&length));
        (seen.in_parts || looks_like_a_part || is_young) && now.quiet < PAUSE
    }

    /// Of how many bytes answers were that went on; `None` where they went on, and of how many is not known.
    pub(super) fn parts(&self) -> Option<&Lengths> {
        (!self.come_in_parts || !self.rests.is_empty()).then_some(&self.rests)
    }

    fn note(&mut self, inode: Inode, now: Exchange, rested: bool) -> Seen {
        let last = self.seen.get(&inode).copied();
        let same = last.filter(|last| last.received == now.received);
        let went_on = same.filter(|last| last.rested && now.sent > last.sent);
        self.come_in_parts |= went_on.is_some();
        self.rests.extend(went_on.and_then(|last| last.length()));
        let seen = Seen {
            received: now.received,
            sent: now.sent,
            rested,
            in_parts: went_on.is_some() || same.is_some_and(|last| last.in_parts),
            before: same.map_or_else(|| last.map(|last| last.sent), |last| last.before),
        };
        self.seen.insert(inode, seen);
        seen
    }
}

impl Seen {
    /// Of the answer so far.
    fn length(&self) -> Option<u64> {
        Some(self.sent.saturating_sub(self.before?))
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
    fn an_answer_that_is_as_long_as_one_that_went_on_may_go_on() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        let sent = |requests, sent| Exchange { sent, ..after(requests, 9) };
        answers.may_go_on(ONE, (sent(1, 10), true), start);
        answers.may_go_on(ONE, (sent(2, 80), true), start);
        answers.may_go_on(ONE, (sent(2, 90), true), start);
        assert_eq!(answers.parts(), Some(&Lengths::from([70])));
        let late = start + PAUSE;
        assert!(!answers.may_go_on(ONE, (sent(3, 100), true), late), "a short one is over");
        assert!(answers.may_go_on(ONE, (sent(4, 170), true), late));
        assert!(!answers.may_go_on(OTHER, (sent(4, 70), true), late), "of how much is not known");
        let quiet = Exchange { quiet: PAUSE, ..sent(4, 170) };
        assert!(!answers.may_go_on(ONE, (quiet, true), late + PAUSE));
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
