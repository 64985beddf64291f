//! The background manager, with the real program: each test has a manager of its own, which ends with it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod apps;
mod boot;
mod clients;
mod disk;
mod documented;
mod guard;
mod manager;
mod others;
mod output;
mod state;
mod succession;
mod unusable;
