//! Who descends from whom, and ending all of it.
//!
//! A worker's tree is its process, all that descends from it, all of its session, and orphans whose
//! environment carries the worker's mark: a daemon that forked twice has lost its ancestors, and one
//! that called `setsid` its session, but rarely both *and* its environment. Where cgroups can be had
//! ([`crate::cgroup`]), none of this guessing is needed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    time::Duration,
};

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

/// How long ago a process began, from its [`Entry::started`]; exact to a hundredth of a second. Nobody can
/// set the clock by which this is told, and it goes on while the machine sleeps.
///
/// # Errors
///
/// Where there is no `/proc/uptime`.
pub fn age(started: u64) -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/uptime")?;
    let since_boot = parse_uptime(&text);
    let up = since_boot.ok_or_else(|| io::Error::other("cannot make sense of /proc/uptime"))?;
    let started = started.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1);
    Ok(up.saturating_sub(Duration::from_millis(started)))
}

/// `proc_uptime(5)`: seconds with two digits behind the point, and the time of idleness.
fn parse_uptime(text: &str) -> Option<Duration> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let millis = 10 * hundredths.parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_millis(millis))
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

/// Whether a thread of the process is at work at this moment, or would be if it had a processor:
/// states `R` and `D` of `proc_pid_stat(5)`. Nobody sees a process that may not be looked at work.
#[must_use]
pub fn is_at_work(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid()));
    threads.into_iter().flatten().flatten().any(|thread| {
        let text = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = text.rsplit_once(") ").map(|(_, rest)| rest.as_bytes());
        matches!(state, Some([b'R' | b'D', ..]))
    })
}

/// The process table at one moment, ready to be asked for many trees.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Vec<Entry>,
    of_parent: HashMap<Pid, Vec<usize>>,
    of_session: HashMap<i32, Vec<usize>>,
    of_pid: HashMap<Pid, usize>,
    /// Orphans by the value of their mark.
    of_mark: HashMap<String, Vec<usize>>,
}

/// Where orphans are looked for.
#[derive(Clone, Debug)]
pub struct Orphanage {
    /// To whom orphans come (the nearest subreaper).
    pub reaper: Pid,
    /// The variable of the environment that tells whose they are.
    pub mark: String,
    /// Children of the reaper that are no orphans, and need not be looked at.
    pub known: HashSet<Pid>,
}

impl Table {
    /// Puts lines in order.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut table = Self { entries, ..Self::default() };
        for (index, entry) in table.entries.iter().enumerate() {
            table.of_pid.insert(entry.pid, index);
            table.of_session.entry(entry.session).or_default().push(index);
            if let Some(parent) = entry.parent {
                table.of_parent.entry(parent).or_default().push(index);
            }
        }
        table
    }

    /// Reads the process table, and the marks of orphans.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn read(orphanage: Option<&Orphanage>) -> io::Result<Self> {
        let mut table = Self::new(processes()?);
        if let Some(orphanage) = orphanage {
            table.read_marks(orphanage);
        }
        Ok(table)
    }

    fn read_marks(&mut self, from: &Orphanage) {
        for index in self.of_parent.get(&from.reaper).cloned().unwrap_or_default() {
            let pid = self.entries[index].pid;
            if from.known.contains(&pid) {
                continue;
            }
            if let Some(mark) = foreign::start_variable(pid, &from.mark) {
                let mark = mark.to_string_lossy().into_owned();
                self.of_mark.entry(mark).or_default().push(index);
            }
        }
    }

    /// Whether there is a process of this number, zombie or not.
    #[must_use]
    pub fn contains(&self, pid: Pid) -> bool {
        self.of_pid.contains_key(&pid)
    }

    /// All lines.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The living members of a tree: its leader, its session, what carries its mark, and all that
    /// descends from those.
    #[must_use]
    pub fn members(&self, leader: Option<Pid>, mark: Option<&str>) -> Vec<Entry> {
        let own = leader.and_then(|leader| self.of_pid.get(&leader));
        let session = leader.and_then(|leader| self.of_session.get(&leader.as_raw_pid()));
        let marked = mark.and_then(|mark| self.of_mark.get(mark));
        let mut open: Vec<usize> = own.copied().into_iter().collect();
        open.extend(session.into_iter().chain(marked).flatten());
        let mut seen = BTreeSet::new();
        while let Some(index) = open.pop() {
            if seen.insert(index) {
                open.extend(self.of_parent.get(&self.entries[index].pid).into_iter().flatten());
            }
        }
        seen.into_iter().map(|index| self.entries[index]).filter(|entry| !entry.zombie).collect()
    }
}

/// Sends a signal to processes; each is held by a pidfd and looked at again before, so that a number
/// reused meanwhile is never hit.
pub fn signal_all(members: &[Entry], signal: Signal) {
    for member in members {
        signal_member(member, signal);
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
    fn a_process_has_an_age() {
        let own = entry(rustix::process::getpid()).unwrap();
        let (one, other) = (age(own.started).unwrap(), age(own.started + 1).unwrap());
        assert!(one < Duration::from_hours(24) && other <= age(own.started).unwrap(), "{one:?}");
        assert_eq!(age(u64::MAX).unwrap(), Duration::ZERO);
        assert_eq!(parse_uptime("350735.47 234388.90\n"), Some(Duration::from_millis(350_735_470)));
        assert_eq!(parse_uptime("?"), None);
    }

    #[test]
    fn a_command_name_with_parentheses_and_blanks_is_read_past() {
        let text = "42 (a) b (c) S 1 42 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 99 1 1";
        let entry = parse(pid(42), text).unwrap();
        assert_eq!((entry.parent, entry.session, entry.started), (Some(pid(1)), 7, 99));
    }

    #[test]
    fn who_computes_is_at_work_and_who_sleeps_is_not() {
        let start = |script| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", script]).spawn().expect("a shell")
        };
        for (script, works) in [("while :; do :; done", true), ("exec sleep 600", false)] {
            let mut child = start(script);
            let pid = Pid::from_child(&child);
            // The shell works until it sleeps.
            while is_at_work(pid) != works {
                std::thread::yield_now();
            }
            Process::open(pid).expect("our child").signal(Signal::KILL).expect("our child");
            child.wait().expect("our child");
            assert!(!is_at_work(pid), "it is gone");
        }
    }

    #[test]
    fn the_tree_holds_descendants_and_the_session_but_no_stranger() {
        let table = Table::new(vec![
            line(10, 5, 10),
            line(11, 10, 10),
            line(12, 11, 12), // a session of its own, but a descendant
            line(13, 1, 10),  // an orphan of the session
            line(14, 13, 14), // below that orphan
            line(20, 1, 20),  // a stranger
        ]);
        let members = table.members(Some(pid(10)), None);
        let members: Vec<i32> = members.iter().map(|entry| entry.pid.as_raw_pid()).collect();
        assert_eq!(members, [10, 11, 12, 13, 14]);
    }
}
