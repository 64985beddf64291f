//! What the manager holds.

use std::collections::BTreeMap;
use std::fs;

use compliance::eventually;

/// What the allocator may keep in between, and the buffers of a few more conversations at once than before,
/// in KiB. A leak of only a hundred bytes with each command would be more in half an hour.
const NOISE: u64 = 4096;

/// Descriptors and resident memory of a process.
#[derive(Debug)]
pub(crate) struct Size {
    descriptors: BTreeMap<String, usize>,
    /// KiB.
    memory: u64,
}

impl Size {
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        Self { descriptors: descriptors(pid), memory: memory.expect("VmRSS in kB") }
    }

    /// The process is no larger now, or comes to be so.
    pub(crate) fn is_kept(&self, pid: u32) {
        println!("before: {} descriptors, {} kB", self.count(), self.memory);
        let now = Self::of(pid);
        println!("now: {} descriptors, {} kB", now.count(), now.memory);
        eventually("the descriptors are as few as before", || {
            let now = Self::of(pid);
            let more = now.count() > self.count();
            if more {
                println!("before {:?}, now {:?}", self.descriptors, now.descriptors);
            }
            !more
        });
        let now = Self::of(pid).memory;
        assert!(now <= self.memory + NOISE, "it grew from {} to {now} kB", self.memory);
    }

    fn count(&self) -> usize {
        self.descriptors.values().sum()
    }
}

/// How many there are of each kind, sockets and pipes without their numbers.
fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    for entry in entries.flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

/// Its words, for a person.
pub(crate) fn command_line(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}
