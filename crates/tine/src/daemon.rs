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
mod left;
mod lock;
mod manager;
mod order;
mod ready;
mod signals;
mod slot;
mod state;
mod strays;
mod survivors;
mod targets;

pub use ready::Ready;
pub(crate) use state::boot;

use std::{os::fd::AsFd, process::ExitCode};

use anyhow::Context;
use rustix::fs::Mode;

use left::Left;

use crate::{
    home::Home,
    watchdog::{Charge, Keeper},
};

/// How a manager begins.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Who is told that it answers.
    pub ready: Ready,
    /// The saved apps are to be started.
    pub resurrect: bool,
}

/// Runs the background manager to its end. What it needs is kept by the watchdog that it comes from; what
/// a manager before has had kept it goes on with.
///
/// # Errors
///
/// When it cannot work: the home cannot be used, or another manager has it. Who waits for it was told so.
pub fn run(home: &Home, mut charge: Charge, how: Begin) -> anyhow::Result<ExitCode> {
    let Begin { ready, resurrect } = how;
    end_as_a_whole();
    // What the manager writes is for its user alone. The watchdog keeps the mask that both were started
    // with, and so the next manager has it from there.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    let begun = prepare(home, &mut charge, (resurrect, mask));
    let signals = charge.signals;
    let (runtime, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            ready.failed(&error);
            return Err(error);
        }
    };
    runtime.block_on(manager::manage(begun, signals, ready))
}

/// After a panic, out of memory say, a task would be missing in what goes on. Killed as a whole, the manager
/// is followed by one that lacks nothing.
fn end_as_a_whole() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn prepare(
    home: &Home,
    charge: &mut Charge,
    (resurrect, mask): (bool, Mode),
) -> anyhow::Result<(tokio::runtime::Runtime, manager::Begun)> {
    let directory = home.run_dir()?;
    let copies = charge.store.try_clone().context("copy what the manager before has left")?;
    let lock = match left::descriptor(charge.store.take(left::LOCK)) {
        Some(descriptor) => lock::inherit(&directory, descriptor)?,
        None => lock::take(&directory)?,
    };
    let control = left::descriptor(charge.store.take(left::CONTROL));
    let left = left::find(home, &directory, charge)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let keeper = Keeper::new(charge.line.try_clone().context("copy the line")?, copies);
    keeper.put(left::LOCK, b"", &[lock.as_fd()]);
    if let Left::Alive(alive) = &left {
        alive.keep(&keeper);
    }
    keeper.write_down(directory.journal());
    let begun = manager::Begun {
        home: home.clone(),
        directory,
        lock,
        control,
        left,
        resurrect,
        mask,
        keeper,
        watchdog: charge.watchdog,
    };
    Ok((runtime, begun))
}

/// Says something to whoever reads the manager's log. A full disk is no reason to end.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "tine: {text}");
}
