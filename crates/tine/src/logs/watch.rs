//! Waits until one of several files changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Watches the folders of files: a file may come, go and change its name
/// ([inotify(7)](https://man7.org/linux/man-pages/man7/inotify.7.html)).
#[derive(Debug)]
pub struct Watch {
    /// `None` where a user may have no more of them: then all files are looked at again and again.
    inotify: Option<OwnedFd>,
    folders: BTreeMap<i32, PathBuf>,
}

/// What became of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These files were written, made, moved or removed.
    Files(BTreeSet<PathBuf>),
    /// The time is over, or events were lost: any file may have changed.
    Any,
    /// Nobody reads what is written any more.
    ReaderGone,
}

impl Watch {
    /// How long a wait takes at most: what cannot be watched is looked at so often.
    const LONGEST: Duration = Duration::from_secs(1);

    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Self { inotify, folders: BTreeMap::new() }
    }

    /// Watches this file, too. A folder that is not there is tried again with the next call.
    pub fn add(&mut self, file: &Path) {
        let (Some(inotify), Some(folder)) = (&self.inotify, file.parent()) else { return };
        if self.folders.values().any(|known| known == folder) {
            return;
        }
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE;
        if let Ok(number) = inotify::add_watch(inotify, folder, what) {
            self.folders.insert(number, folder.to_owned());
        }
    }

    /// Waits for a change, a second at most; or until the reader of `output` has gone.
    #[must_use]
    pub fn wait(&self, output: BorrowedFd<'_>) -> Change {
        // An end that hangs up is told whether it was asked for or not.
        let mut fds = vec![PollFd::from_borrowed_fd(output, PollFlags::empty())];
        let inotify =
            self.inotify.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        fds.extend(inotify);
        let limit = Timespec::try_from(Self::LONGEST).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                Change::ReaderGone
            }
            Ok(1..) => self.changed(),
            Ok(0) | Err(_) => Change::Any,
        }
    }

    fn changed(&self) -> Change {
        let Some(inotify) = &self.inotify else { return Change::Any };
        let mut room = [MaybeUninit::uninit(); 16 << 10];
        let mut events = Reader::new(inotify, &mut room);
        let mut files = BTreeSet::new();
        loop {
            match events.next() {
                Ok(event) => {
                    let folder = self.folders.get(&event.wd());
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let (Some(folder), Some(name)) = (folder, name) else { return Change::Any };
                    files.insert(folder.join(name));
                }
                Err(Errno::AGAIN) => return Change::Files(files),
                Err(_) => return Change::Any,
            }
            // What is left waits for the next call.
            if events.is_buffer_empty() {
                return Change::Files(files);
            }
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}
