//! Starts programs while no port is tried.
//!
//! Until a child runs its program it has whatever its parent had open when it forked, close-on-exec or not.
//! With a socket that another thread had bound for a moment, to see whether its port is free, the port is
//! taken for a moment longer than that thread believes.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};

static TRYING: RwLock<()> = RwLock::new(());

/// As [`Command::spawn`].
///
/// # Errors
///
/// As there.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let _nobody_tries = TRYING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// As [`Command::output`].
///
/// # Errors
///
/// As there.
pub fn output(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)?.wait_with_output()
}

/// Tries something that no child may have a part in.
pub(crate) fn alone<T>(try_it: impl FnOnce() -> T) -> T {
    let _nobody_starts = TRYING.write().unwrap_or_else(PoisonError::into_inner);
    try_it()
}
