//! Workers that are gone, or that cannot be taken over.

use rustix::process::{Pid, Signal};
use tine_linux::{
    cgroup::Cgroup,
    process::Process,
    tree::{self, Table},
};

use super::WhyLost;
use crate::primary::records::WorkerRecord;

/// A worker that lives and cannot be taken over.
#[derive(Debug)]
pub struct Lost {
    record: WorkerRecord,
    process: Process,
    /// Why.
    pub why: WhyLost,
}

impl Lost {
    pub(super) const fn new(record: WorkerRecord, process: Process, why: WhyLost) -> Self {
        Self { record, process, why }
    }

    /// Its first process.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// When that was started, in clock ticks since the boot.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.record.started
    }

    /// Sends a signal to its first process, as long as that lives.
    pub fn signal(&self, signal: Signal) {
        // It may have ended in this moment, which is what was wanted.
        let _ = self.process.signal(signal);
    }

    /// Kills it with all that descends from it.
    pub fn kill(&self) {
        end(&self.record);
    }
}

/// The worker's first process, held; `None` if it has ended, whoever has its number now.
pub(super) fn still_there(record: &WorkerRecord) -> Option<Process> {
    let pid = Pid::from_raw(record.pid)?;
    let process = Process::open(pid).ok()?;
    // Held first and looked at then: it is the process that was held.
    let entry = tree::entry(pid).ok()?;
    (entry.started == record.started && !entry.zombie).then_some(process)
}

/// Kills whatever is left of the worker. The number of a session is nobody else's as long as it has
/// members; but the number of a process that is gone may be.
pub(super) fn end(record: &WorkerRecord) {
    let cgroup = record.cgroup.as_ref().and_then(|path| Cgroup::adopt(path).ok());
    let pid = Pid::from_raw(record.pid);
    let is_another = |pid| tree::entry(pid).is_ok_and(|entry| entry.started != record.started);
    let members = match pid.filter(|pid| !is_another(*pid)) {
        Some(pid) => Table::read(None).unwrap_or_default().members(Some(pid), None),
        None => Vec::new(),
    };
    tree::signal_all(&members, Signal::KILL);
    if let Some(cgroup) = cgroup {
        let _ = cgroup.kill();
    }
}
