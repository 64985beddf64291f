//! The background manager, with the real program: each test has a manager of its own, which ends with it.
#![forbid(unsafe_code)]

mod apps;
mod clients;
mod guard;
mod manager;
mod output;
mod state;
