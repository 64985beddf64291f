//! What `/proc` says of a process: its parent, the time it has used, the memory it holds.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Processor time used so far, user and system together, in clock ticks
/// ([proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)).
pub(crate) fn cpu_ticks(pid: Pid) -> Result<u64> {
    let stat = read(pid, "stat")?;
    ticks_of(&stat).with_context(|| format!("read the times of process {pid:?}"))
}

/// How many clock ticks a second has: what [`cpu_ticks`] is to be divided by.
#[expect(clippy::cast_precision_loss, reason = "it is 100")]
pub(crate) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory in MiB.
pub(crate) fn resident_mib(pid: Pid) -> Result<f64> {
    let status = read(pid, "status")?;
    let kib = kib_of(&status).with_context(|| format!("read the memory of process {pid:?}"))?;
    Ok(kib / 1024.0)
}

/// The only child of a process, or none when it has none; the lowest pid of several.
pub(crate) fn first_child(parent: Pid) -> Option<Pid> {
    children(parent).into_iter().min_by_key(|pid| pid.as_raw_pid())
}

/// Puts a process and all that descends from it before whatever else the machine does, as far as the
/// scheduler keeps sessions apart ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html),
/// autogroups). Says whether that was to be had: it takes root.
pub(crate) fn prefer(root: Pid) -> bool {
    let mut all = vec![root];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        all.extend(children(parent));
        at += 1;
    }
    let prefer = |pid: &Pid| {
        let file = format!("/proc/{}/autogroup", pid.as_raw_pid());
        fs::write(file, "-19").is_ok()
    };
    // Every one is tried, whatever became of the one before.
    all.iter().filter(|pid| !prefer(pid)).count() == 0
}

fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter_map(|name| Pid::from_raw(name.parse().ok()?));
    pids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

fn parent_of(pid: Pid) -> Option<Pid> {
    // A process that has gone meanwhile is no one's child.
    let stat = read(pid, "stat").ok()?;
    Pid::from_raw(field(&stat, 4)?.parse().ok()?)
}

fn read(pid: Pid, what: &str) -> Result<String> {
    let path = format!("/proc/{}/{what}", pid.as_raw_pid());
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

fn ticks_of(stat: &str) -> Option<u64> {
    let user: u64 = field(stat, 14)?.parse().ok()?;
    let system: u64 = field(stat, 15)?.parse().ok()?;
    Some(user + system)
}

/// A field by its number in the manual page. The name (field 2) may hold blanks and brackets, so
/// counting begins behind its last bracket.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

fn kib_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4711 (odd) name (x) S 17 4711 4711 0 -1 4194560 1 2 3 4 250 31 0 0 20 0 1 0 9";

    #[test]
    fn brackets_in_a_name_do_not_shift_the_fields() {
        assert_eq!(field(STAT, 3), Some("S"));
        assert_eq!(field(STAT, 4), Some("17"));
        assert_eq!(ticks_of(STAT), Some(281));
        assert_eq!(ticks_of("no such line"), None);
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        assert_eq!(kib_of("Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t   824 kB\n"), Some(824.0));
        assert_eq!(kib_of("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_child_is_found_by_its_parent() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat is there");
        // Other tests may have children of their own at the same time.
        assert_eq!(parent_of(Pid::from_child(&child)), Some(rustix::process::getpid()));
        assert!(first_child(rustix::process::getpid()).is_some());
        drop(child.stdin.take());
        child.wait().expect("cat ends with its input");
    }
}
