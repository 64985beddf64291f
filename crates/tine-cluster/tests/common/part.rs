//! This binary as the program of workers: it starts itself once more, to play a part.

use tine_cluster::{primary::Program, worker::Worker};

/// What a worker is to do.
const PART: &str = "TINE_TEST_PART";

/// A part, by its name.
pub(crate) type Part = (&'static str, fn(&Worker));

/// Starts this test binary again, as a worker with this part.
pub(crate) fn program(part: &str) -> Program {
    let args = ["--exact", "plays_its_part", "--nocapture", "--test-threads=1"];
    let mut program = Program::new(std::env::current_exe().unwrap());
    program.args = args.map(Into::into).to_vec();
    program.env.push((PART.into(), part.into()));
    program
}

/// To be called by a test named `plays_its_part`, with the parts that there are. As a test of its own it
/// has nothing to do.
pub(crate) fn play(parts: &[Part]) {
    let Ok(part) = std::env::var(PART) else { return };
    let worker = Worker::from_env().unwrap();
    let (_, play) = parts.iter().find(|(name, _)| *name == part).expect("a part that there is");
    play(&worker);
}
