//! The thread of a [`LogWriter`](super::LogWriter): waits for pipes and commands, and writes.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::fcntl_setpipe_size;

use super::file::{Aftermath, LogFile, Moment};
use super::keeper;
use super::splitter::Splitter;
use super::style::Style;
use super::writer::{Command, Commands, LogClock, SharedTails, Source};
use super::{LogSettings, LogTrouble};

/// Read at once. The room for it is there only while something comes.
const READ: usize = 256 << 10;
/// Room that nobody used for so long is given back.
const REST: Duration = Duration::from_secs(1);
/// A pipe as the kernel makes it.
const PIPE: usize = 64 << 10;
/// A pipe that was found full: fewer turns for both sides. Memory is taken only for what is in it.
const LARGE_PIPE: usize = 1 << 20;
/// Pipes are read so often before others have their turn.
const READS: usize = 8;

pub(super) struct Scribe {
    settings: LogSettings,
    style: Style,
    files: BTreeMap<PathBuf, LogFile>,
    feeds: Vec<Feed>,
    report: Box<dyn Fn(LogTrouble) + Send>,
    clock: LogClock,
    tails: SharedTails,
    room: Option<Room>,
    keeping: Keeping,
}

/// A pipe, and what was read of it and is not written yet.
struct Feed {
    source: Source,
    splitter: Splitter,
    files: Vec<PathBuf>,
    enlarged: bool,
    ended: bool,
}

/// What is needed only while there is something to read.
struct Room {
    read: Vec<u8>,
    head: Vec<u8>,
    dressed: Vec<u8>,
    used: Instant,
}

/// Whether a thread compresses, and whether there is more for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    No,
    Yes,
    YesAndAgain,
}

/// What a feed gave.
enum Given {
    Some(usize),
    Nothing,
    End,
}

impl Scribe {
    pub(super) fn new(
        settings: LogSettings,
        report: Box<dyn Fn(LogTrouble) + Send>,
        clock: LogClock,
        tails: SharedTails,
    ) -> Self {
        Self {
            style: Style::of(&settings),
            settings,
            files: BTreeMap::new(),
            feeds: Vec::new(),
            report,
            clock,
            tails,
            room: None,
            keeping: Keeping::No,
        }
    }

    /// Until it is told to close.
    pub(super) fn run(mut self, commands: &Receiver<Command>, own: &Commands) {
        if keeper::is_wanted(&self.settings) {
            self.keep(own);
        }
        loop {
            let ready = self.wait(own);
            own.woken();
            for command in commands.try_iter() {
                if matches!(command, Command::Close) {
                    return self.close(own);
                }
                self.obey(command, own);
            }
            self.retry(own);
            for at in ready {
                self.read(at, READS * READ, own);
            }
            self.feeds.retain(|feed| !feed.ended);
            self.tidy();
        }
    }

    /// Waits until there is something to do; returns which feeds have something to read.
    fn wait(&self, own: &Commands) -> Vec<usize> {
        let open: Vec<usize> = (0..self.feeds.len()).filter(|at| !self.is_held_up(*at)).collect();
        let wake = own.wake();
        let pipes = open.iter().map(|at| self.feeds[*at].source.fd.as_fd());
        let all = std::iter::once(wake.as_fd()).chain(pipes);
        let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // Interrupted is as good as woken for nothing.
        let _ = poll(&mut fds, self.patience().as_ref());
        let ready = fds[1..].iter().zip(open).filter(|(fd, _)| !fd.revents().is_empty());
        ready.map(|(_, at)| at).collect()
    }

    fn patience(&self) -> Option<Timespec> {
        let retry = self.files.values().filter_map(LogFile::waits_until).min();
        let rest = self.room.as_ref().map(|room| room.used + REST);
        let until = [retry, rest].into_iter().flatten().min()?;
        Timespec::try_from(until.saturating_duration_since(Instant::now())).ok()
    }

    /// One of its files takes nothing now, so nothing more is read for it: its workers wait.
    fn is_held_up(&self, at: usize) -> bool {
        self.feeds[at].files.iter().any(|path| self.waits(path))
    }

    fn waits(&self, path: &PathBuf) -> bool {
        self.files.get(path).is_some_and(|file| file.waits_until().is_some())
    }

    fn obey(&mut self, command: Command, own: &Commands) {
        match command {
            Command::Add(source) => self.add(source, own),
            Command::Reopen => self.with_files(own, LogFile::reopen),
            Command::Flush(ids) => self.flush(&ids, own),
            Command::Configure(settings) => self.configure(*settings, own),
            Command::Settle(then) => {
                self.settle(own);
                then();
            }
            Command::Kept(result) => self.kept(result, own),
            Command::Close => {}
        }
    }

    fn add(&mut self, source: Source, own: &Commands) {
        if let Err(error) = rustix::io::ioctl_fionbio(&source.fd, true) {
            // Read all the same: after poll(2) a pipe with one reader does not make it wait.
            debug_assert!(false, "a pipe that cannot be set to non-blocking: {error}");
        }
        let files = self.settings.files(source.stream, source.id);
        self.touch(&files, own);
        let splitter = Splitter::default();
        self.feeds.push(Feed { source, splitter, files, enlarged: false, ended: false });
    }

    fn touch(&mut self, paths: &[PathBuf], own: &Commands) {
        for path in paths {
            let file = self.files.entry(path.clone()).or_insert_with(|| LogFile::new(path.clone()));
            let mut moment = moment(&self.settings, &self.clock);
            file.touch(&mut moment);
            let aftermath = moment.over();
            self.after(aftermath, own);
        }
    }

    fn flush(&mut self, ids: &[u32], own: &Commands) {
        self.settle(own);
        for id in ids {
            for stream in [super::Stream::Out, super::Stream::Error] {
                for path in self.settings.files(stream, *id) {
                    let mut moment = moment(&self.settings, &self.clock);
                    let file = self.files.entry(path.clone());
                    file.or_insert_with(|| LogFile::new(path)).flush(&mut moment);
                    let aftermath = moment.over();
                    self.after(aftermath, own);
                }
            }
        }
    }

    fn configure(&mut self, settings: LogSettings, own: &Commands) {
        self.style = Style::of(&settings);
        self.settings = settings;
        let mut wanted = Vec::new();
        for feed in &mut self.feeds {
            feed.files = self.settings.files(feed.source.stream, feed.source.id);
            wanted.extend(feed.files.iter().cloned());
        }
        self.touch(&wanted, own);
    }

    /// Reads what the pipes hold now.
    fn settle(&mut self, own: &Commands) {
        for at in 0..self.feeds.len() {
            let held = ioctl_fionread(&self.feeds[at].source.fd).unwrap_or(0);
            // One byte more: the end of the pipe is seen only by reading it.
            let held = usize::try_from(held).unwrap_or(usize::MAX).saturating_add(1);
            self.read(at, held, own);
        }
    }

    fn retry(&mut self, own: &Commands) {
        if self.files.values().any(|file| file.waits_until().is_some()) {
            self.with_files(own, LogFile::retry);
        }
    }

    fn with_files(&mut self, own: &Commands, act: fn(&mut LogFile, &mut Moment<'_>)) {
        let mut moment = moment(&self.settings, &self.clock);
        for file in self.files.values_mut() {
            act(file, &mut moment);
        }
        let aftermath = moment.over();
        self.after(aftermath, own);
    }

    /// Reads up to about so many bytes from one pipe, and writes what is whole of them.
    fn read(&mut self, at: usize, most: usize, own: &Commands) {
        let mut left = most;
        while left > 0 && !self.feeds[at].ended && !self.is_held_up(at) {
            let mut room = self.room.take().unwrap_or_else(Room::new);
            let given = self.feeds[at].fill(&mut room.read);
            let bytes = match given {
                Given::Some(bytes) => bytes,
                Given::Nothing | Given::End => 0,
            };
            if !matches!(given, Given::Nothing) {
                self.write(at, &mut room, bytes, own);
            }
            self.room = Some(room);
            if bytes == 0 {
                return;
            }
            left = left.saturating_sub(bytes);
        }
    }

    /// Passes on what was read; nothing at all is the end.
    fn write(&mut self, at: usize, room: &mut Room, bytes: usize, own: &Commands) {
        let feed = &mut self.feeds[at];
        let mut moment = moment(&self.settings, &self.clock);
        room.used = moment.tick;
        let mut whole: &[u8] = &[];
        if bytes == 0 {
            feed.splitter.end(&mut room.head);
            feed.ended = true;
        } else {
            whole = feed.splitter.take(&room.read[..bytes], &mut room.head);
        }
        for lines in [&room.head, whole].into_iter().filter(|lines| !lines.is_empty()) {
            let (worker, origin) = (feed.source.worker, (feed.source.stream, feed.source.id));
            let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
            tails.push(worker, origin.0, lines);
            drop(tails);
            let dressed = self.style.dress(lines, origin, moment.now, &mut room.dressed);
            for path in &feed.files {
                if let Some(file) = self.files.get_mut(path) {
                    file.write(dressed, &mut moment);
                }
            }
        }
        let aftermath = moment.over();
        self.after(aftermath, own);
    }

    /// Tells what went wrong, and sees to what was set aside.
    fn after(&mut self, aftermath: Aftermath, own: &Commands) {
        let Aftermath { mut troubles, rotated } = aftermath;
        if rotated {
            if let Err(error) = keeper::prune_app(&self.settings) {
                let path = self.settings.home.clone();
                troubles.push(LogTrouble::Archive { path, error: error.to_string() });
            }
            self.keep(own);
        }
        for trouble in troubles {
            (self.report)(trouble);
        }
    }

    fn keep(&mut self, own: &Commands) {
        if !self.settings.rotation.compress && self.keeping == Keeping::No {
            return;
        }
        if self.keeping != Keeping::No {
            self.keeping = Keeping::YesAndAgain;
            return;
        }
        let (settings, own) = (self.settings.clone(), own.clone());
        let work = move || own.send(Command::Kept(keeper::keep(&settings)));
        // Where there is no thread to be had, the next rotation tries again.
        if thread::Builder::new().name("log keeper".into()).spawn(work).is_ok() {
            self.keeping = Keeping::Yes;
        }
    }

    fn kept(&mut self, result: Result<(), (PathBuf, std::io::Error)>, own: &Commands) {
        if let Err((path, error)) = result {
            (self.report)(LogTrouble::Archive { path, error: error.to_string() });
        }
        let again = self.keeping == Keeping::YesAndAgain;
        self.keeping = Keeping::No;
        if again {
            self.keep(own);
        }
    }

    /// Gives back what is not needed now.
    fn tidy(&mut self) {
        self.room.take_if(|room| room.used.elapsed() >= REST);
        if self.files.len() > 2 * self.feeds.len() || self.feeds.is_empty() {
            let feeds = &self.feeds;
            self.files.retain(|path, file| {
                file.waits_until().is_some() || feeds.iter().any(|feed| feed.files.contains(path))
            });
        }
    }

    /// Writes what there is, once.
    fn close(mut self, own: &Commands) {
        self.settle(own);
        for at in 0..self.feeds.len() {
            let mut room = self.room.take().unwrap_or_else(Room::new);
            self.write(at, &mut room, 0, own);
            self.room = Some(room);
        }
        self.retry(own);
    }
}

impl Feed {
    fn fill(&mut self, room: &mut [u8]) -> Given {
        match rustix::io::read(&self.source.fd, room) {
            Ok(0) => Given::End,
            Ok(bytes) => {
                if bytes >= PIPE && !self.enlarged {
                    enlarge(&self.source.fd);
                    self.enlarged = true;
                }
                Given::Some(bytes)
            }
            Err(Errno::AGAIN | Errno::INTR) => Given::Nothing,
            // A pipe has no other errors; whatever this is, it gives nothing more.
            Err(_) => Given::End,
        }
    }
}

/// A user may have so many large pipes only; where there are no more, it stays as it is.
fn enlarge(pipe: &OwnedFd) {
    let _ = fcntl_setpipe_size(pipe, LARGE_PIPE);
}

impl Room {
    fn new() -> Self {
        let (head, dressed) = (Vec::new(), Vec::new());
        Self { read: vec![0; READ], head, dressed, used: Instant::now() }
    }
}

fn moment<'a>(settings: &'a LogSettings, clock: &LogClock) -> Moment<'a> {
    let (now, tick) = (clock(), Instant::now());
    Moment { settings, now, tick, troubles: Vec::new(), rotated: false }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Command")
    }
}
