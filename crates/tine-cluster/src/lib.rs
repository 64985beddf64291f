//! N processes of any server program on one port.
//!
//! ```text
//!    clients ──SYN──▶ kernel: one address, a group of sockets, a program that picks one   (policy)
//!              ┌─────────┼─────────┐
//!            seat      seat      seat        each has its own queue; the primary has a duplicate
//!              │         │         │
//!           worker    worker    worker       any program, in any language
//!              ▲         ▲         ▲
//!              └────── primary ────┘         bind(2) trapped, Node's channel, or ours  (acquisition)
//! ```
//!
//! # Terms
//!
//! An *instance* is a place 0…N-1, a *worker* one process that fills it. A *listener* is an address;
//! a *seat* is one socket of it, held by a worker. *Policy* is who gets the next connection,
//! *mechanism* how that is done ([`policy`]); *acquisition* is how a worker comes to its seat. The
//! last two are independent of each other.
//!
//! # A primary
//!
//! Runs a program N times and tells what happens; on tokio, feature `tokio`. What any program does
//! with `bind` and `listen` is answered here, so it need not know of it.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # mod example {
//! use tine_cluster::{
//!     policy::Abilities,
//!     primary::{Cluster, Program, Settings, What},
//! };
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let args = vec!["server.py".into()];
//!     let program = Program { args, ..Program::new("/usr/bin/python3") };
//!     let mut settings = Settings::new(program, 3);
//!     // Round robin in the kernel, where this user may have it.
//!     settings.abilities = Abilities { ebpf: tine_linux::host::ebpf_load().is_yes() };
//!     // There is nobody to look after them when this process is gone.
//!     settings.workers_die_with_manager = true;
//!
//!     let (cluster, mut events) = Cluster::start(settings);
//!     while let Some(event) = events.next().await {
//!         match event.what {
//!             What::Listening { key, choice, .. } => println!("{key} by {}", choice.mechanism),
//!             // Out of rotation, drained, told to stop, and killed in the end if need be.
//!             What::GivenUp { .. } => cluster.stop().await?,
//!             _ => {}
//!         }
//!     }
//!     println!("{:?}", events.ending().await?);
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! # A worker
//!
//! A program that knows of its cluster needs no trap, can be handed connections, says when it is
//! ready and hears when it is to stop. On std alone; feature `worker`. In other languages
//! `docs/protocol-native.md` is a page of code.
//!
//! ```no_run
//! # #[cfg(feature = "worker")]
//! # fn main() -> std::io::Result<()> {
//! use std::io::Write;
//!
//! let listener = tine_cluster::worker::listen("127.0.0.1:8003")?;
//! while let Some((mut connection, _)) = listener.accept()? {
//!     writeln!(connection, "hello from {}", std::process::id())?;
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "worker"))]
//! # fn main() {}
//! ```
//!
//! Started by hand, without a primary, it simply binds.
//!
//! # Guarantees
//!
//! - A worker that ends costs at most the connections that it had accepted: what is queued is served
//!   by others, or by its successor.
//! - A worker that is told to go gets nothing new, and is signalled when its connections have
//!   finished or its time is up.
//! - Under the mechanisms of the kernel no connection passes through the primary.
//! - A mechanism that was asked for is used or refused, never replaced.
//! - What a worker says can be wrong in any way: that worker is ended, with an event that says why,
//!   and what it can make the primary hold is bounded.
//! - [`mod@core`] decides without reading a clock and without I/O; time comes in as an argument.
//!
//! # What it does not do
//!
//! Look for programs in `PATH`, read configuration, write logs, or survive its own process: if the
//! primary ends, so do workers that were started with
//! [`workers_die_with_manager`](primary::Settings::workers_die_with_manager), and others go on
//! unowned. New versions of a program are not rolled out yet. Linux only.
//!
//! # Features
//!
//! `tokio` is [`primary`]; `worker` lets a worker find its channel in the environment. Without both,
//! what remains is pure and free of `tine-linux`: [`mod@core`], [`policy`], [`wire`], and [`worker`]
//! over a given descriptor.
#![forbid(unsafe_code)]

pub mod address;
pub mod core;
pub mod descriptor;
pub mod id;
pub mod json;
pub mod policy;
#[cfg(feature = "tokio")]
pub mod primary;
pub mod wire;
pub mod worker;
