//! What is known of the answers of a program, from all its workers that left so far.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::witness::{self, Over, Watched};

/// Bytes of answers that were not over.
pub(super) type Lengths = HashSet<u64>;

/// Where there are more lengths than this, they say nothing about the next answer.
const MOST_LENGTHS: usize = 16;

/// What was seen of the answers of all workers that left so far.
#[derive(Debug)]
pub(super) struct Habits {
    /// Some took more than a segment.
    pub(super) in_segments: bool,
    /// A worker was looked at for long enough to see some that rest.
    pub(super) studied: bool,
    /// Bytes of answers at which they rested and then went on.
    rests: Lengths,
    /// They rest at ever other lengths.
    varied: bool,
    /// What those have seen who watched closely: as [`witness::watch`] gives it.
    lessons: (mpsc::UnboundedSender<Lessons>, mpsc::UnboundedReceiver<Lessons>),
}

/// Of how many bytes answers were that went on, as far as that is known.
type Lessons = Vec<Option<u64>>;

impl Habits {
    pub(super) fn learn(&mut self, length: u64) {
        if self.varied {
            return;
        }
        self.rests.insert(length);
        self.varied = self.rests.len() > MOST_LENGTHS;
    }

    /// Whether some were seen that did.
    pub(super) fn come_in_parts(&self) -> bool {
        !self.rests.is_empty()
    }

    /// Of how many bytes answers were that went on; `None` where that says nothing of the next one.
    pub(super) fn lengths(&self) -> Option<&Lengths> {
        (!self.varied).then_some(&self.rests)
    }

    /// Takes in what was seen meanwhile.
    pub(super) fn listen(&mut self) {
        while let Ok(lessons) = self.lessons.1.try_recv() {
            lessons.into_iter().flatten().for_each(|length| self.learn(length));
        }
    }

    /// Watches these for a moment, in another thread.
    pub(super) fn watch(&self, connections: Vec<Watched>, over: Over) {
        let lessons = self.lessons.0.clone();
        tokio::task::spawn_blocking(move || {
            let went_on = witness::watch(connections, &over);
            if !went_on.is_empty() {
                // Nobody wants it any more at the end.
                let _ = lessons.send(went_on);
            }
        });
    }

    /// Whether an answer that is as long so far may go on.
    pub(super) fn may_be_a_part(&self, length: Option<u64>) -> bool {
        self.varied || length.is_some_and(|length| self.rests.contains(&length))
    }
}

impl Default for Habits {
    fn default() -> Self {
        let lessons = mpsc::unbounded_channel();
        let rests = Lengths::new();
        Self { in_segments: false, studied: false, rests, varied: false, lessons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learnt_takes_no_more_room_than_it_says_something() {
        let mut habits = Habits::default();
        assert!(!habits.come_in_parts() && habits.lengths() == Some(&Lengths::new()));
        habits.learn(7);
        assert_eq!(habits.lengths(), Some(&Lengths::from([7])));
        assert!(habits.may_be_a_part(Some(7)) && !habits.may_be_a_part(Some(8)));
        assert!(!habits.may_be_a_part(None), "nothing is known of it");
        (0..10_000).for_each(|length| habits.learn(length));
        assert!(habits.rests.len() <= MOST_LENGTHS + 1);
        assert!(habits.lengths().is_none() && habits.may_be_a_part(None));
    }

    #[test]
    fn what_is_seen_by_watching_is_learnt() {
        let mut habits = Habits::default();
        habits.lessons.0.send(vec![None, Some(70)]).unwrap();
        habits.listen();
        assert_eq!(habits.lengths(), Some(&Lengths::from([70])));
    }
}
