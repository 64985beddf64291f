//! Makes tests of cases.

/// Each case as two tests, by who gets the next connection.
macro_rules! on_all {
    ($($case:ident),+ $(,)?) => { $(
        mod $case {
            #[test]
            fn in_turn() {
                compliance::compare(&compliance::IN_TURN, super::$case);
            }

            #[test]
            fn in_any_order() {
                compliance::compare(&compliance::IN_ANY_ORDER, super::$case);
            }
        }
    )+ };
}

/// Each case on these ways only.
macro_rules! on_some {
    ($($case:ident: $ways:expr),+ $(,)?) => { $(
        mod $case {
            #[test]
            fn everywhere() {
                compliance::compare(&$ways, super::$case);
            }
        }
    )+ };
}
