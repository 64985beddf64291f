//! The languages in which workers and primary speak.
//!
//! Both are JSON, one message a line, over a UNIX stream socket, some lines accompanied by a
//! descriptor. What they share is in [`lines`]: cutting the stream into lines, and finding out which
//! descriptor belongs to which. [`node`] is what Node's `cluster` says, [`native`] is our own.
//!
//! ```text
//!  recvmsg ──▶ lines::Receiver ──▶ Session::event() ──▶ typed events ──▶ the primary decides
//!  sendmsg ◀── lines::Outbox ◀──── Session::reply_…() ◀─────────────────────┘
//! ```
//!
//! Nothing here reads a clock, and only [`lines::receive`] and [`lines::flush`] touch a socket. What
//! a worker sends can be wrong in any way: it is refused with an error that names it, and every
//! queue has a limit.

pub mod lines;
pub mod native;

pub mod node;
