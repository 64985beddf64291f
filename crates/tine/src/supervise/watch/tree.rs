//! Directories under the kernel's watch.
//!
//! Each directory has a watch of its own, so those that do not count cost nothing. A file counts as
//! changed when whoever wrote it has closed it: half of a file is no reason to restart, and neither is a
//! log that stays open. `inotify(7)` tells what comes in which order.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::{WatchError, ignore::Ignore};

/// All watched directories of one app.
pub(super) struct Tree {
    inotify: OwnedFd,
    /// What was asked for: files, or directories with all below them.
    roots: Vec<PathBuf>,
    ignore: Ignore,
    directories: HashMap<i32, PathBuf>,
}

/// What the kernel tells, copied out of its buffer.
struct Told {
    watch: i32,
    what: ReadFlags,
    name: Option<PathBuf>,
}

impl Tree {
    pub(super) fn new(roots: &[PathBuf], ignore: &[String]) -> Result<Self, WatchError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(WatchError::of_instance)?;
        let (roots, ignore) = (roots.to_vec(), Ignore::new(ignore));
        Ok(Self { inotify, roots, ignore, directories: HashMap::new() })
    }

    /// Puts everything under watch. The parent of each root is watched for the root itself: it may be
    /// replaced, or go and come back.
    pub(super) fn watch_all(&mut self) -> Result<(), WatchError> {
        for root in self.roots.clone() {
            if !root.exists() {
                return Err(WatchError::NotThere { path: root });
            }
            if let Some(parent) = root.parent() {
                self.watch(parent)?;
            }
            self.enter(&root, &mut Vec::new())?;
        }
        Ok(())
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.directories.len()
    }

    /// Watches a directory with all that counts below it, and gives the files that are there. First the
    /// watch, then the look: what comes in between is told twice, not missed.
    fn enter(&mut self, top: &Path, files: &mut Vec<PathBuf>) -> Result<(), WatchError> {
        let mut open = vec![top.to_owned()];
        while let Some(directory) = open.pop() {
            if !self.watch(&directory)? {
                continue;
            }
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            for entry in entries {
                let path = entry.path();
                if !self.counts(&path) {
                    continue;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(path),
                    Ok(_) => files.push(path),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// `false`: it is no directory, or has gone, or may not be read.
    fn watch(&mut self, directory: &Path) -> Result<bool, WatchError> {
        let wanted = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, directory, wanted) {
            Ok(watch) => {
                self.directories.insert(watch, directory.to_owned());
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(false),
            Err(Errno::NOSPC) => Err(WatchError::too_many(self.directories.len())),
            Err(errno) => {
                Err(WatchError::Kernel { path: directory.to_owned(), source: errno.into() })
            }
        }
    }

    fn counts(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root) && !self.ignore.matches(root, path))
    }

    /// Takes what the kernel has to tell, and gives the files that changed.
    pub(super) fn changes(&mut self) -> Result<Vec<PathBuf>, WatchError> {
        let mut changed = Vec::new();
        for told in self.read()? {
            if told.what.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Something happened, and nobody knows what: look at everything anew.
                self.watch_all()?;
                changed.extend(self.roots.iter().cloned());
            } else {
                self.change(&told, &mut changed)?;
            }
        }
        Ok(changed)
    }

    fn read(&self) -> Result<Vec<Told>, WatchError> {
        let mut room = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.inotify, &mut room);
        let mut all = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let name = name.map(PathBuf::from);
                    all.push(Told { watch: event.wd(), what: event.events(), name });
                }
                Err(Errno::AGAIN) => return Ok(all),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let path = self.roots.first().cloned().unwrap_or_default();
                    return Err(WatchError::Kernel { path, source: errno.into() });
                }
            }
        }
    }

    fn change(&mut self, told: &Told, changed: &mut Vec<PathBuf>) -> Result<(), WatchError> {
        if told.what.contains(ReadFlags::IGNORED) {
            self.directories.remove(&told.watch);
            return Ok(());
        }
        let directory = self.directories.get(&told.watch);
        let Some(path) = directory.zip(told.name.as_ref()).map(|(at, name)| at.join(name)) else {
            return Ok(());
        };
        if !self.counts(&path) {
            return Ok(());
        }
        let is = |flags| told.what.intersects(flags);
        if is(ReadFlags::ISDIR) || self.roots.contains(&path) {
            if is(ReadFlags::MOVED_FROM) {
                self.leave(&path);
                changed.push(path.clone());
            }
            if is(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                // What it took the place of: a link may have led elsewhere.
                self.leave(&path);
                self.enter(&path, changed)?;
            }
        }
        if !is(ReadFlags::ISDIR) && (!is(ReadFlags::CREATE) || is_whole(&path)) {
            changed.push(path);
        }
        Ok(())
    }

    /// A directory that was moved away is still watched, under a name that is no longer right.
    fn leave(&mut self, path: &Path) {
        let inotify = self.inotify.as_fd();
        self.directories.retain(|watch, directory| {
            let gone = directory.starts_with(path);
            if gone {
                // It may have been deleted since.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            !gone
        });
    }
}

/// A link is whole as soon as it is there; a new file is when it is closed.
fn is_whole(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl WatchError {
    fn of_instance(errno: Errno) -> Self {
        match errno {
            Errno::MFILE => Self::TooManyInstances,
            errno => Self::Start { source: io::Error::from(errno) },
        }
    }

    fn too_many(directories: usize) -> Self {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self::TooManyWatches { directories, limit }
    }
}
