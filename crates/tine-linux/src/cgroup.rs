//! One cgroup (version 2) per worker: what is in it can be ended in one write, whatever it forked.
//!
//! Not to be had everywhere: the hierarchy must be mounted and the own cgroup writable (root, or
//! delegated by systemd). [cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)

mod hierarchy;
mod limits;

pub(crate) use hierarchy::Hierarchy;
pub use limits::{Controller, Limits};

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The own cgroup, below which a process may make others.
#[derive(Clone, Debug)]
pub struct Parent {
    path: PathBuf,
}

/// A cgroup that this process made, or took over. Removed when dropped, if nobody is in it any more.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Parent {
    /// Finds the own cgroup.
    ///
    /// # Errors
    ///
    /// When there is no version 2 hierarchy, or the process is in none of it.
    pub fn own() -> io::Result<Self> {
        let own = Hierarchy::find().and_then(|hierarchy| hierarchy.own);
        let path =
            own.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 hierarchy"))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `mkdir(2)` — makes a cgroup of this name.
    ///
    /// # Errors
    ///
    /// `EACCES` or `EROFS` where the user may not.
    pub fn create(&self, name: &str) -> io::Result<Cgroup> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path };
        // Without `cgroup.kill` (Linux 5.14) it would be of no use.
        fs::metadata(cgroup.path.join("cgroup.kill"))?;
        Ok(cgroup)
    }

    /// Removes the cgroups below whose names begin with `prefix` and in which nobody is: left behind
    /// by a process that was killed.
    pub fn sweep(&self, prefix: &str) {
        self.sweep_where(|name| name.starts_with(prefix));
    }

    /// Removes the cgroups below with names that `is_left` knows and in which nobody is.
    pub fn sweep_where(&self, is_left: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(&is_left) {
                // The kernel refuses (`EBUSY`) while somebody is in it.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Cgroup {
    /// Takes over one that another process made, at [`Self::path`].
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn adopt(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::metadata(path.join("cgroup.kill"))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets it, and leaves it where it is.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Its directory, open: for [`crate::spawn::Spawn::cgroup`].
    ///
    /// # Errors
    ///
    /// As `open(2)` tells.
    pub fn directory(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Sends `SIGKILL` to everything in it, also to what is forked meanwhile.
    ///
    /// # Errors
    ///
    /// As `write(2)` tells.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether a process is in it. Zombies do not count.
    ///
    /// # Errors
    ///
    /// When `cgroup.events` cannot be read.
    pub fn is_populated(&self) -> io::Result<bool> {
        let events = fs::read_to_string(self.path.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// The processes in it now.
    ///
    /// # Errors
    ///
    /// When `cgroup.procs` cannot be read.
    pub fn members(&self) -> io::Result<Vec<rustix::process::Pid>> {
        let text = fs::read_to_string(self.path.join("cgroup.procs"))?;
        let pids = text.lines().filter_map(|line| line.parse().ok());
        Ok(pids.filter_map(rustix::process::Pid::from_raw).collect())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails while a process is in it; then whoever made it sweeps later.
        let _ = fs::remove_dir(&self.path);
    }
}
