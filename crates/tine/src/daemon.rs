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
mod state;
mod targets;

pub use ready::Ready;

use std::process::ExitCode;

use anyhow::Context;

use crate::{home::Home, watchdog::Signals};

/// How a manager begins.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Who is told that it answers.
    pub ready: Ready,
    /// The saved apps are to be started.
    pub resurrect: bool,
}

/// Runs the background manager to its end.
///
/// # Errors
///
/// When it cannot work: the home cannot be used, or another manager has it. Who waits for it was told so.
pub fn run(home: &Home, signals: Signals, how: Begin) -> anyhow::Result<ExitCode> {
    let Begin { ready, resurrect } = how;
    let begun = prepare(home, resurrect);
    let (runtime, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            ready.failed(&error);
            return Err(error);
        }
    };
    runtime.block_on(manager::manage(begun, signals, ready))
}

fn prepare(
    home: &Home,
    resurrect: bool,
) -> anyhow::Result<(tokio::runtime::Runtime, manager::Begun)> {
    let directory = home.run_dir()?;
    let lock = lock::take(&directory)?;
    let left = state_left(home)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    Ok((runtime, manager::Begun { home: home.clone(), directory, lock, left, resurrect }))
}

/// What a manager knew that has not ended as it should; nothing of it runs any more.
fn state_left(home: &Home) -> anyhow::Result<Option<state::Saved>> {
    let left = match state::read(&home.state_file()) {
        Ok(left) => left,
        // Without it nothing can be known, and apps have to be started by hand.
        Err(error @ state::StateError::Broken { .. }) => {
            say(&error.to_string());
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(saved) = &left {
        let killed = state::end_leftovers(saved);
        say(&format!(
            "the manager before has not ended as it should: {} apps are brought back; {killed} processes \
             were left of them, and were killed",
            saved.apps.len()
        ));
    }
    Ok(left)
}

/// Says something to whoever reads the manager's log. A full disk is no reason to end.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "tine: {text}");
}
