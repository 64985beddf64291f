//! What other managers lose, and tine does not: each test answers a row of the table in
//! `docs/nothing-lost.md`, under a load whose every answer is compared byte for byte.
//!
//! Rows A to C, G, H, K, N and Q are in `replaced`, rows D, E, L and O in `broken`, rows U and V in `kept`.
//! These are facts, not figures: `cargo xtask chaos` measures.
#![forbid(unsafe_code)]

#[path = "nothing_lost/broken.rs"]
mod broken;
#[path = "nothing_lost/kept.rs"]
mod kept;
#[path = "nothing_lost/loaded.rs"]
mod loaded;
#[path = "nothing_lost/replaced.rs"]
mod replaced;
