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
}

impl Witness {
    const fn new(now: Spoken) -> Self {
        Self { before: now, server_spoke_last: false }
    }

    /// Whether the client has its answer, and has not asked again.
    fn is_answered(&mut self, now: Spoken) -> bool {
        let asked = now.segments_in != self.before.segments_in;
        let answered = now.segments_out != self.before.segments_out;
        // If both have spoken it is not known in which order.
        self.server_spoke_last = !asked && (answered || self.server_spoke_last);
        self.before = now;
        self.server_spoke_last && now.settled
    }
}

/// Watches these connections for a moment, and tells each server that its client has nothing more to say
/// when it has answered. Blocks for as long.
pub(super) fn end_the_answered(connections: Vec<OwnedFd>) {
    let end = Instant::now() + WINDOW;
    let begin = |connection: OwnedFd| {
        let now = socket::spoken(&connection).ok()?;
        Some((connection, Witness::new(now)))
    };
    let mut watched: Vec<(OwnedFd, Witness)> = connections.into_iter().filter_map(begin).collect();
    while !watched.is_empty() && Instant::now() < end {
        thread::sleep(MOMENT);
        watched.retain_mut(|(connection, witness)| goes_on(connection, witness));
    }
}

fn goes_on(connection: &OwnedFd, witness: &mut Witness) -> bool {
    let Ok(now) = socket::spoken(connection) else { return false };
    if !witness.is_answered(now) {
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
        Spoken { segments_in, segments_out, settled: true }
    }

    fn seen(moments: &[Spoken]) -> bool {
        let mut witness = Witness::new(moments[0]);
        moments[1..].iter().fold(false, |_, now| witness.is_answered(*now))
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
    fn what_is_yet_to_go_out_is_no_last_word() {
        let half = Spoken { settled: false, ..after(2, 2) };
        assert!(!seen(&[after(2, 1), half]));
        assert!(seen(&[after(2, 1), half, after(2, 2)]));
    }
}
