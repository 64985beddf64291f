//! One log file that is being written: whole lines in, rotated in time, and a full disk waited for.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Local};
use rustix::fs::{FlockOperation, flock};

use super::LogSettings;
use super::archive::{archives_of, set_aside};
use super::keeper::prune_file;
use crate::spec::Rotation;

/// How soon after a failure it is tried again, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often it is looked whether the path still leads to the file.
const LOOK: Duration = Duration::from_secs(1);

/// What an owner should know about log files. Told once when it begins, and once when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTrouble {
    /// There is no room; the workers that write there wait, and nothing is lost.
    Full {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It cannot be written at all (no permission, a read-only file system); what the workers say
    /// goes nowhere, and they go on.
    Lost {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It is written again.
    Works {
        /// The file.
        path: PathBuf,
        /// So many bytes went nowhere.
        lost: u64,
    },
    /// A file could not be set aside, removed for its age, or compressed. Lines are still written.
    Archive {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
}

/// The moment of a piece of work, and what it goes by.
pub(super) struct Moment<'a> {
    pub(super) settings: &'a LogSettings,
    /// For names and ages.
    pub(super) now: SystemTime,
    /// For waits.
    pub(super) tick: Instant,
    /// What there is to tell.
    pub(super) troubles: Vec<LogTrouble>,
    /// Something was set aside.
    pub(super) rotated: bool,
}

/// What a moment left for others to do.
#[must_use = "troubles are to be told, and what was set aside is to be compressed"]
pub(super) struct Aftermath {
    pub(super) troubles: Vec<LogTrouble>,
    pub(super) rotated: bool,
}

impl Moment<'_> {
    pub(super) fn over(self) -> Aftermath {
        Aftermath { troubles: self.troubles, rotated: self.rotated }
    }
}

/// A file, open or to be opened again.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<Open>,
    /// What must be written before anything else. Only while the disk is full.
    backlog: Vec<u8>,
    failing: Option<Failing>,
    looked: Option<Instant>,
    last_stamp: Option<String>,
    /// It could not be set aside; it is tried again then.
    rotates_from: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: (u64, u64),
    size: u64,
    born: SystemTime,
    /// A disk became full within a line.
    within_a_line: bool,
}

#[derive(Debug)]
struct Failing {
    delay: Duration,
    again: Instant,
    lost: u64,
    waits: bool,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            backlog: Vec::new(),
            failing: None,
            looked: None,
            last_stamp: None,
            rotates_from: None,
        }
    }

    /// When what waits can be tried again, if anything waits.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.failing.as_ref().filter(|failing| failing.waits).map(|failing| failing.again)
    }

    /// Makes the file if it is not there, so that trouble is known at once.
    pub(super) fn touch(&mut self, moment: &mut Moment<'_>) {
        if self.open.is_none() && self.may_try(moment) {
            match self.opened(moment) {
                Ok(_) => self.works(moment),
                Err(error) => self.failed(&error, &[], moment),
            }
        }
    }

    /// Writes whole lines. While the disk is full they are kept, and nobody should bring more.
    pub(super) fn write(&mut self, lines: &[u8], moment: &mut Moment<'_>) {
        if self.waits_until().is_some() {
            self.backlog.extend_from_slice(lines);
        } else if self.may_try(moment) {
            self.put(lines, moment);
        } else if let Some(failing) = &mut self.failing {
            failing.lost += lines.len() as u64;
        }
    }

    /// Tries what waits once more, if it is time to.
    pub(super) fn retry(&mut self, moment: &mut Moment<'_>) {
        if self.waits_until().is_some_and(|again| again <= moment.tick) {
            let backlog = std::mem::take(&mut self.backlog);
            self.put(&backlog, moment);
        }
    }

    /// Forgets the open file; the path is opened anew.
    pub(super) fn reopen(&mut self, moment: &mut Moment<'_>) {
        // The rest of a line belongs where the line began.
        if !self.open.as_ref().is_some_and(|open| open.within_a_line) {
            self.open = None;
            self.touch(moment);
        }
    }

    /// Empties it, and forgets what waited.
    pub(super) fn flush(&mut self, moment: &mut Moment<'_>) {
        self.backlog.clear();
        if self.failing.take_if(|failing| failing.waits).is_some() {
            moment.troubles.push(LogTrouble::Works { path: self.path.clone(), lost: 0 });
        }
        let emptied = empty(&self.path).and_then(|()| {
            let Some(open) = &mut self.open else { return Ok(()) };
            open.file.set_len(0)?;
            (open.size, open.within_a_line, open.born) = (0, false, moment.now);
            Ok(())
        });
        if let Err(error) = emptied {
            self.tell_archive(&error, moment);
        }
    }

    fn may_try(&self, moment: &Moment<'_>) -> bool {
        self.failing.as_ref().is_none_or(|failing| failing.again <= moment.tick)
    }

    fn put(&mut self, lines: &[u8], moment: &mut Moment<'_>) {
        let mut rest = lines;
        while !rest.is_empty() {
            match self.put_some(rest, moment) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error, rest, moment),
            }
        }
        self.works(moment);
    }

    /// Writes what fits into the file as it is, at least a line; says how much that was.
    fn put_some(&mut self, lines: &[u8], moment: &mut Moment<'_>) -> io::Result<usize> {
        self.look(moment);
        let rotation = moment.settings.rotation;
        if self.open.as_ref().is_some_and(|open| open.is_due(lines, &rotation, moment.now)) {
            self.rotate(moment);
        }
        let limit = if self.rotates_from.is_some() { 0 } else { rotation.size };
        let open = self.opened(moment)?;
        let fitting = open.fitting(lines, limit);
        let written = open.file.write(&lines[..fitting])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        open.size += written as u64;
        open.within_a_line = lines[written - 1] != b'\n';
        Ok(written)
    }

    /// Lets go of a file that somebody moved or removed.
    fn look(&mut self, moment: &Moment<'_>) {
        let due = self.looked.is_none_or(|looked| moment.tick.duration_since(looked) >= LOOK);
        let Some(open) = self.open.as_ref().filter(|open| due && !open.within_a_line) else {
            return;
        };
        self.looked = Some(moment.tick);
        if fs::metadata(&self.path).is_ok_and(|there| inode(&there) == open.inode) {
            return;
        }
        self.open = None;
    }

    fn rotate(&mut self, moment: &mut Moment<'_>) {
        if self.rotates_from.is_some_and(|from| moment.tick < from) {
            return;
        }
        if self.last_stamp.is_none() {
            self.last_stamp = archives_of(&self.path).pop().map(|newest| newest.stamp);
        }
        match set_aside(&self.path, moment.now, self.last_stamp.as_deref()) {
            Ok(stamp) => {
                (self.open, self.last_stamp, self.rotates_from) = (None, Some(stamp), None);
                moment.rotated = true;
                self.prune(moment);
            }
            Err(error) => {
                if self.rotates_from.is_none() {
                    self.tell_archive(&error, moment);
                }
                self.rotates_from = Some(moment.tick + 12 * RETRY.1);
            }
        }
    }

    /// At once, and not by the keeper: that may be slower than a worker that writes.
    fn prune(&self, moment: &mut Moment<'_>) {
        let keep = moment.settings.rotation.keep;
        if let Err(error) = prune_file(archives_of(&self.path), keep) {
            self.tell_archive(&error, moment);
        }
    }

    fn opened(&mut self, moment: &Moment<'_>) -> io::Result<&mut Open> {
        if self.open.is_none() {
            make_folder(&self.path, &moment.settings.home)?;
            self.open = Some(Open::at(&self.path, moment.now)?);
            self.looked = Some(moment.tick);
        }
        Ok(self.open.as_mut().expect("it was opened just now"))
    }

    fn works(&mut self, moment: &mut Moment<'_>) {
        if let Some(failing) = self.failing.take() {
            let path = self.path.clone();
            moment.troubles.push(LogTrouble::Works { path, lost: failing.lost });
        }
    }

    fn failed(&mut self, error: &io::Error, rest: &[u8], moment: &mut Moment<'_>) {
        let waits = is_full(error);
        let before = self.failing.take();
        if before.as_ref().is_none_or(|before| before.waits != waits) {
            let (path, error) = (self.path.clone(), error.to_string());
            let full = |path, error| LogTrouble::Full { path, error };
            let lost = |path, error| LogTrouble::Lost { path, error };
            moment.troubles.push(if waits { full(path, error) } else { lost(path, error) });
        }
        let delay = before.as_ref().map_or(RETRY.0, |before| RETRY.1.min(before.delay * 2));
        let mut lost = before.map_or(0, |before| before.lost);
        if waits {
            self.backlog = rest.to_vec();
        } else {
            lost += rest.len() as u64;
            self.open = None;
        }
        self.failing = Some(Failing { delay, again: moment.tick + delay, lost, waits });
    }

    fn tell_archive(&self, error: &io::Error, moment: &mut Moment<'_>) {
        let (path, error) = (self.path.clone(), error.to_string());
        moment.troubles.push(LogTrouble::Archive { path, error });
    }
}

impl Open {
    fn at(path: &Path, now: SystemTime) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        // Whoever compresses asks for the whole lock. Where there are no locks, there is one writer.
        let _ = flock(&file, FlockOperation::NonBlockingLockShared);
        let found = file.metadata()?;
        let born = found.created().or_else(|_| found.modified()).unwrap_or(now);
        let born = if found.len() == 0 { now } else { born };
        let within_a_line = false;
        Ok(Self { file, inode: inode(&found), size: found.len(), born, within_a_line })
    }

    /// Whether the file is to be set aside before the next line.
    fn is_due(&self, lines: &[u8], rotation: &Rotation, now: SystemTime) -> bool {
        if self.size == 0 || self.within_a_line {
            return false;
        }
        let too_large = rotation.size > 0 && self.fits(lines, rotation.size) == 0;
        let too_old = rotation.age.is_some_and(|age| {
            let age = age.duration().max(Duration::from_secs(1));
            period(self.born, age) != period(now, age)
        });
        too_large || too_old
    }

    /// The bytes of whole lines that bring the file up to the limit; all of them if there is none.
    fn fits(&self, lines: &[u8], limit: u64) -> usize {
        let room = limit.saturating_sub(self.size);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
        lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
    }

    /// The same, but one line at least: it has to go somewhere.
    fn fitting(&self, lines: &[u8], limit: u64) -> usize {
        if limit == 0 {
            return lines.len();
        }
        match self.fits(lines, limit) {
            0 => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
            some => some,
        }
    }
}

/// Empties the log file of a worker that does not run; one that is not there is empty.
fn empty(path: &Path) -> io::Result<()> {
    match File::options().write(true).open(path).and_then(|file| file.set_len(0)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whole periods begin at local midnight, so that `1h` changes at the full hour and `1d` at midnight.
fn period(time: SystemTime, age: Duration) -> i64 {
    let local = DateTime::<Local>::from(time).naive_local().and_utc().timestamp_millis();
    local.div_euclid(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// A full disk becomes empty again; a missing permission seldom comes.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn make_folder(path: &Path, home: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) else { return Ok(()) };
    let mode = if folder.starts_with(home) { 0o700 } else { 0o777 };
    DirBuilder::new().recursive(true).mode(mode).create(folder)
}

#[cfg(test)]
#[path = "file_tests.rs"]
pub(super) mod tests;
