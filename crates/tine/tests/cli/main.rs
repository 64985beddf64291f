//! What people type, with the real program: each test has a home of its own, and leaves nothing.
#![forbid(unsafe_code)]

mod change;
mod files;
mod import;
mod list;
mod pm2;
mod shell;
mod start;
mod stdin;
mod trigger;
mod upkeep;
