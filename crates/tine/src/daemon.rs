//! The background manager: one process for each user and home, that keeps apps running.
//!
//! ```text
//!   clients ──lines──▶ control::serve_apps ──AppQuestion──▶ ┌─────────┐
//!                                                          │ Manager │  the list of apps, and who is meant
//!   events ◀──broadcast───────────────┐                     └────┬────┘
//!                                     │      Order, Query        │  one task for each app
//!                                  ┌──┴──┐ ◀─────────────────────┘
//!   state.json ◀──state::Keeper────│ App │ ──▶ Cluster ──▶ workers
//!                                  └─────┘ ◀── Events
//! ```
//!
//! Orders of one app are carried out one after the other, those of different apps at the same time.
//! Queries are answered at once, also while an order is under way.

mod app;
mod events;
mod lock;
mod manager;
mod order;
mod ready;
mod signals;
mod slot;
mod targets;

pub use ready::Ready;

use std::process::ExitCode;

use anyhow::Context;

use crate::{home::Home, watchdog::Signals};

/// Runs the background manager to its end.
///
/// # Errors
///
/// When it cannot work: the home cannot be used, or another manager has it. `ready` was told so.
pub fn run(home: &Home, signals: Signals, ready: Ready) -> anyhow::Result<ExitCode> {
    let begun = begin(home);
    let (runtime, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            ready.failed(&error);
            return Err(error);
        }
    };
    runtime.block_on(manager::manage(begun, signals, ready))
}

fn begin(home: &Home) -> anyhow::Result<(tokio::runtime::Runtime, manager::Begun)> {
    let directory = home.run_dir()?;
    let lock = lock::take(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    Ok((runtime, manager::Begun { home: home.clone(), directory, lock }))
}

/// Says something to whoever reads the manager's log. A full disk is no reason to end.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "tine: {text}");
}
