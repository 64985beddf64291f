//! What holds of the library's pure parts whatever they are told.
//!
//! ```text
//!   any bytes ──▶ Choices ──▶ calls in any order ──▶ the part, and an onlooker beside it
//!                                                      panics where the two disagree
//! ```
//!
//! Each function here takes any bytes for a course of events, plays it, and panics when a promise is
//! broken. Three ways lead to them: `tests/arbitrary.rs` makes bytes up at random in every run of the
//! tests, `tests/seeds.rs` replays those in `fuzz/seeds`, and the targets in `fuzz/` let libFuzzer
//! look for bytes that reach what none has reached before (`cargo xtask fuzz`).
#![forbid(unsafe_code)]

mod choices;
mod handover;
mod lines;
mod lives;
mod native;
mod node;
mod pipe;
mod seats;

pub use handover::handover;
pub use lines::lines;
pub use lives::lives;
pub use native::native;
pub use node::node;
pub use seats::seats;

/// One of the functions, by the name that its target and its folder of seeds have.
pub type Check = (&'static str, fn(&[u8]));

/// All of them.
pub const CHECKS: [Check; 6] = [
    ("handover", handover),
    ("lines", lines),
    ("lives", lives),
    ("native", native),
    ("node", node),
    ("seats", seats),
];
