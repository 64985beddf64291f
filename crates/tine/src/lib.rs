//! The parts of the `tine` command, as a library for its own tests.
//!
//! The command line, and later the other front ends, meet the managers in [`api`] alone.
#![forbid(unsafe_code)]

pub mod api;
pub mod boot;
mod causes;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod daemon;
pub mod foreground;
mod holder;
pub mod home;
pub mod logs;
pub mod program;
pub mod render;
pub mod serve;
pub mod spec;
pub mod supervise;
pub mod units;
pub mod watchdog;
