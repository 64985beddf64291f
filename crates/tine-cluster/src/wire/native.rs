//! Our own protocol, for workers in any language; [every byte of it](#the-native-worker-protocol-version-1)
//! is told below.
//!
//! ```text
//!  worker ──▶ primary    hello   listen   took   close   ready   leaving   message²   reply
//!  primary ──▶ worker    seat¹   handed-over   error   connection¹   stop    message²   reply
//!                                            ¹ with a socket      ² perhaps with a socket
//! ```
//!
//! One JSON object a line over the UNIX stream socket whose number is in [`CHANNEL`]. A line that a
//! socket accompanies says so with `"fds":1`. Fields that a reader does not know are ignored, and so
//! are lines of a type that it does not know, together with their descriptors.
//!
#![doc = include_str!("../../docs/protocol-native.md")]

mod message;
mod session;

pub use message::{
    Listen, Malformed, Message, ProtocolError, Reply, Seat, ToPrimary, ToWorker, Wanted, decode,
    encode,
};
pub use session::{Event, Session};

use super::lines;

/// The environment variable with the number of the worker's end of the channel, followed by a colon
/// and the socket's inode number if the primary wants to spare the worker's children a mistake.
pub const CHANNEL: &str = "TINE_CHANNEL_FD";

/// The version of this protocol. What can be ignored does not change it.
pub const VERSION: u32 = 1;

/// What either side accepts from the other.
pub const LIMITS: lines::Limits = lines::Limits { line: 1 << 20, descriptors: 64 };

/// The longest message that fits into a line with all that belongs to it, in bytes of JSON.
pub const LONGEST_MESSAGE: usize = LIMITS.line - 128;

/// The most that may wait for a worker to read, in bytes: some thousand connections, and messages.
pub const QUEUE: usize = 4 << 20;
