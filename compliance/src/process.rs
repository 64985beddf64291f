//! What /proc says about processes, and ending them without mistaking one for another.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that every process of one run inherits.
pub(crate) const MARK: &str = "TINE_TEST_MARK";

/// A process, and when it began: a pid alone may come to mean another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Clock ticks since boot.
    start: u64,
    state: char,
    pub(crate) name: String,
}

impl Process {
    /// `None` when there is no such process, not even a zombie.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything, parentheses too.
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
            name: name.to_owned(),
        })
    }

    /// Whether this very process still runs; a zombie does not.
    pub(crate) fn runs(&self) -> bool {
        Self::read(self.pid)
            .is_some_and(|now| now.start == self.start && !matches!(now.state, 'Z' | 'X'))
    }

    /// Signals this very process; nothing happens when it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pidfd) = self.open() {
            // It may end in between, which is as well.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Whether this very process is gone, or goes within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let Some(pidfd) = self.open() else { return true };
        let time = Timespec::try_from(time).expect("a short time fits");
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
    }

    /// A descriptor of this very process; `None` when it does not run.
    fn open(&self) -> Option<OwnedFd> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The descriptor is open: the number now means one process, and this says which.
        self.runs().then_some(pidfd)
    }

    fn is_marked(&self, mark: &str) -> bool {
        let environ = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let wanted = format!("{MARK}={mark}");
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    }
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| Process::read(name.to_str()?.parse().ok()?)).collect()
}

/// The running processes that inherited this mark, and all below them: a process in the middle of an
/// `execve` shows no environment.
pub(crate) fn marked(mark: &str) -> Vec<Process> {
    let all = all();
    let own: HashSet<u32> =
        all.iter().filter(|process| process.is_marked(mark)).map(|process| process.pid).collect();
    let parents = parents(&all);
    let is_of_it = |process: &Process| {
        lineage(process.pid, &parents).chain([process.pid]).any(|pid| own.contains(&pid))
    };
    all.into_iter().filter(|process| is_of_it(process) && process.runs()).collect()
}

/// The running processes below `root`, without it.
pub(crate) fn below(root: u32) -> Vec<Process> {
    let all = all();
    let parents = parents(&all);
    let is_below = |process: &Process| lineage(process.pid, &parents).any(|pid| pid == root);
    all.into_iter().filter(|process| is_below(process) && process.runs()).collect()
}

fn parents(all: &[Process]) -> HashMap<u32, u32> {
    all.iter().map(|process| (process.pid, process.parent)).collect()
}

/// The parent, its parent, and so on.
fn lineage(pid: u32, parents: &HashMap<u32, u32>) -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| parents.get(pid).copied();
    std::iter::successors(parent(&pid), parent)
}

/// The pids of all running processes below `pid`, without itself.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    below(pid).into_iter().map(|process| process.pid).collect()
}

/// Whether `pid` is a running process; a zombie is not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    Process::read(pid).is_some_and(|process| process.runs())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn a_marked_grandchild_is_found_and_killed() {
        let mark = format!("process-test-{}", id());
        let mut shell = Command::new("sh");
        // A stopped grandchild: one in the middle of an `execve` would show no environment.
        shell.args(["-c", "sh -c 'echo; kill -STOP $$' & wait"]).env(MARK, &mark);
        let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().expect("a shell");
        let mut byte = [0];
        let stdout = shell.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(stdout, &mut byte).expect("the grandchild runs");

        let family = marked(&mark);
        assert_eq!(family.len(), 2);
        assert_eq!(descendants(shell.id()).len(), 1);
        for process in &family {
            process.signal(Signal::KILL);
        }
        assert!(family.iter().all(|process| process.ends_within(Duration::from_secs(10))));
        assert!(!is_alive(shell.id()), "a zombie is not alive");
        shell.wait().expect("a child");
    }

    #[test]
    fn a_pid_with_another_start_is_another_process() {
        let mut own = Process::read(id()).expect("we run");
        assert!(own.runs());
        own.start += 1;
        assert!(!own.runs());
    }
}
