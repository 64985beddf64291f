//! What people type, with the real program: each test has a home of its own, and leaves nothing.
#![forbid(unsafe_code)]

mod bad_files;
mod change;
mod coverage;
mod drain;
mod files;
mod import;
mod keys;
mod list;
mod options;
mod pm2;
mod reload;
mod shell;
mod start;
mod stdin;
mod trial;
mod trigger;
mod upkeep;
mod verify;
