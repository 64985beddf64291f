//! Behaviour tests that run against real programs in every language, through the real `tine`.
//!
//! ```no_run
//! use compliance::{Tine, free_port, get};
//!
//! let port = free_port();
//! let mut tine = Tine::run(["-i", "3", "--env", &format!("PORT={port}"), "hello.js"]).start();
//! tine.wait_listening(3);
//! assert!(get(port).expect("an answer").starts_with("node "));
//! assert_eq!(tine.stop().code, Some(0));
//! ```
//!
//! Each [`Tine`] runs in a scratch folder of its own that holds a copy of `examples/servers`, so a
//! server is named without a path, also for an ordinary user who cannot read the repository. All
//! waiting has a deadline; what goes wrong is a panic that shows everything `tine` had said.
//! Nothing survives a test: whatever carries the run's mark is killed when [`Tine`] is dropped.
#![forbid(unsafe_code)]
#![expect(clippy::missing_errors_doc, reason = "what a server did wrong is no list to be had")]
#![expect(clippy::missing_panics_doc, reason = "a harness panics wherever a test should fail")]

mod build;
mod client;
mod desk;
mod home;
mod load;
mod output;
mod port;
mod primary;
mod process;
mod program;
mod run;
mod scratch;
mod serving;
pub mod spawn;
mod tine;
mod who;

pub use build::{example, file};
pub use client::{KeepAlive, get, get_from, pid_in};
pub use desk::Desk;
pub use home::{Home, sweep};
pub use load::{Count, Failure, Kind, Load, Look, Outcome, Pace, Stalls, Tally, Target};
pub use output::{Line, Listening, Stream, Worker};
pub use port::free_port;
pub use primary::{
    Fork, IN_ANY_ORDER, IN_TURN, Interpreter, Primary, Transcript, UnderTest, Way, WorkerExit,
    compare, compare_on, compare_started, peer, play,
};
pub use process::{descendants, is_alive};
pub use program::Program;
pub use run::Run;
pub use serving::{Serving, Version};
pub use tine::{DEADLINE, Exit, Tine, eventually};
pub use who::Who;

/// Ends the test as one that cannot run here, unless this program can be found.
///
/// For what nearly every test needs; the runner knows the printed line, and takes the test for skipped
/// however it ended. Under plain `cargo test` it fails.
pub fn needs(program: &str) {
    if Who::Root.find(program).is_none() {
        cut_short(&format!("no {program} here"));
    }
}

fn cut_short(reason: &str) -> ! {
    println!("SKIP! {reason}");
    std::panic::resume_unwind(Box::new("skipped"))
}

/// What a test returns early with: the reason why it cannot run here.
///
/// The runner, `cargo xtask test`, knows the printed line.
pub fn skip(reason: &str) {
    println!("SKIP: {reason}");
}
