//! Ends what a manager left that did not end as it should.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tine_linux::{cgroup, tree};

use super::{Mark, Saved, SavedApp, boot};

/// What was killed is gone by then, unless the kernel holds it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills the workers that it names, with all that descends from them, and waits until they are gone.
/// Gives how many processes there were. The number of a process alone is never trusted.
pub(in crate::daemon) fn end_leftovers(saved: &Saved) -> usize {
    if saved.boot != boot() {
        return 0;
    }
    let marks: Vec<Mark> = saved.apps.iter().flat_map(SavedApp::marks).collect();
    let alive = left(&marks).len();
    [Some(saved.manager), saved.watchdog].into_iter().flatten().for_each(sweep_cgroups);
    end_processes(&marks).max(alive)
}

/// Likewise, those that are named like this.
pub(in crate::daemon) fn end_processes(marks: &[Mark]) -> usize {
    let until = Instant::now() + PATIENCE;
    let mut killed = 0;
    loop {
        let left = left(marks);
        if left.is_empty() || Instant::now() > until {
            return killed;
        }
        killed = killed.max(left.len());
        tree::signal_all(&left, Signal::KILL);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn left(marks: &[Mark]) -> Vec<tree::Entry> {
    let alive = marks.iter().filter_map(|mark| {
        let pid = Pid::from_raw(mark.pid)?;
        let entry = tree::entry(pid).ok()?;
        (entry.started == mark.started && !entry.zombie).then_some(pid)
    });
    let mut alive = alive.peekable();
    if alive.peek().is_none() {
        return Vec::new();
    }
    let table = tree::Table::read(None).unwrap_or_default();
    alive.flat_map(|pid| table.members(Some(pid), None)).collect()
}

/// Whatever has lost its ancestors is still in its worker's cgroup.
fn sweep_cgroups(owner: Mark) {
    let (Ok(parent), Some(pid)) = (cgroup::Parent::own(), Pid::from_raw(owner.pid)) else {
        return;
    };
    // The number may have come to mean somebody else, who has cgroups of that name now.
    let is_another = |entry: tree::Entry| entry.started != owner.started && !entry.zombie;
    if tree::entry(pid).is_ok_and(is_another) {
        return;
    }
    let prefix = tine_cluster::primary::cgroup_prefix(pid);
    let until = Instant::now() + PATIENCE;
    while kill_cgroups(&parent, &prefix) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        parent.sweep(&prefix);
    }
}

/// Whether there are any.
fn kill_cgroups(parent: &cgroup::Parent, prefix: &str) -> bool {
    let Ok(entries) = fs::read_dir(parent.path()) else { return false };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    let mut found = false;
    for entry in ours {
        found = true;
        let _ = fs::write(entry.path().join("cgroup.kill"), "1");
    }
    found
}
