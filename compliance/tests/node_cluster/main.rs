//! What `cluster` promises to a worker, played on Node's own primary and on ours.
//!
//! Each case is written once: a worker's script, and what is done to it. It is played on both primaries,
//! and what the workers said, wrote and ended with must be the same. `UNDER_TEST=node` or
//! `UNDER_TEST=tine` plays it on one of them. The numbers of cases are those of `docs/foreign-primary.md`.
#![forbid(unsafe_code)]

#[macro_use]
mod suite;

mod clients;
mod connections;
mod datagrams;
mod deaths;
mod ends;
mod listen;
mod messages;
mod paths;
mod programs;
mod start;
mod versions;
mod web;
