//! Ends what a benchmark started when the benchmark cannot: after Ctrl-C, a panic, SIGKILL.
//!
//! A copy of this program in a process group of its own reads, from a pipe, the pids of what was
//! started. The pipe closes with the benchmark however that ends, and then the guard stops them all
//! and removes the scratch directory. It opens a pidfd at once, so a pid that came to mean another
//! process is never signalled.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::Pid;

use super::process::{GRACE, Target};

/// The other end of the pipe. Dropping it ends everything that is still watched.
pub(crate) struct Guard {
    child: Child,
    /// `None` only while it is being dropped.
    orders: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard; `scratch` is removed in the end.
    pub(crate) fn start(scratch: &Path) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(own)
            .args(["bench", "--guard"])
            .arg(scratch)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("start the guard")?;
        let orders = child.stdin.take();
        Ok(Self { child, orders })
    }

    /// From now on this process ends with the benchmark, and its process group after it.
    pub(crate) fn watch(&self, pid: Pid) -> Result<()> {
        let mut pipe = self.orders.as_ref().context("the guard has been dismissed")?;
        writeln!(pipe, "{}", pid.as_raw_pid()).context("tell the guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.orders.take();
        // Its own deadlines bound this; a failure to wait leaves nothing to be done.
        let _ = self.child.wait();
    }
}

/// The guard's own life: everything named on standard input ends when that does.
pub(crate) fn keep(scratch: &Path) -> Result<()> {
    let mut watched: Vec<Target> = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line.context("read the guard's orders")?;
        let pid = line.parse().ok().and_then(Pid::from_raw).context("a pid was expected")?;
        // One that has gone already needs no guard.
        watched.retain(|target| !target.has_ended());
        watched.extend(Target::open(pid).ok());
    }
    // A group whose leader was stopped in good order is gone, and its number may be someone else's.
    watched.retain(|target| !target.has_ended());
    let deadline = Instant::now() + GRACE;
    watched.iter().for_each(Target::terminate);
    for target in &watched {
        target.end(deadline);
    }
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
