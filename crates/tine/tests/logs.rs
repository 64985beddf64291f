//! Logs from pipe to file to reader, with real pipes, files and threads.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[path = "logs/common.rs"]
mod common;
#[path = "logs/follow.rs"]
mod follow;
#[path = "logs/full.rs"]
mod full;
#[path = "logs/volume.rs"]
mod volume;
#[path = "logs/write.rs"]
mod write;
