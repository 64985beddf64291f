//! The process table, as far as it matters here: one small read for each process.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, RawDir, openat},
    process::Pid,
};

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The process.
    pub pid: Pid,
    /// Its parent's number; 0 where that is outside of the pid namespace.
    pub parent: i32,
    /// The number of its session's leader.
    pub session: i32,
    /// CPU time in ticks: its own, and that of its children that ended and were waited for.
    pub ticks: u64,
    /// When it started, in ticks since the boot.
    pub started: u64,
    /// Resident bytes.
    pub memory: u64,
}

/// `/proc`, kept open.
#[derive(Debug)]
pub struct Table {
    proc: OwnedFd,
    page: u64,
}

impl Table {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// When it is not mounted.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        Ok(Self { proc, page: u64::try_from(rustix::param::page_size()).unwrap_or(4096) })
    }

    /// All processes but zombies. Those that end meanwhile are left out.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn read(&self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut room = [MaybeUninit::uninit(); 16 << 10];
        rustix::fs::seek(&self.proc, rustix::fs::SeekFrom::Start(0))?;
        let mut entries = RawDir::new(self.proc.as_fd(), &mut room);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            let pid = name.and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            lines.extend(pid.and_then(|pid| self.line(pid)));
        }
        Ok(lines)
    }

    fn line(&self, pid: Pid) -> Option<Line> {
        let path = format!("{}/stat", pid.as_raw_pid());
        let file =
            openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        // 52 numbers of at most 20 digits and a name of at most 64 bytes.
        let mut room = [0u8; 1280];
        let length = rustix::io::read(&file, &mut room).ok()?;
        parse(pid, &room[..length], self.page)
    }
}

/// `proc_pid_stat(5)`: the name in parentheses may hold anything, so count from the last one.
fn parse(pid: Pid, text: &[u8], page: u64) -> Option<Line> {
    let name_ends = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&text[name_ends + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let mut number = |skip: usize| fields.nth(skip)?.parse::<u64>().ok();
    // utime, stime, cutime, cstime are 14 to 17; starttime is 22, rss 24.
    let ticks = number(7)? + number(0)? + number(0)? + number(0)?;
    let started = number(4)?;
    let memory = number(1)? * page;
    Some(Line { pid, parent, session, ticks, started, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_manual_whatever_the_name_is() {
        let text =
            b"42 (a) b (c) S 1 42 7 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 5 0 99 8192 12 18446";
        let line = parse(Pid::from_raw(42).unwrap(), text, 4096).unwrap();
        assert_eq!((line.parent, line.session), (1, 7));
        assert_eq!((line.ticks, line.started, line.memory), (3520, 99, 12 * 4096));
        let zombie = b"42 (a) Z 1 42 7 0 -1 0 0 0 0 0 1 1 1 1 20 0 1 0 99 0 0 0";
        assert_eq!(parse(Pid::from_raw(42).unwrap(), zombie, 4096), None);
    }

    #[test]
    fn this_process_is_in_it_each_time() {
        let table = Table::open().unwrap();
        let own = rustix::process::getpid();
        for _ in 0..2 {
            let lines = table.read().unwrap();
            let line = lines.iter().find(|line| line.pid == own).unwrap();
            assert_eq!(line.parent, rustix::process::getppid().unwrap().as_raw_pid());
            assert!(line.memory > 100_000);
        }
    }
}
