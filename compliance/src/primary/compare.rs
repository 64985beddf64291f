//! One case on several primaries.

use std::panic;
use std::thread;

use super::{Interpreter, Primary, Transcript, Way};

/// Plays the case in each of these ways, with the `node` of this system.
///
/// What the workers did must be the same in all of them; `UNDER_TEST=node` or `tine` leaves one primary
/// to be compared with nobody.
pub fn compare(ways: &[Way], case: impl Fn(&mut Primary) + Sync) {
    compare_on(&Interpreter::system(), ways, case);
}

/// Likewise, with another interpreter.
pub fn compare_on(interpreter: &Interpreter, ways: &[Way], case: impl Fn(&mut Primary) + Sync) {
    compare_started(|way| Primary::start(way, interpreter), ways, case);
}

/// Likewise, with primaries that are started so.
pub fn compare_started(
    start: impl Fn(Way) -> Primary + Sync,
    ways: &[Way],
    case: impl Fn(&mut Primary) + Sync,
) {
    let wanted: Vec<Way> = ways.iter().copied().filter(|way| way.is_wanted()).collect();
    if wanted.is_empty() {
        return crate::skip("neither primary can be had in this way here");
    }
    let play = &|way: Way| {
        let mut primary = start(way);
        case(&mut primary);
        (way, primary.finish())
    };
    let seen: Vec<(Way, Transcript)> = thread::scope(|scope| {
        let begin = |way: &Way| {
            let (way, thread) = (*way, thread::Builder::new().name(format!("{way:?}")));
            thread.spawn_scoped(scope, move || play(way)).expect("a thread")
        };
        let plays: Vec<_> = wanted.iter().map(begin).collect();
        plays
            .into_iter()
            .map(|play| play.join().unwrap_or_else(|it| panic::resume_unwind(it)))
            .collect()
    });
    let (model, first) = &seen[0];
    for (way, transcript) in &seen[1..] {
        let same = if way.tells_listening_late() {
            first.listening_first() == transcript.listening_first()
        } else {
            first == transcript
        };
        assert!(same, "{model:?}:\n{first}\n{way:?}:\n{transcript}");
    }
}

/// Plays the case in each of these ways, and compares nothing: for what ends before its transcript.
pub fn play(ways: &[Way], case: impl Fn(Primary) + Sync) {
    let wanted = ways.iter().filter(|way| way.is_wanted());
    let interpreter = Interpreter::system();
    thread::scope(|scope| {
        for way in wanted {
            scope.spawn(|| case(Primary::start(*way, &interpreter)));
        }
    });
}
