//! Logs from pipe to file to reader, with real pipes, files and threads.
#![forbid(unsafe_code)]

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
