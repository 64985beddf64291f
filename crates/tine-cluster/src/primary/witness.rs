//! Sees who speaks last, by looking so often that a request and its answer come apart.
//!
//! The kernel tells when each side spoke in ticks of 1 to 10 ms. With a server that answers within one, and a
//! client that asks again soon, a connection never seems to be idle, and its worker would be held up to the
//! drain's end. What a duplicate of the socket shows from one moment to the next has an order.
//!
//! An answer is over when nothing more of it came for [`REST`]: servers that write its head and its body by
//! themselves do so in a fraction of that. Of those whose parts are further apart the lengths are learnt, in
//! the time in which nothing is ended yet.

use std::{
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::net::Shutdown;
use tine_linux::socket::{self, Spoken};

use super::habits::Lengths;

/// How long is watched, at each look. Short: where a server closes its connection meanwhile, the client is
/// told when the duplicate is closed as well.
const WINDOW: Duration = Duration::from_millis(2);
/// How long where nothing is ended yet, or only after an answer in parts: nearly up to the next look, so that what
/// is between two parts is either seen here or longer than from one look to the next.
const LESSON: Duration = Duration::from_millis(18);
/// Between two moments. Shorter than most servers take for an answer.
const MOMENT: Duration = Duration::from_micros(50);
/// Between two moments of a lesson, which is long: shorter than [`REST`].
const GLANCE: Duration = Duration::from_micros(200);
/// Longer than from one part of an answer to the next, where the server does nothing in between.
const REST: Duration = Duration::from_micros(500);
/// More are not watched at one look at a worker: each is a descriptor.
pub(super) const MOST: usize = 64;

/// A connection to be watched.
#[derive(Debug)]
pub(super) struct Watched {
    /// A duplicate.
    pub(super) connection: OwnedFd,
    /// It is told that its client has nothing more to say, when it has answered; else what it does is only
    /// learnt.
    pub(super) ends: bool,
}

/// When an answer counts as over.
#[derive(Clone, Debug)]
pub(super) struct Over {
    /// Nothing more came for so long.
    rest: Duration,
    /// Not at these lengths, at which answers were seen to go on.
    parts: Lengths,
    /// The connection is watched for a moment only, whatever could be learnt.
    briefly: bool,
}

/// What was seen of one connection.
#[derive(Debug)]
struct Witness {
    rest: Duration,
    before: Spoken,
    server_spoke_last: bool,
    rests_since: Option<Instant>,
    /// What had gone out before the last request, if that was seen to come.
    answer_begins: Option<u64>,
}

/// What one more moment has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing to speak of.
    Nothing,
    /// The client has its answer of so many bytes, if that is known, and has not asked again.
    Answered(Option<u64>),
    /// It seemed so, and then more came of the answer.
    WentOn(Option<u64>),
}

impl Witness {
    const fn new(now: Spoken, rest: Duration) -> Self {
        let (server_spoke_last, rests_since, answer_begins) = (false, None, None);
        Self { rest, before: now, server_spoke_last, rests_since, answer_begins }
    }

    fn sees(&mut self, now: Spoken, at: Instant) -> Shown {
        let asked = now.segments_in != self.before.segments_in;
        let answered = now.segments_out != self.before.segments_out;
        // What the server has written may have to wait for the client's word that the last has arrived.
        let went_on = !asked && (answered || !now.settled) && self.has_rested(at);
        let length = self.length();
        // If both have spoken it is not known in which order, nor what of it was the answer before.
        self.server_spoke_last = !asked && (answered || self.server_spoke_last);
        if asked {
            self.answer_begins = (!answered).then_some(self.before.sent);
        }
        self.before = now;
        let since = self.rests_since.filter(|_| !answered).unwrap_or(at);
        self.rests_since = (self.server_spoke_last && now.settled).then_some(since);
        match (went_on, self.has_rested(at)) {
            (true, _) => Shown::WentOn(length),
            (false, true) => Shown::Answered(self.length()),
            (false, false) => Shown::Nothing,
        }
    }

    fn has_rested(&self, at: Instant) -> bool {
        self.rests_since.is_some_and(|since| at.duration_since(since) >= self.rest)
    }

    /// Of the answer so far.
    fn length(&self) -> Option<u64> {
        self.answer_begins.map(|begin| self.before.sent.saturating_sub(begin))
    }
}

impl Over {
    /// After a rest. `briefly`: the server ends connections by itself, and its clients are to hear of it.
    pub(super) const fn rested(parts: Lengths, briefly: bool) -> Self {
        Self { rest: REST, parts, briefly }
    }

    /// At once: whoever is left would be cut in the next moment.
    pub(super) fn at_last_call() -> Self {
        Self { rest: Duration::ZERO, parts: Lengths::new(), briefly: true }
    }

    /// How long is watched, where some may be ended or none.
    fn window(&self, ends: bool) -> Duration {
        if self.briefly || (ends && self.parts.is_empty()) { WINDOW } else { LESSON }
    }

    /// Whether an answer of that length may be.
    fn is_whole(&self, length: Option<u64>) -> bool {
        self.parts.is_empty() || length.is_some_and(|length| !self.parts.contains(&length))
    }
}

/// Watches these connections for a moment, and tells each server that its client has nothing more to say
/// when it has answered, where that is wanted. Gives of how many bytes answers were that went on after a
/// rest, as far as that is known. Blocks for as long.
pub(super) fn watch(connections: Vec<Watched>, over: &Over) -> Vec<Option<u64>> {
    let ends = connections.iter().any(|watched| watched.ends);
    let pause = if ends { MOMENT } else { GLANCE };
    let end = Instant::now() + over.window(ends);
    let begin = |watched: Watched| {
        let now = socket::spoken(&watched.connection).ok()?;
        Some((watched, Witness::new(now, over.rest)))
    };
    let mut watched: Vec<(Watched, Witness)> = connections.into_iter().filter_map(begin).collect();
    let mut went_on = Vec::new();
    while !watched.is_empty() && Instant::now() < end {
        thread::sleep(pause);
        watched.retain_mut(|(watched, witness)| {
            let Ok(now) = socket::spoken(&watched.connection) else { return false };
            match witness.sees(now, Instant::now()) {
                Shown::Answered(length) if watched.ends && over.is_whole(length) => {
                    // One that is over already needs no end.
                    let _ = rustix::net::shutdown(&watched.connection, Shutdown::Read);
                    return false;
                }
                Shown::WentOn(length) => went_on.push(length),
                Shown::Answered(_) | Shown::Nothing => {}
            }
            true
        });
    }
    went_on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(segments_in: u32, segments_out: u32) -> Spoken {
        let sent = u64::from(segments_out) * 100;
        Spoken { segments_in, segments_out, sent, settled: true }
    }

    /// What is seen last, of these at so many microseconds.
    fn seen(moments: &[(u64, Spoken)]) -> Shown {
        let start = Instant::now();
        let mut witness = Witness::new(moments[0].1, REST);
        moments[1..].iter().fold(Shown::Nothing, |_, (micros, now)| {
            witness.sees(*now, start + Duration::from_micros(*micros))
        })
    }

    #[test]
    fn an_answer_that_follows_its_request_and_rests_was_the_last_word() {
        let asked = [(0, after(1, 1)), (100, after(2, 1)), (200, after(2, 2))];
        assert_eq!(seen(&asked), Shown::Nothing, "more may come");
        let rests = |at| [asked[0], asked[1], asked[2], (at, after(2, 2))];
        assert_eq!(seen(&rests(600)), Shown::Nothing);
        assert_eq!(seen(&rests(700)), Shown::Answered(Some(100)));
    }

    #[test]
    fn what_comes_in_one_go_is_one_answer() {
        let moments = [
            (0, after(1, 1)),
            (100, after(2, 1)),
            (200, after(2, 2)),
            (400, after(2, 3)),
            (800, after(2, 3)),
        ];
        assert_eq!(seen(&moments), Shown::Nothing, "its head went out by itself");
        let rests = [&moments[..], &[(900, after(2, 3))]].concat();
        assert_eq!(seen(&rests), Shown::Answered(Some(200)));
    }

    #[test]
    fn what_comes_after_a_rest_is_learnt() {
        let moments =
            [(0, after(1, 1)), (100, after(2, 1)), (200, after(2, 2)), (900, after(2, 3))];
        assert_eq!(seen(&moments), Shown::WentOn(Some(100)));
        let held = Spoken { settled: false, ..after(2, 2) };
        let written = [moments[0], moments[1], moments[2], (900, held)];
        assert_eq!(seen(&written), Shown::WentOn(Some(100)), "it is written and waits");
        let late = [(0, after(2, 1)), (200, after(2, 2)), (900, after(2, 3))];
        assert_eq!(seen(&late), Shown::WentOn(None), "where it began was not seen");
    }

    #[test]
    fn a_request_after_an_answer_is_not_answered() {
        let moments =
            [(0, after(1, 1)), (100, after(2, 1)), (200, after(2, 2)), (900, after(3, 2))];
        assert_eq!(seen(&moments), Shown::Nothing);
    }

    #[test]
    fn of_two_words_in_one_moment_it_is_not_known_which_was_the_last() {
        let both = [(0, after(1, 1)), (100, after(2, 2)), (900, after(2, 2))];
        assert_eq!(seen(&both), Shown::Nothing);
        let later = [&both[..], &[(1000, after(3, 2)), (1100, after(3, 3)), (1700, after(3, 3))]];
        assert_eq!(seen(&later.concat()), Shown::Answered(Some(100)), "but may be later");
    }

    #[test]
    fn where_an_answer_begins_is_not_known_if_the_one_before_may_have_ended_then() {
        let moments =
            [(0, after(1, 1)), (100, after(2, 2)), (200, after(2, 3)), (700, after(2, 3))];
        assert_eq!(seen(&moments), Shown::Answered(None));
    }

    #[test]
    fn where_nobody_speaks_nothing_is_known() {
        assert_eq!(seen(&[(0, after(1, 1)), (900, after(1, 1))]), Shown::Nothing);
    }

    #[test]
    fn what_is_yet_to_go_out_is_no_last_word() {
        let half = Spoken { settled: false, ..after(2, 2) };
        let moments = [(0, after(1, 1)), (100, after(2, 1)), (200, half), (900, half)];
        assert_eq!(seen(&moments), Shown::Nothing);
        let gone = [&moments[..], &[(1000, after(2, 2)), (1500, after(2, 2))]].concat();
        assert_eq!(seen(&gone), Shown::Answered(Some(100)));
    }

    #[test]
    fn at_the_last_call_no_rest_is_asked_for() {
        let mut witness = Witness::new(after(2, 1), Over::at_last_call().rest);
        let shown = witness.sees(after(2, 2), Instant::now());
        assert!(matches!(shown, Shown::Answered(None)) && Over::at_last_call().is_whole(None));
    }

    #[test]
    fn where_answers_come_in_parts_one_is_over_that_is_seen_from_its_beginning_and_longer() {
        let over = Over::rested(Lengths::from([100]), false);
        assert!(!over.is_whole(Some(100)) && over.is_whole(Some(200)));
        assert!(!over.is_whole(None), "it may have begun before");
        assert!(Over::rested(Lengths::new(), false).is_whole(None));
    }
}
