//! Tells when the files of an app change.
//!
//! ```text
//!   inotify ──events──▶ Tree ──paths──▶ Quiet ──Notice──▶ the app
//! ```
//!
//! Each watched app has a thread of its own, which sleeps until the kernel has something to tell: a tree
//! of thousands of directories is read there and holds up nobody. `inotify(7)` is used as it is:
//! one watch for each directory that counts, none for those that do not.

mod glob;
mod ignore;
mod quiet;
mod tree;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::spec::Watch;
use quiet::Quiet;
use tree::Tree;

/// Files that changed, after which there was quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Some of them, in order.
    pub paths: Vec<PathBuf>,
    /// So many changes of others.
    pub more: usize,
}

/// What a watcher tells.
#[derive(Debug)]
pub enum Notice {
    /// Everything is under watch: changes from now on are told.
    Watching {
        /// So many directories.
        directories: usize,
    },
    /// Files changed.
    Changed(Changed),
    /// Nothing more will be told.
    Failed(WatchError),
}

/// Why files cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A path that is to be watched.
    #[error("there is no `{}` to watch", path.display())]
    NotThere {
        /// Which.
        path: PathBuf,
    },
    /// More directories than this user may watch.
    #[error(
        "watching needs more than the {limit} inotify watches that a user may have ({directories} \
         directories are watched here); ignore directories that do not matter, or raise the limit: \
         sudo sysctl fs.inotify.max_user_watches=1048576"
    )]
    TooManyWatches {
        /// How far it came.
        directories: usize,
        /// Of the whole machine, for each user.
        limit: u64,
    },
    /// More watchers than this user may have.
    #[error(
        "this user has too many inotify instances; raise the limit: sudo sysctl \
         fs.inotify.max_user_instances=1024"
    )]
    TooManyInstances,
    /// The kernel refused a directory.
    #[error("watch `{}`", path.display())]
    Kernel {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no watcher.
    #[error("start watching")]
    Start {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    /// Its thread ends when this closes.
    _alive: OwnedFd,
}

impl Watcher {
    /// Begins to watch. What is found out, errors included, is told by and by; how many notices wait is
    /// bounded by the quiet period between them.
    ///
    /// # Errors
    ///
    /// When this user has too many watchers, or no thread can be started.
    pub fn start(watch: &Watch, tell: mpsc::UnboundedSender<Notice>) -> Result<Self, WatchError> {
        let tree = Tree::new(&watch.paths, &watch.ignore)?;
        let start = |source: io::Error| WatchError::Start { source };
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| start(errno.into()))?;
        let quiet = Quiet::new(watch.delay.duration());
        let mut work = Work { tree, quiet, alive: theirs, tell };
        let run = move || {
            if let Err(error) = work.run() {
                let _ = work.tell.send(Notice::Failed(error));
            }
        };
        thread::Builder::new().name("watch".to_owned()).spawn(run).map_err(start)?;
        Ok(Self { _alive: ours })
    }
}

struct Work {
    tree: Tree,
    quiet: Quiet,
    /// Closed at the other end when nobody wants to know any more.
    alive: OwnedFd,
    tell: mpsc::UnboundedSender<Notice>,
}

impl Work {
    fn run(&mut self) -> Result<(), WatchError> {
        self.tree.watch_all()?;
        let directories = self.tree.len();
        let mut wanted = self.tell.send(Notice::Watching { directories }).is_ok();
        while wanted && self.wait() {
            let now = Instant::now();
            for path in self.tree.changes()? {
                self.quiet.saw(path, now);
            }
            if let Some(changed) = self.quiet.over(now) {
                wanted = self.tell.send(Notice::Changed(changed)).is_ok();
            }
        }
        Ok(())
    }

    /// `false`: nobody wants to know any more.
    fn wait(&self) -> bool {
        let left = self.quiet.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        // A deadline within this millisecond shall be over afterwards.
        let left = left.map(|left| left + Duration::from_millis(1));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::from_borrowed_fd(self.tree.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.alive.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => fds[1].revents().is_empty(),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
