//! Sees who speaks last, by looking so often that a request and its answer come apart.
//!
//! The kernel tells when each side spoke in ticks of 1 to 10 ms. With a server that answers within one, and a
//! client that asks again soon, a connection never seems to be idle, and its worker would be held up to the
//! drain's end. What a duplicate of the socket shows from one moment to the next has an order.

use std::{
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::net::Shutdown;
use tine_linux::socket::{self, Spoken};

use super::unfinished::Lengths;

/// How long is watched, at each look. Short: where a server closes its connection meanwhile, the client is
/// told when the duplicate is closed as well.
const WINDOW: Duration = Duration::from_millis(2);
/// Between two moments. Shorter than most servers take for an answer.
const MOMENT: Duration = Duration::from_micros(50);
/// More are not watched at a time: each is a descriptor.
pub(super) const MOST: usize = 64;

/// What was seen of one connection.
#[derive(Debug)]
struct Witness {
    before: Spoken,
    server_spoke_last: bool,
    /// What had gone out before the last request, if that was seen to come.
    answer_begins: Option<u64>,
}

impl Witness {
    const fn new(now: Spoken) -> Self {
        Self { before: now, server_spoke_last: false, answer_begins: None }
    }

    /// Whether the client has its answer, and has not asked again. Those of `parts` bytes were seen to go on.
    fn is_answered(&mut self, now: Spoken, parts: &Lengths) -> bool {
        let asked = now.segments_in != self.before.segments_in;
        let answered = now.segments_out != self.before.segments_out;
        // If both have spoken it is not known in which order.
        self.server_spoke_last = !asked && (answered || self.server_spoke_last);
        if asked {
            self.answer_begins = Some(self.before.sent);
        }
        self.before = now;
        let length = self.answer_begins.map(|begin| now.sent.saturating_sub(begin));
        let is_whole = parts.is_empty() || length.is_some_and(|length| !parts.contains(&length));
        self.server_spoke_last && now.settled && is_whole
    }
}

/// Watches these connections for a moment, and tells each server that its client has nothing more to say
/// when it has answered. Blocks for as long.
pub(super) fn end_the_answered(connections: Vec<OwnedFd>, parts: &Lengths) {
    let end = Instant::now() + WINDOW;
    let begin = |connection: OwnedFd| {
        let now = socket::spoken(&connection).ok()?;
        Some((connection, Witness::new(now)))
    };
    let mut watched: Vec<(OwnedFd, Witness)> = connections.into_iter().filter_map(begin).collect();
    while !watched.is_empty() && Instant::now() < end {
        thread::sleep(MOMENT);
        watched.retain_mut(|(connection, witness)| goes_on(connection, witness, parts));
    }
}

fn goes_on(connection: &OwnedFd, witness: &mut Witness, parts: &Lengths) -> bool {
    let Ok(now) = socket::spoken(connection) else { return false };
    if !witness.is_answered(now, parts) {
        return true;
    }
    // One that is over already needs no end.
    let _ = rustix::net::shutdown(connection, Shutdown::Read);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(segments_in: u32, segments_out: u32) -> Spoken {
        let sent = u64::from(segments_out) * 100;
        Spoken { segments_in, segments_out, sent, settled: true }
    }

    fn seen(moments: &[Spoken]) -> bool {
        seen_with(&Lengths::new(), moments)
    }

    fn seen_with(parts: &Lengths, moments: &[Spoken]) -> bool {
        let mut witness = Witness::new(moments[0]);
        moments[1..].iter().fold(false, |_, now| witness.is_answered(*now, parts))
    }

    #[test]
    fn an_answer_that_follows_its_request_was_the_last_word() {
        assert!(seen(&[after(1, 1), after(2, 1), after(2, 2)]));
        assert!(seen(&[after(2, 1), after(2, 2), after(2, 2)]), "and stays it");
    }

    #[test]
    fn a_request_after_an_answer_is_not_answered() {
        assert!(!seen(&[after(2, 1), after(2, 2), after(3, 2)]));
    }

    #[test]
    fn of_two_words_in_one_moment_it_is_not_known_which_was_the_last() {
        assert!(!seen(&[after(1, 1), after(2, 2)]));
        assert!(!seen(&[after(1, 1), after(2, 2), after(2, 2)]));
        assert!(seen(&[after(1, 1), after(2, 2), after(3, 2), after(3, 3)]), "but may be later");
    }

    #[test]
    fn where_nobody_speaks_nothing_is_known() {
        assert!(!seen(&[after(1, 1), after(1, 1)]));
    }

    #[test]
    fn where_answers_come_in_parts_one_is_over_that_is_seen_from_its_beginning_and_longer() {
        let parts = Lengths::from([100]);
        assert!(!seen_with(&parts, &[after(1, 1), after(2, 1), after(2, 2)]));
        assert!(seen_with(&parts, &[after(1, 1), after(2, 1), after(2, 2), after(2, 3)]));
        assert!(!seen_with(&parts, &[after(2, 1), after(2, 2)]), "it may have begun before");
    }

    #[test]
    fn what_is_yet_to_go_out_is_no_last_word() {
        let half = Spoken { settled: false, ..after(2, 2) };
        assert!(!seen(&[after(2, 1), half]));
        assert!(seen(&[after(2, 1), half, after(2, 2)]));
    }
}
