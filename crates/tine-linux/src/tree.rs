//! Who descends from whom, and ending all of it.
//!
//! A worker's tree is its process, all that descends from it, all of its session, and orphans whose
//! environment carries the worker's mark: a daemon that forked twice has lost its ancestors, and one
//! that called `setsid` its session, but rarely both *and* its environment. Where cgroups can be had
//! ([`crate::cgroup`]), none of this guessing is needed.

use std::{collections::HashSet, fs, io};

use rustix::process::{Pid, Signal};

use crate::{foreign, process::Process};

/// One line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process.
    pub pid: Pid,
    /// Its parent; `None` for processes whose parent is outside the pid namespace.
    pub parent: Option<Pid>,
    /// The session it belongs to: the pid of the session's leader.
    pub session: i32,
    /// It has ended and waits to be waited for.
    pub zombie: bool,
    /// When it started, in clock ticks since boot: pid and start time together never come twice.
    pub started: u64,
}

/// Reads the process table. Processes that end meanwhile are left out.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn processes() -> io::Result<Vec<Entry>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter_map(|pid| entry(pid).ok())
        .collect())
}

/// The line of one process.
///
/// # Errors
///
/// When it is gone.
pub fn entry(pid: Pid) -> io::Result<Entry> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()))?;
    parse(pid, &text).ok_or_else(|| io::Error::other("cannot make sense of /proc/PID/stat"))
}

/// `proc_pid_stat(5)`: the name in parentheses may hold anything, so count from the last one.
fn parse(pid: Pid, text: &str) -> Option<Entry> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Entry {
        pid,
        parent: Pid::from_raw(fields.get(1)?.parse().ok()?),
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// What tells the members of a worker's tree.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The worker's first process, and its session.
    pub leader: Pid,
    /// A variable, and its value, that only this worker's environment has.
    pub mark: Option<(String, String)>,
    /// To whom orphans come (the nearest subreaper): only its children are searched for the mark.
    pub reaper: Pid,
}

impl Roots {
    /// The living members of the tree in this table, the leader included.
    #[must_use]
    pub fn members(&self, table: &[Entry]) -> Vec<Entry> {
        let mut inside: HashSet<Pid> =
            table.iter().filter(|entry| self.is_root(entry)).map(|entry| entry.pid).collect();
        loop {
            let before = inside.len();
            let children = table.iter().filter(|e| e.parent.is_some_and(|p| inside.contains(&p)));
            let children: Vec<Pid> = children.map(|entry| entry.pid).collect();
            inside.extend(children);
            if inside.len() == before {
                break;
            }
        }
        table.iter().filter(|e| inside.contains(&e.pid) && !e.zombie).copied().collect()
    }

    fn is_root(&self, entry: &Entry) -> bool {
        let ours = entry.pid == self.leader || entry.session == self.leader.as_raw_pid();
        ours || (entry.parent == Some(self.reaper) && self.has_mark(entry.pid))
    }

    fn has_mark(&self, pid: Pid) -> bool {
        let Some((name, value)) = &self.mark else { return false };
        foreign::start_variable(pid, name).is_some_and(|found| found.to_str() == Some(value))
    }

    /// Sends a signal to every living member; gives how many there were.
    ///
    /// Each is held by a pidfd and looked at again before the signal, so that a number reused
    /// meanwhile is never hit.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn signal(&self, signal: Signal) -> io::Result<usize> {
        let members = self.members(&processes()?);
        for member in &members {
            signal_member(member, signal);
        }
        Ok(members.len())
    }

    /// How many living members there are.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.members(&processes()?).len())
    }
}

fn signal_member(member: &Entry, signal: Signal) {
    let Ok(held) = Process::open(member.pid) else { return };
    let same = entry(member.pid).is_ok_and(|now| now.started == member.started);
    if same {
        // It may have ended in this moment, which is what was wanted.
        let _ = held.signal(signal);
    }
}

/// `waitid(2)` — takes away the zombies among this process's children but those in `kept`, which
/// somebody else waits for; gives their number. For a subreaper, to which orphans come.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn reap_orphans(kept: impl Fn(Pid) -> bool) -> io::Result<usize> {
    let own = rustix::process::getpid();
    let mut reaped = 0;
    for entry in processes()? {
        if entry.parent == Some(own) && entry.zombie && !kept(entry.pid) {
            let options =
                rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG;
            let waited = rustix::process::waitid(rustix::process::WaitId::Pid(entry.pid), options);
            reaped += usize::from(matches!(waited, Ok(Some(_))));
        }
    }
    Ok(reaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    fn line(raw: i32, parent: i32, session: i32) -> Entry {
        let parent = Pid::from_raw(parent);
        Entry { pid: pid(raw), parent, session, zombie: false, started: 1 }
    }

    #[test]
    fn a_command_name_with_parentheses_and_blanks_is_read_past() {
        let text = "42 (a) b (c) S 1 42 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 99 1 1";
        let entry = parse(pid(42), text).unwrap();
        assert_eq!((entry.parent, entry.session, entry.started), (Some(pid(1)), 7, 99));
    }

    #[test]
    fn the_tree_holds_descendants_and_the_session_but_no_stranger() {
        let roots = Roots { leader: pid(10), mark: None, reaper: pid(1) };
        let table = [
            line(10, 5, 10),
            line(11, 10, 10),
            line(12, 11, 12), // a session of its own, but a descendant
            line(13, 1, 10),  // an orphan of the session
            line(14, 13, 14), // below that orphan
            line(20, 1, 20),  // a stranger
        ];
        let members: Vec<i32> =
            roots.members(&table).iter().map(|entry| entry.pid.as_raw_pid()).collect();
        assert_eq!(members, [10, 11, 12, 13, 14]);
    }
}
