//! Tells an answer that is held back in the middle from one that is over.
//!
//! To the kernel they are alike: the server spoke last, and everything has arrived. So a connection whose
//! server has just spoken is given [`PAUSE`] for more to come, once for each worker that leaves; after that
//! only those are of which a part did come after a pause, and those whose answer is as long so far as one
//! was that went on, in this worker or in one that left before. Where no answer took more than a segment, and
//! there were many, nothing is waited for: programs that send in parts have done it before.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tine_linux::{sock_diag::Inode, socket::Exchange};

/// Bytes of answers that were not over.
pub(super) type Lengths = HashSet<u64>;

/// Longer than servers leave between two parts of an answer. A client with a request more often than this
/// would keep its connection up to the drain's end if it were asked for without limit.
const PAUSE: Duration = Duration::from_millis(1_500);
/// So long is looked for the length of a part where answers were seen to go on of which the beginning was not.
const LESSON: Duration = Duration::from_secs(6);
/// So many segments with requests have to have come to a worker before the answers to them say anything:
/// one request in fifty that is answered in parts is among them, and a busy worker has them in a second.
const ENOUGH: u64 = 200;
/// More lengths are not remembered: answers that are never of the same length teach nothing.
const MOST_LENGTHS: usize = 256;

/// What was seen of the answers of all workers that left so far.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// Some took more than a segment.
    in_segments: bool,
    /// Bytes of answers at which they rested and then went on.
    rests: Lengths,
}

/// What was seen of the answers of a worker that leaves.
#[derive(Debug, Default)]
pub(super) struct Answers {
    since: Option<Instant>,
    seen: HashMap<Inode, Seen>,
    /// Segments with requests that came to all of its connections.
    requests: u64,
    come_in_parts: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    received: u64,
    sent: u64,
    segments_in: u32,
    /// The server had spoken last, and all had arrived.
    rested: bool,
    /// More came of the same answer after that.
    in_parts: bool,
    /// What had gone out before this answer, if that was seen.
    before: Option<u64>,
}

impl Habits {
    fn learn(&mut self, length: u64) {
        if self.rests.len() == MOST_LENGTHS {
            self.rests.clear();
        }
        self.rests.insert(length);
    }
}

impl Answers {
    /// Whether the answer that went out last on this connection may be one that is not over. `rests`: the
    /// kernel would call it idle. To be asked of all connections at each look.
    pub(super) fn may_go_on(
        &mut self,
        habits: &mut Habits,
        (inode, now, rests): (Inode, Exchange, bool),
        at: Instant,
    ) -> bool {
        if now.received == 0 {
            return false;
        }
        let seen = self.note(habits, inode, now, rests);
        habits.in_segments |= now.segments_out > now.segments_in;
        let since = self.since.get_or_insert(at);
        // At the first look the others have not been seen yet.
        let first = *since == at;
        let is_known = !habits.in_segments && self.requests >= ENOUGH && !first;
        let learns = self.come_in_parts && habits.rests.is_empty();
        let enough = if learns { LESSON } else { PAUSE };
        let is_young = at.duration_since(*since) < enough && !is_known;
        let looks_like_a_part = seen.length().is_some_and(|length| habits.rests.contains(&length));
        (seen.in_parts || looks_like_a_part || is_young) && now.quiet < PAUSE
    }

    /// Of how many bytes answers were that went on; `None` where this worker's did, and of how many is not
    /// known.
    pub(super) fn parts<'a>(&self, habits: &'a Habits) -> Option<&'a Lengths> {
        (!self.come_in_parts || !habits.rests.is_empty()).then_some(&habits.rests)
    }

    fn note(&mut self, habits: &mut Habits, inode: Inode, now: Exchange, rested: bool) -> Seen {
        let last = self.seen.get(&inode).copied();
        let same = last.filter(|last| last.received == now.received);
        let went_on = same.filter(|last| last.rested && now.sent > last.sent);
        self.come_in_parts |= went_on.is_some();
        if let Some(length) = went_on.and_then(|last| last.length()) {
            habits.learn(length);
        }
        let known = last.map_or(0, |last| last.segments_in);
        self.requests += u64::from(now.segments_in.saturating_sub(known));
        let seen = Seen {
            received: now.received,
            sent: now.sent,
            segments_in: now.segments_in,
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

    /// A worker that leaves.
    #[derive(Default)]
    struct Leaves(Answers, Habits);

    impl Leaves {
        fn may_go_on(&mut self, inode: Inode, now: Exchange, at: Instant) -> bool {
            self.0.may_go_on(&mut self.1, (inode, now, true), at)
        }

        /// Another one of the same program.
        fn next(self) -> Self {
            Self(Answers::default(), self.1)
        }
    }

    #[test]
    fn the_first_part_of_an_answer_is_not_its_end() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        assert!(worker.may_go_on(ONE, after(1, 1), start));
        assert!(worker.may_go_on(ONE, after(1, 1), start + LOOK));
        let quiet = Exchange { quiet: PAUSE, ..after(1, 1) };
        assert!(!worker.may_go_on(ONE, quiet, start + PAUSE));
    }

    #[test]
    fn what_comes_in_parts_is_waited_for_until_it_pauses_for_long() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        for part in 1..10 {
            assert!(worker.may_go_on(ONE, after(1, part), start + PAUSE * part));
        }
        let quiet = Exchange { quiet: PAUSE, ..after(1, 9) };
        assert!(!worker.may_go_on(ONE, quiet, start + PAUSE * 10));
    }

    #[test]
    fn a_client_that_asks_often_does_not_keep_its_connection() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        worker.may_go_on(ONE, after(1, 2), start);
        assert!(worker.may_go_on(ONE, after(2, 3), start + LOOK));
        assert!(!worker.may_go_on(ONE, after(3, 4), start + PAUSE));
    }

    fn sent(requests: u32, sent: u64) -> Exchange {
        Exchange { sent, ..after(requests, 9) }
    }

    /// One of whose answers seventy bytes went out before it went on.
    fn with_a_part_of_seventy(start: Instant) -> Leaves {
        let mut worker = Leaves::default();
        worker.may_go_on(ONE, sent(1, 10), start);
        worker.may_go_on(ONE, sent(2, 80), start);
        worker.may_go_on(ONE, sent(2, 90), start);
        worker
    }

    #[test]
    fn an_answer_that_is_as_long_as_one_that_went_on_may_go_on() {
        let start = Instant::now();
        let mut worker = with_a_part_of_seventy(start);
        assert_eq!(worker.0.parts(&worker.1), Some(&Lengths::from([70])));
        let late = start + PAUSE;
        assert!(!worker.may_go_on(ONE, sent(3, 100), late), "a short one is over");
        assert!(worker.may_go_on(ONE, sent(4, 170), late));
        assert!(!worker.may_go_on(OTHER, sent(4, 70), late), "of how much is not known");
        let quiet = Exchange { quiet: PAUSE, ..sent(4, 170) };
        assert!(!worker.may_go_on(ONE, quiet, late + PAUSE));
    }

    #[test]
    fn where_it_is_not_known_of_how_much_an_answer_went_on_it_is_waited_for_longer() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        worker.may_go_on(ONE, sent(1, 10), start);
        worker.may_go_on(ONE, sent(1, 20), start + LOOK);
        worker.may_go_on(ONE, sent(2, 30), start + PAUSE);
        assert!(worker.may_go_on(ONE, sent(3, 40), start + PAUSE + LOOK));
        assert!(!worker.may_go_on(ONE, sent(4, 50), start + LESSON), "but not for ever");
        let mut other = Leaves::default();
        other.may_go_on(ONE, sent(1, 10), start);
        other.may_go_on(ONE, sent(1, 20), start + LOOK);
        other.may_go_on(ONE, sent(2, 30), start + LOOK * 2);
        other.may_go_on(ONE, sent(2, 35), start + LOOK * 3);
        assert!(!other.may_go_on(ONE, sent(3, 55), start + PAUSE), "until it is known");
    }

    #[test]
    fn what_was_seen_of_one_worker_is_known_of_the_next() {
        let start = Instant::now();
        let mut next = with_a_part_of_seventy(start).next();
        next.may_go_on(ONE, sent(1, 10), start);
        let late = start + PAUSE;
        assert!(!next.may_go_on(ONE, sent(2, 20), late), "a short one is over");
        assert!(next.may_go_on(ONE, sent(3, 90), late));
        assert!(next.0.parts(&next.1).is_some());
    }

    #[test]
    fn answers_of_ever_other_lengths_take_no_more_room() {
        let mut habits = Habits::default();
        for length in 0..10_000 {
            habits.learn(length);
        }
        assert!(habits.rests.len() <= MOST_LENGTHS && habits.rests.contains(&9_999));
    }

    /// As many as say something.
    const MANY: u32 = 200;

    #[test]
    fn where_answers_are_never_longer_than_a_segment_nothing_is_waited_for() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        worker.may_go_on(ONE, after(MANY, MANY), start);
        assert!(!worker.may_go_on(ONE, after(MANY, MANY), start + LOOK));
    }

    #[test]
    fn few_answers_say_nothing() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        let few = MANY / 2 - 1;
        for look in 0..3 {
            worker.may_go_on(OTHER, after(few, few), start + LOOK * look);
            assert!(worker.may_go_on(ONE, after(few, few), start + LOOK * look));
        }
        let one_more = after(few + 1, few + 1);
        worker.may_go_on(OTHER, one_more, start + LOOK * 4);
        assert!(!worker.may_go_on(ONE, one_more, start + LOOK * 4), "all connections count");
    }

    #[test]
    fn a_connection_whose_answers_were_longer_speaks_for_the_others() {
        let (mut worker, start) = (Leaves::default(), Instant::now());
        worker.may_go_on(ONE, after(MANY, MANY), start);
        worker.may_go_on(OTHER, after(1, 2), start);
        assert!(worker.may_go_on(ONE, after(MANY, MANY), start + LOOK));
        let mut next = worker.next();
        next.may_go_on(ONE, after(MANY, MANY), start);
        assert!(next.may_go_on(ONE, after(MANY, MANY), start + LOOK), "and for the next worker");
    }

    #[test]
    fn who_never_asked_waits_for_no_answer() {
        assert!(!Leaves::default().may_go_on(ONE, after(0, 1), Instant::now()));
    }
}
