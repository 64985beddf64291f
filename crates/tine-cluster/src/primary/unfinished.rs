//! Tells an answer that is held back in the middle from one that is over.
//!
//! To the kernel they are alike: the server spoke last, and everything has arrived. So a connection whose
//! server has just spoken is given [`PAUSE`] for more to come, once for each worker that leaves; after that
//! only those are of which a part did come after a pause, and those whose answer is as long so far as one
//! was that went on, in this worker or in one that left before. Where no answer took more than a segment, and
//! there were many, nothing is waited for: programs that send in parts have done it before.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tine_linux::{sock_diag::Inode, socket::Exchange};

use super::habits::{Habits, Lengths};

/// Longer than servers leave between two parts of an answer. A client with a request more often than this
/// would keep its connection up to the drain's end if it were asked for without limit.
const PAUSE: Duration = Duration::from_millis(1_500);
/// So long where it is not known yet whether longer answers do.
const STUDY: Duration = Duration::from_secs(3);
/// So long is looked for the length of a part where answers were seen to go on of which the beginning was not.
const LESSON: Duration = Duration::from_secs(6);
/// So many segments with requests have to have come to a worker before the answers to them say anything:
/// one request in fifty that is answered in parts is among them, and a busy worker has them in a second.
const ENOUGH: u64 = 200;
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
    rest: Rest,
    /// Nothing has come since the look before, and the client spoke no later than the server.
    stays: bool,
    /// For longer than servers leave between two parts.
    is_quiet: bool,
    /// More came of the same answer after that.
    in_parts: bool,
    /// What had gone out before this answer, if that was seen.
    before: Option<u64>,
}

/// Whether the server had spoken last, and all had arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It had not.
    No,
    /// As far as can be told within one tick of the kernel's clock.
    Perhaps,
    /// It had.
    Yes,
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
        let learns = self.come_in_parts && !habits.come_in_parts();
        let looked = at.duration_since(*since);
        habits.studied |= looked >= STUDY;
        let is_new = habits.in_segments && !habits.studied && !habits.come_in_parts();
        let enough = match (learns, is_new) {
            (true, _) => LESSON,
            (false, true) => STUDY,
            (false, false) => PAUSE,
        };
        let is_young = looked < enough && !is_known;
        let looks_like_a_part = habits.may_be_a_part(seen.length());
        (seen.in_parts || looks_like_a_part || is_young) && now.quiet < PAUSE
    }

    /// Whether a connection that rests has an answer that is over: not where answers come in parts, and the
    /// beginning of this one was not seen.
    pub(super) fn is_over(&self, habits: &Habits, (inode, now): (Inode, Exchange)) -> bool {
        let come_in_parts = self.come_in_parts || habits.come_in_parts();
        let length = self.seen.get(&inode).and_then(Seen::length);
        !come_in_parts || now.received == 0 || length.is_some() || now.quiet >= PAUSE
    }

    /// Of how many bytes answers were that went on; `None` where some did, and that says nothing.
    pub(super) fn parts<'a>(&self, habits: &'a Habits) -> Option<&'a Lengths> {
        let is_known = !self.come_in_parts || habits.come_in_parts();
        habits.lengths().filter(|_| is_known)
    }

    fn note(&mut self, habits: &mut Habits, inode: Inode, now: Exchange, rested: bool) -> Seen {
        let last = self.seen.get(&inode).copied();
        let same = last.filter(|last| last.received == now.received);
        // Where it is not certain who spoke last, it was an answer only if its request was seen.
        let was_answer = |last: &Seen| match last.rest {
            Rest::No => false,
            Rest::Perhaps => last.before.is_some(),
            Rest::Yes => true,
        };
        let went_on = same.filter(|last| was_answer(last) && now.sent > last.sent);
        self.come_in_parts |= went_on.is_some();
        if let Some(length) = went_on.and_then(|last| last.length()) {
            habits.learn(length);
        }
        let rest = match rested {
            false => Rest::No,
            true if now.quiet < now.unasked => Rest::Yes,
            true => Rest::Perhaps,
        };
        let known = last.map_or(0, |last| last.segments_in);
        self.requests += u64::from(now.segments_in.saturating_sub(known));
        let seen = Seen {
            received: now.received,
            sent: now.sent,
            segments_in: now.segments_in,
            rest,
            stays: same.is_some_and(|last| last.sent == now.sent) && now.quiet <= now.unasked,
            is_quiet: now.quiet >= PAUSE,
            in_parts: went_on.is_some() || same.is_some_and(|last| last.in_parts),
            before: match same {
                Some(same) => same.before,
                // One request since the answer before was over: what went out is the answer to that.
                None => last
                    .filter(|last| last.is_over(habits) && now.segments_in == last.segments_in + 1)
                    .map(|last| last.sent),
            },
        };
        self.seen.insert(inode, seen);
        seen
    }
}

impl Seen {
    /// Whether the answer is, for all that is known: parts that follow each other closely do not rest from one
    /// look to the next, and others are of known lengths.
    fn is_over(&self, habits: &Habits) -> bool {
        let is_whole = match self.length() {
            Some(_) => !habits.may_be_a_part(self.length()),
            None => !habits.come_in_parts() || self.is_quiet,
        };
        self.stays && is_whole
    }

    /// Of the answer so far.
    fn length(&self) -> Option<u64> {
        self.before.map(|before| self.sent.saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Inode = Inode(1);
    const OTHER: Inode = Inode(2);
    const LOOK: Duration = Duration::from_millis(20);
    const TICK: Duration = Duration::from_millis(4);

    fn after(requests: u32, answers: u32) -> Exchange {
        Exchange {
            received: u64::from(requests) * 100,
            sent: u64::from(answers) * 100,
            segments_in: requests,
            segments_out: answers,
            unasked: TICK,
            ..Exchange::default()
        }
    }

    /// A worker that leaves.
    #[derive(Default)]
    struct Leaves(Answers, Habits);

    impl Leaves {
        /// At two looks, as long as what is there takes at least.
        fn may_go_on(&mut self, inode: Inode, now: Exchange, at: Instant) -> bool {
            self.0.may_go_on(&mut self.1, (inode, now, true), at);
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
        assert!(worker.may_go_on(ONE, after(3, 4), start + PAUSE), "it was not seen for long");
        assert!(!worker.may_go_on(ONE, after(4, 5), start + STUDY));
        let mut next = worker.next();
        next.may_go_on(ONE, after(1, 2), start);
        assert!(!next.may_go_on(ONE, after(2, 3), start + PAUSE));
    }

    fn sent(requests: u32, sent: u64) -> Exchange {
        Exchange { sent, ..after(requests, 9) }
    }

    fn long_ago(now: Exchange) -> Exchange {
        Exchange { quiet: PAUSE, unasked: PAUSE + TICK, ..now }
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
    fn what_was_not_there_at_two_looks_may_be_amidst_an_answer() {
        let (mut answers, mut habits, start) =
            (Answers::default(), Habits::default(), Instant::now());
        habits.learn(10);
        let mut look = |now, at| answers.may_go_on(&mut habits, (ONE, now, true), at);
        look(sent(1, 10), start);
        assert!(!look(sent(2, 20), start + LESSON), "its beginning is not known");
        look(long_ago(sent(2, 20)), start + LESSON);
        assert!(look(sent(3, 30), start + LESSON));
    }

    #[test]
    fn where_answers_come_in_parts_one_is_over_whose_beginning_was_seen() {
        let start = Instant::now();
        let over = |worker: &Leaves, now| worker.0.is_over(&worker.1, (ONE, now));
        let mut worker = Leaves::default();
        worker.may_go_on(ONE, sent(1, 10), start);
        assert!(over(&worker, sent(1, 10)), "they do not, as far as is known");
        let mut worker = with_a_part_of_seventy(start).next();
        worker.may_go_on(ONE, sent(1, 10), start);
        assert!(!over(&worker, sent(1, 10)));
        worker.may_go_on(ONE, sent(2, 20), start + LOOK);
        assert!(!over(&worker, sent(2, 20)), "nor was the one before");
        assert!(over(&worker, long_ago(sent(2, 20))));
        worker.may_go_on(ONE, long_ago(sent(2, 20)), start + LOOK);
        worker.may_go_on(ONE, sent(3, 30), start + LOOK);
        assert!(over(&worker, sent(3, 30)));
    }

    #[test]
    fn what_was_seen_of_one_worker_is_known_of_the_next() {
        let start = Instant::now();
        let mut next = with_a_part_of_seventy(start).next();
        next.may_go_on(ONE, long_ago(sent(1, 10)), start);
        let late = start + PAUSE;
        assert!(!next.may_go_on(ONE, sent(2, 20), late), "a short one is over");
        assert!(next.may_go_on(ONE, sent(3, 90), late));
        assert!(next.0.parts(&next.1).is_some());
    }

    #[test]
    fn where_answers_rest_at_ever_other_lengths_any_may_go_on() {
        let start = Instant::now();
        let mut worker = with_a_part_of_seventy(start);
        (0..10_000).for_each(|length| worker.1.learn(length));
        assert!(worker.0.parts(&worker.1).is_none());
        let late = start + LESSON;
        assert!(worker.may_go_on(ONE, sent(3, 20_000), late));
        let quiet = Exchange { quiet: PAUSE, ..sent(3, 20_000) };
        assert!(!worker.may_go_on(ONE, quiet, late));
    }

    #[test]
    fn who_spoke_last_within_a_tick_teaches_nothing_unless_the_request_was_seen() {
        let start = Instant::now();
        let tie = |requests, sent_so_far| Exchange {
            unasked: Duration::ZERO,
            ..sent(requests, sent_so_far)
        };
        let mut worker = Leaves::default();
        // Two requests since the last look, and one answer: the second one has none yet.
        worker.may_go_on(ONE, tie(1, 10), start);
        worker.may_go_on(ONE, tie(3, 80), start + LOOK);
        worker.may_go_on(ONE, tie(3, 150), start + LOOK * 2);
        assert!(!worker.1.come_in_parts() && !worker.0.come_in_parts);
        worker.may_go_on(ONE, tie(4, 220), start + LOOK * 3);
        worker.may_go_on(ONE, tie(4, 300), start + LOOK * 4);
        assert_eq!(worker.0.parts(&worker.1), Some(&Lengths::from([70])));
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
