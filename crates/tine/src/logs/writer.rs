//! The handle on the thread that writes the logs of one app.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime};

use rustix::event::{EventfdFlags, eventfd};

use super::scribe::Scribe;
use super::tails::Tails;
use super::{LastLine, LogSettings, LogTrouble, Stream};

/// Enough for the deepest call; only what is used takes memory.
const STACK: usize = 128 << 10;

/// What time it is, for names, stamps and ages.
pub type LogClock = Box<dyn Fn() -> SystemTime + Send>;

/// A pipe to read from, and who writes into it.
#[derive(Debug)]
pub struct Source {
    /// What people call the worker by (`pm_id`); it is in the file's name.
    pub id: u32,
    /// Which worker; later ones of one id have higher numbers.
    pub worker: u64,
    /// Which of its streams.
    pub stream: Stream,
    /// The read end. It is made non-blocking. Nobody else may read from it.
    pub fd: OwnedFd,
}

/// Writes the output of one app's workers into its files.
///
/// All calls return at once: the work is done by a thread of its own, in the order of the calls.
/// Dropping it has the thread write what the pipes hold by then, without waiting for it;
/// [`LogWriter::close`] waits.
#[derive(Debug)]
pub struct LogWriter {
    commands: Commands,
    tails: SharedTails,
    thread: Option<JoinHandle<()>>,
}

/// A lock, for once: it is held to copy a few kilobytes, never while a disk is waited for, so that
/// who asks for last lines need not wait for the thread, which may.
pub(super) type SharedTails = Arc<Mutex<Tails>>;

/// Runs on the thread of the writer.
pub(super) type Then = Box<dyn FnOnce() + Send>;

pub(super) enum Command {
    Add(Source),
    Reopen,
    Flush(Vec<u32>),
    Configure(Box<LogSettings>),
    Settle(Then),
    /// From the keeper: it is done.
    Kept(Result<(), (PathBuf, io::Error)>),
    Close,
}

/// Sends commands to the thread and wakes it.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    sender: Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl Commands {
    pub(super) fn send(&self, command: Command) {
        // The thread lives until it is told to close, so there is nobody to miss the command.
        let _ = self.sender.send(command);
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl LogWriter {
    /// Starts the thread. It calls `report` about trouble with files, on itself: `report` shall not wait.
    ///
    /// # Errors
    ///
    /// When there are no more threads or descriptors to be had.
    pub fn start(
        settings: LogSettings,
        report: impl Fn(LogTrouble) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with_clock(settings, report, Box::new(SystemTime::now))
    }

    /// The same with another clock than the system's.
    ///
    /// # Errors
    ///
    /// As [`LogWriter::start`].
    pub fn start_with_clock(
        settings: LogSettings,
        report: impl Fn(LogTrouble) + Send + 'static,
        clock: LogClock,
    ) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, receiver) = mpsc::channel();
        let commands = Commands { sender, wake };
        let tails = SharedTails::default();
        // The kernel shows 15 letters.
        let named: String = format!("log {}", settings.app).chars().take(15).collect();
        let named = named.replace('\0', "?");
        let scribe = Scribe::new(settings, Box::new(report), clock, Arc::clone(&tails));
        let own = commands.clone();
        let work = move || scribe.run(&receiver, &own);
        let thread = thread::Builder::new().name(named).stack_size(STACK).spawn(work)?;
        Ok(Self { commands, tails, thread: Some(thread) })
    }

    /// Reads a pipe to its end. Its files are made at once.
    pub fn add(&self, source: Source) {
        self.tails().begin(source.worker, source.id);
        self.commands.send(Command::Add(source));
    }

    /// Opens all files anew, after somebody moved them (logrotate).
    pub fn reopen(&self) {
        self.commands.send(Command::Reopen);
    }

    /// Empties the files of these workers, running or not. What was set aside stays.
    pub fn flush(&self, ids: Vec<u32>) {
        self.commands.send(Command::Flush(ids));
    }

    /// Other files, another form of lines, another rotation, from the next line on.
    pub fn configure(&self, settings: LogSettings) {
        self.commands.send(Command::Configure(Box::new(settings)));
    }

    /// Calls `then`, on the writer's thread, when all that workers had written before has been read: before
    /// the last lines of one that has ended are shown. Also when a full disk keeps it from being read.
    pub fn settle(&self, then: impl FnOnce() + Send + 'static) {
        self.commands.send(Command::Settle(Box::new(then)));
    }

    /// The last lines of a worker, also after its end, oldest first.
    #[must_use]
    pub fn last_lines(&self, worker: u64, count: usize) -> Vec<LastLine> {
        self.tails().of_worker(worker, count)
    }

    /// The last lines of a worker among those that were read by then.
    #[must_use]
    pub fn last_lines_by(&self, worker: u64, count: usize, by: Instant) -> Vec<LastLine> {
        self.tails().of_worker_by(worker, count, by)
    }

    /// The last lines of the worker that had this id last.
    #[must_use]
    pub fn last_lines_of_id(&self, id: u32, count: usize) -> Vec<LastLine> {
        self.tails().of_id(id, count)
    }

    /// The last lines of this id need not be remembered any more.
    pub fn forget(&self, id: u32) {
        self.tails().forget(id);
    }

    /// Writes what the pipes hold by now, and returns when that is done. What a full disk does not
    /// take is tried once more and then given up.
    pub fn close(mut self) {
        self.commands.send(Command::Close);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to write.
            let _ = thread.join();
        }
    }

    fn tails(&self) -> std::sync::MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.commands.send(Command::Close);
    }
}

impl Commands {
    /// What the thread polls.
    pub(super) fn wake(&self) -> impl AsFd + '_ {
        &*self.wake
    }

    /// The wake-up is spent.
    pub(super) fn woken(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
    }
}
