//! Courses of events made up at random, some thousand for each part in every run.
#![forbid(unsafe_code)]

use std::fmt;

use proptest::{collection::vec, prelude::*, test_runner::Config};

/// Bytes, shown as they can be pasted after `printf`.
#[derive(Clone)]
struct Course(Vec<u8>);

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
    }
}

fn course() -> impl Strategy<Value = Course> {
    vec(any::<u8>(), 0..600).prop_map(Course)
}

macro_rules! holds {
    ($($fact:ident: $check:ident,)*) => { proptest! {
        // What was found is kept in `fuzz/seeds`, not in a file of proptest's own.
        #![proptest_config(Config { cases: 3000, failure_persistence: None, ..Config::default() })]
        $(
            #[test]
            fn $fact(course in course()) {
                invariants::$check(&course.0);
            }
        )*
    } };
}

holds! {
    no_connection_is_lost_or_delivered_twice_whoever_comes_and_goes: handover,
    every_stream_is_cut_as_it_was_written_and_descriptors_go_to_their_lines: lines,
    every_worker_ends_is_let_go_of_once_and_has_the_successor_that_it_should: lives,
    whatever_a_worker_of_ours_says_is_answered_once_and_holds_nothing: native,
    whatever_a_node_worker_says_is_answered_once_and_holds_nothing: node,
    every_seat_is_held_turned_to_and_closed_as_it_should: seats,
}
