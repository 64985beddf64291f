//! Ends what a row started when the row cannot: after Ctrl-C, a panic, SIGKILL.
//!
//! A copy of this program reads a pipe that ends with the one that watches, however that ends.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// The other end of the pipe.
pub(crate) struct Guard {
    child: Child,
    /// `None` only while it is being dropped.
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Whoever has this mark ends with this program.
    pub(crate) fn of(mark: &str) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(own);
        command.args(["chaos", "--guard", mark]).process_group(0).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn().context("start the guard")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe.take();
        // A failure to wait leaves nothing to be done.
        let _ = self.child.wait();
    }
}

/// The guard's own life. The mark is the path of the row's folder.
pub(crate) fn keep(mark: &str) -> Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of the pipe")?;
    compliance::sweep(mark);
    if Path::new(mark).exists() {
        std::fs::remove_dir_all(mark).context("remove the folder")?;
    }
    Ok(())
}
