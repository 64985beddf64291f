//! What was written already: pieces of files as lines, and the lines of several files by their times.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::when::time_of;

/// A part of a file.
#[derive(Debug)]
pub(super) enum Piece {
    /// What was set aside, from so many bytes on. Opened when its turn comes, compressed or not.
    Archive(PathBuf, u64),
    /// A file that is open already.
    Open(Arc<File>, std::ops::Range<u64>),
}

/// Lines of one log, over its files, the oldest first; one in memory at a time.
#[derive(Default)]
pub struct Lines {
    pieces: VecDeque<Piece>,
    from: Option<Box<dyn BufRead>>,
    line: Vec<u8>,
    /// Lines from before are left out.
    since: Option<SystemTime>,
    /// Of the last line that had one: those that have none belong to it.
    time: Option<SystemTime>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn of(pieces: VecDeque<Piece>, since: Option<SystemTime>) -> Self {
        Self { pieces, since, ..Self::default() }
    }

    /// Goes to the next line.
    ///
    /// # Errors
    ///
    /// When a file cannot be read. One that was removed meanwhile has no lines.
    pub fn advance(&mut self) -> io::Result<bool> {
        while self.advance_any()? {
            if let Some(time) = time_of(&self.line) {
                self.time = Some(time);
            }
            let too_old = |since| self.time.is_some_and(|time| time < since);
            if !self.since.is_some_and(too_old) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The line, without its newline.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    fn advance_any(&mut self) -> io::Result<bool> {
        loop {
            self.line.clear();
            if let Some(from) = &mut self.from
                && from.read_until(b'\n', &mut self.line)? > 0
            {
                return Ok(true);
            }
            let Some(piece) = self.pieces.pop_front() else { return Ok(false) };
            self.from = piece.open()?;
        }
    }
}

impl Piece {
    fn open(self) -> io::Result<Option<Box<dyn BufRead>>> {
        match self {
            Self::Open(file, part) => {
                Ok(Some(Box::new(BufReader::new(Part { file, at: part.start, end: part.end }))))
            }
            Self::Archive(path, skip) => {
                let Some(mut from) = open_archive(&path)? else { return Ok(None) };
                io::copy(&mut from.by_ref().take(skip), &mut io::sink())?;
                Ok(Some(Box::new(BufReader::new(from))))
            }
        }
    }
}

/// What was set aside, as it was; or nothing, if it was removed for its age.
pub(super) fn open_archive(path: &Path) -> io::Result<Option<Box<dyn Read>>> {
    let mut packed = path.as_os_str().to_owned();
    if path.extension().is_none_or(|extension| extension != "gz") {
        match File::open(path) {
            Ok(plain) => return Ok(Some(Box::new(plain))),
            // Compressed since it was found.
            Err(error) if error.kind() == io::ErrorKind::NotFound => packed.push(".gz"),
            Err(error) => return Err(error),
        }
    }
    match File::open(packed) {
        Ok(packed) => Ok(Some(Box::new(MultiGzDecoder::new(BufReader::new(packed))))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a part of a file without moving anybody's position in it.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = room.len().min(left);
        let read = self.file.read_at(&mut room[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Lines of several logs in the order of their times, as far as they have any: a line without one
/// comes right after the line before it in its own log.
#[derive(Debug)]
pub struct Merge {
    logs: Vec<Lines>,
    /// Of these, which has a line ready.
    ready: Vec<bool>,
    current: Option<usize>,
}

impl Merge {
    /// Of these logs; lines of equal times come in their order.
    ///
    /// # Errors
    ///
    /// When a first line cannot be read.
    pub fn of(mut logs: Vec<Lines>) -> io::Result<Self> {
        let ready = logs.iter_mut().map(Lines::advance).collect::<io::Result<_>>()?;
        Ok(Self { logs, ready, current: None })
    }

    /// The next line, and which log it is of.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<(usize, &[u8])>> {
        if let Some(last) = self.current {
            self.ready[last] = self.logs[last].advance()?;
        }
        self.current = self.choose();
        Ok(self.current.map(|at| (at, self.logs[at].line())))
    }

    fn choose(&self) -> Option<usize> {
        let follows = |at: &usize| self.ready[*at] && time_of(self.logs[*at].line()).is_none();
        if let Some(last) = self.current.filter(follows) {
            return Some(last);
        }
        let ready = (0..self.logs.len()).filter(|at| self.ready[*at]);
        ready.min_by(|one, other| self.compare(*one, *other))
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        self.logs[one].time.cmp(&self.logs[other].time)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::file::tests::Folder;
    use super::*;

    fn lines(folder: &Folder, name: &str, text: &str) -> Lines {
        std::fs::write(folder.path(name), text).unwrap();
        Lines::of([Piece::Archive(folder.path(name), 0)].into(), None)
    }

    fn merged(logs: Vec<Lines>) -> String {
        let (mut merge, mut all) = (Merge::of(logs).unwrap(), String::new());
        while let Some((at, line)) = merge.next_line().unwrap() {
            let text = String::from_utf8_lossy(&line[line.len().min(20)..]);
            write!(all, "{at}{text};").unwrap();
        }
        all
    }

    #[test]
    fn lines_of_several_logs_come_by_their_times_and_others_stay_with_theirs() {
        let folder = Folder::new();
        let out = "2026-11-22T10:00:01Za\n2026-11-22T10:00:03Zb\n";
        let error = "2026-11-22T10:00:02Zc\n                    d\n2026-11-22T10:00:04Ze\n";
        let logs = vec![lines(&folder, "a", out), lines(&folder, "b", error)];
        assert_eq!(merged(logs), "0a;1c;1d;0b;1e;");
    }

    #[test]
    fn logs_without_times_come_one_after_the_other() {
        let folder = Folder::new();
        let line = |end| format!("{:20}{end}\n", "");
        let logs = ["ab", "cd"].map(|ends| ends.chars().map(line).collect::<String>());
        let logs = vec![lines(&folder, "a", &logs[0]), lines(&folder, "b", &logs[1])];
        assert_eq!(merged(logs), "0a;0b;1c;1d;");
    }

    #[test]
    fn what_is_gone_has_no_lines_and_what_was_compressed_is_read_all_the_same() {
        let folder = Folder::new();
        let mut gone = Lines::of([Piece::Archive(folder.path("no"), 0)].into(), None);
        assert!(!gone.advance().unwrap());
        let packed = File::create(folder.path("a.gz")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, b"one\ntwo\n").unwrap();
        gzip.finish().unwrap();
        let mut lines = Lines::of([Piece::Archive(folder.path("a"), 4)].into(), None);
        assert!(lines.advance().unwrap());
        assert_eq!(lines.line(), b"two");
    }
}
