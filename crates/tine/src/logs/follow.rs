//! One log from a reader's side: its last lines, and then every line that comes, through rotation.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::archive::{Archive, archives_of, stamp_of};
use super::backwards::{Ending, ending, ending_of_stream};
use super::read::{Lines, Piece, open_archive};
use super::splitter::Splitter;

const BLOCK: usize = 64 << 10;
/// So much is read of one log before others have their turn.
const TURN: usize = 1 << 20;

/// Reads the log at a path, wherever rotation puts it. Not a line is left out or given twice, as long as
/// no file is removed before it was read, or emptied and refilled between two looks.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    held: Held,
    splitter: Splitter,
}

/// What is being read.
enum Held {
    /// There was no file, and this was the last one set aside, if any.
    Nothing {
        after: String,
    },
    Plain {
        file: Arc<File>,
        inode: (u64, u64),
        at: u64,
    },
    /// It was compressed before it was its turn.
    Packed {
        from: Box<dyn Read>,
        stamp: String,
    },
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing { after } => write!(f, "Nothing({after})"),
            Self::Plain { file, at, .. } => write!(f, "Plain({file:?}, {at})"),
            Self::Packed { stamp, .. } => write!(f, "Packed({stamp})"),
        }
    }
}

impl LogReader {
    /// The log at this path, which need not be there yet. What follows begins after its last whole line.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut reader = Self::from_start(path)?;
        if let Held::Plain { file, at, .. } = &mut reader.held {
            *at = ending(file, file.metadata()?.len(), 0)?.start;
        }
        Ok(reader)
    }

    /// The same, but what follows begins at the beginning of the file: for one that appeared meanwhile.
    ///
    /// # Errors
    ///
    /// As [`LogReader::open`].
    pub fn from_start(path: &Path) -> io::Result<Self> {
        // Listed first: what is set aside after that has not been read by anybody.
        let after = archives_of(path).pop().map_or_else(String::new, |newest| newest.stamp);
        let held = plain(path)?.unwrap_or(Held::Nothing { after });
        Ok(Self { path: path.to_owned(), held, splitter: Splitter::default() })
    }

    /// The path that it was opened with.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines before what follows; where the file has too few, those of what was set aside.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn last(&self, count: usize) -> io::Result<Lines> {
        let (mut pieces, mut missing) = (VecDeque::new(), count);
        if let Held::Plain { file, at, .. } = &self.held {
            let ending = ending(file, *at, count)?;
            missing -= ending.lines;
            pieces.push_front(Piece::Open(Arc::clone(file), ending.start..*at));
        }
        for archive in self.archives_before().into_iter().rev() {
            if missing == 0 {
                break;
            }
            let ending = ending_of(&archive, missing)?;
            missing -= ending.lines;
            pieces.push_front(Piece::Archive(archive.path, ending.start));
        }
        Ok(Lines::of(pieces, None))
    }

    /// All lines from a time on before what follows. Those of a file without times are all there if it
    /// was written to since.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn since(&self, time: SystemTime) -> io::Result<Lines> {
        let written = |metadata: io::Result<fs::Metadata>| {
            metadata.and_then(|metadata| metadata.modified()).is_ok_and(|at| at >= time)
        };
        let archives = self.archives_before().into_iter();
        let archives = archives.filter(|archive| written(fs::metadata(&archive.path)));
        let mut pieces: VecDeque<_> =
            archives.map(|archive| Piece::Archive(archive.path, 0)).collect();
        if let Held::Plain { file, at, .. } = &self.held
            && written(file.metadata())
        {
            pieces.push_back(Piece::Open(Arc::clone(file), 0..*at));
        }
        Ok(Lines::of(pieces, Some(time)))
    }

    /// Gives every whole line that came since, without its newline, to `each`. Says whether there may be more
    /// at once; if not, the next time to ask is when the file or its folder has changed.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn follow(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut left = TURN;
        loop {
            self.rest(&mut left, each)?;
            if left == 0 {
                return Ok(true);
            }
            let Some(next) = self.successor()? else { return Ok(false) };
            // It may have been written to until it was set aside.
            left = TURN;
            while left > 0 {
                let before = left;
                self.rest(&mut left, each)?;
                if left == before {
                    break;
                }
                left = TURN;
            }
            self.finish(each);
            self.held = next;
        }
    }

    /// Reads on in what is held, to its end or until enough was read.
    fn rest(&mut self, left: &mut usize, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let (mut block, mut head) = (vec![0; BLOCK], Vec::new());
        while *left > 0 {
            let read = match &mut self.held {
                Held::Nothing { .. } => 0,
                Held::Packed { from, .. } => from.read(&mut block)?,
                Held::Plain { file, at, .. } => {
                    if file.metadata()?.len() < *at {
                        // Emptied: what was begun is gone with the rest.
                        (*at, self.splitter) = (0, Splitter::default());
                    }
                    let read = file.read_at(&mut block, *at)?;
                    *at += read as u64;
                    read
                }
            };
            if read == 0 {
                return Ok(());
            }
            let whole = self.splitter.take(&block[..read], &mut head);
            give(&head, each);
            give(whole, each);
            *left = left.saturating_sub(read);
        }
        Ok(())
    }

    /// A file that is no longer written ends with its line.
    fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        let mut head = Vec::new();
        self.splitter.end(&mut head);
        give(&head, each);
    }

    /// What comes after the file that is held, once that is written no more.
    fn successor(&self) -> io::Result<Option<Held>> {
        // Opened before archives are listed: if none is newer then, this is what comes next.
        let current = plain(&self.path)?;
        if let (Some(Held::Plain { inode: there, .. }), Held::Plain { inode, .. }) =
            (&current, &self.held)
            && there == inode
        {
            return Ok(None);
        }
        let Some(stamp) = self.stamp() else { return Ok(current.filter(Held::has_lines)) };
        let newer = archives_of(&self.path).into_iter().find(|archive| archive.stamp > stamp);
        newer.map_or(Ok(current), |archive| Held::of(&archive))
    }

    /// What the held file was set aside as, if it was. The kernel follows its name.
    fn stamp(&self) -> Option<String> {
        match &self.held {
            Held::Nothing { after } => Some(after.clone()),
            Held::Packed { stamp, .. } => Some(stamp.clone()),
            Held::Plain { file, .. } => {
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                let name = fs::read_link(link).ok()?.into_os_string().into_string().ok()?;
                stamp_of(Path::new(name.strip_suffix(" (deleted)").unwrap_or(&name)))
            }
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self.held, Held::Nothing { .. })
    }

    fn archives_before(&self) -> Vec<Archive> {
        let mut archives = archives_of(&self.path);
        if let Some(stamp) = self.stamp() {
            let nothing = self.is_nothing();
            archives.retain(|archive| archive.stamp < stamp || (nothing && archive.stamp == stamp));
        }
        archives
    }
}

impl Held {
    /// What was set aside; nothing yet if it was removed just now: the next one is found then.
    fn of(archive: &Archive) -> io::Result<Option<Self>> {
        if !archive.compressed
            && let Some(plain) = plain(&archive.path)?
        {
            return Ok(Some(plain));
        }
        let stamp = archive.stamp.clone();
        let packed = open_archive(&archive.path)?.map(|from| Box::new(BufReader::new(from)));
        Ok(packed.map(|from| Self::Packed { from, stamp }))
    }

    /// A new file beside one that somebody moved: while it is empty the old one may still be written.
    fn has_lines(&self) -> bool {
        match self {
            Self::Nothing { .. } => false,
            Self::Packed { .. } => true,
            Self::Plain { file, .. } => file.metadata().is_ok_and(|metadata| metadata.len() > 0),
        }
    }
}

fn plain(path: &Path) -> io::Result<Option<Held>> {
    match File::open(path) {
        Ok(file) => {
            let found = file.metadata()?;
            let inode = (found.dev(), found.ino());
            Ok(Some(Held::Plain { file: Arc::new(file), inode, at: 0 }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ending_of(archive: &Archive, lines: usize) -> io::Result<Ending> {
    if !archive.compressed
        && let Some(Held::Plain { file, .. }) = plain(&archive.path)?
    {
        return ending(&file, file.metadata()?.len(), lines);
    }
    match open_archive(&archive.path)? {
        Some(from) => ending_of_stream(from, lines),
        None => Ok(Ending { lines: 0, start: 0 }),
    }
}

fn give(lines: &[u8], each: &mut dyn FnMut(&[u8])) {
    if let Some(lines) = lines.strip_suffix(b"\n") {
        lines.split(|byte| *byte == b'\n').for_each(each);
    }
}
