//! N processes of any server program on one port.
#![forbid(unsafe_code)]

pub mod address;
pub mod core;
pub mod id;
pub mod policy;
#[cfg(feature = "tokio")]
pub mod primary;
pub mod wire;
pub mod worker;
