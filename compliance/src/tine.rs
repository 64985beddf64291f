//! A running `tine`, as a test sees it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::desk::Desk;
use crate::output::{Line, Listening, Output, Silence, Stream, Worker};
use crate::process::{self, Process};
use crate::run::{Launcher, Run};
use crate::scratch::Scratch;

/// How long anything may take before a test fails. Nothing does: it is the bound for what hangs, on a
/// machine that is ten times as busy as it should be.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A process that was killed just now may take this long to be gone.
const DYING: Duration = Duration::from_millis(200);

/// A running `tine`. Dropping it kills all that it started.
#[derive(Debug)]
pub struct Tine {
    child: Child,
    process: Process,
    output: Output,
    scratch: Scratch,
    launcher: Launcher,
    /// Its processes when it was last asked to end.
    family_at_end: Vec<Process>,
}

/// How a `tine` ended, and all it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, when it exited.
    pub code: Option<i32>,
    /// The signal, when it was killed.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Tine {
    /// A `tine run` with these arguments.
    pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>) -> Run {
        let args = args.into_iter().map(Into::into);
        Run::new([OsString::from("run")].into_iter().chain(args).collect())
    }

    /// Any `tine` command.
    pub fn command(args: impl IntoIterator<Item = impl Into<OsString>>) -> Run {
        Run::new(args.into_iter().map(Into::into).collect())
    }

    pub(crate) fn new(child: Child, output: Output, scratch: Scratch, launcher: Launcher) -> Self {
        let process = Process::read(child.id()).expect("a child not waited for is in /proc");
        Self { child, process, output, scratch, launcher, family_at_end: Vec::new() }
    }

    /// Another `tine` command of the same user with the same home, run to its end.
    #[must_use]
    pub fn ask(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Exit {
        self.desk().ask(args)
    }

    /// Where any thread can ask.
    #[must_use]
    pub fn desk(&self) -> Desk {
        let folder = self.scratch.path().to_owned();
        Desk { launcher: self.launcher.clone(), folder, mark: self.scratch.mark() }
    }

    /// The pids of all that it started and that runs, also of what has left its tree.
    #[must_use]
    pub fn started(&self) -> Vec<u32> {
        self.family().into_iter().map(|process| process.pid).collect()
    }

    /// The pid of `tine` itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The folder where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The pid of the manager: `tine` itself is its watchdog.
    #[must_use]
    pub fn manager(&self) -> u32 {
        let mut below = process::below(self.process.pid).into_iter();
        let manager = below.find(|child| child.parent == self.process.pid && child.name == "tine");
        manager.expect("a running tine has a manager").pid
    }

    /// Waits for a line, of either stream, that was or will be said; `what` names it in the panic
    /// when it does not come.
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool, what: &str) -> String {
        self.wait_for_nth(1, wanted, what)
    }

    /// Waits for the `n`th such line since the start, counted from 1.
    pub fn wait_for_nth(&mut self, n: usize, wanted: impl Fn(&str) -> bool, what: &str) -> String {
        let find = |output: &mut Output| {
            let mut found = output.lines().iter().filter(|line| wanted(&line.text));
            found.nth(n - 1).map(|line| line.text.clone())
        };
        self.wait_until(find, what)
    }

    /// Waits until `n` workers that still run listen; gives all their seats.
    pub fn wait_listening(&mut self, n: usize) -> Vec<Listening> {
        self.wait_listening_where(|_| true, n)
    }

    /// Likewise, on this address.
    pub fn wait_listening_at(&mut self, address: &str, n: usize) -> Vec<Listening> {
        self.wait_listening_where(|seat| seat.address == address, n)
    }

    fn wait_listening_where(
        &mut self,
        which: impl Fn(&Listening) -> bool,
        n: usize,
    ) -> Vec<Listening> {
        let find = |output: &mut Output| {
            let running: BTreeSet<u32> = output.workers().iter().map(|worker| worker.id).collect();
            let mut seats = output.listening();
            seats.retain(|seat| running.contains(&seat.worker) && which(seat));
            let workers: BTreeSet<u32> = seats.iter().map(|seat| seat.worker).collect();
            (workers.len() >= n).then_some(seats)
        };
        self.wait_until(find, &format!("{n} listening workers"))
    }

    /// The workers that run, by instance.
    pub fn workers(&mut self) -> Vec<Worker> {
        self.output.workers()
    }

    /// The pids of the workers that run, by instance.
    pub fn pids(&mut self) -> Vec<u32> {
        self.workers().iter().map(|worker| worker.pid).collect()
    }

    /// The instance that `pid`, a worker or a process below one, belongs to.
    pub fn instance_of(&mut self, pid: u32) -> u32 {
        let workers = self.workers();
        let instance = |pid: &u32| workers.iter().find(|worker| worker.pid == *pid);
        let parent = |pid: &u32| Process::read(*pid).map(|process| process.parent);
        let found = std::iter::successors(Some(pid), parent).find_map(|pid| instance(&pid));
        found.unwrap_or_else(|| panic!("{pid} belongs to no worker of {workers:?}")).instance
    }

    /// Every line so far.
    pub fn lines(&mut self) -> &[Line] {
        self.output.lines()
    }

    /// Signals `tine` itself.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Signals a process that `tine` started.
    pub fn signal_worker(&self, pid: u32, signal: Signal) {
        let mine = self.family().into_iter().find(|process| process.pid == pid);
        mine.unwrap_or_else(|| panic!("{pid} is no process of this run")).signal(signal);
    }

    /// Stops it as Ctrl-C does; panics when a process is left behind.
    #[must_use = "the code tells whether the stop was clean"]
    pub fn stop(self) -> Exit {
        self.stop_with(Signal::INT)
    }

    /// Stops it with this signal; panics when a process is left behind.
    #[must_use = "the code tells whether the stop was clean"]
    pub fn stop_with(self, signal: Signal) -> Exit {
        self.end(Some(signal))
    }

    /// Waits for it to end by itself; panics when a process is left behind.
    #[must_use]
    pub fn wait(self) -> Exit {
        self.end(None)
    }

    fn end(mut self, signal: Option<Signal>) -> Exit {
        self.family_at_end = self.family();
        if let Some(signal) = signal {
            self.signal(signal);
        }
        let Some(status) = wait(&mut self.child) else {
            panic!("tine has not ended:\n{}", self.output.transcript());
        };
        let mut left = process::marked(&self.scratch.mark());
        left.extend_from_slice(&self.family_at_end);
        left.retain(|process| !process.ends_within(DYING));
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.output.transcript());
        exit(status, &mut self.output)
    }

    fn wait_until<T>(&mut self, find: impl Fn(&mut Output) -> Option<T>, what: &str) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let before = self.output.lines().len();
            if let Some(found) = find(&mut self.output) {
                return found;
            }
            // What came while it was looked through was perhaps seen in part only.
            if self.output.lines().len() != before {
                continue;
            }
            let why = match self.output.read(deadline) {
                Ok(()) => continue,
                Err(Silence::Ended) => "tine ended without",
                Err(Silence::TimedOut) => "timed out waiting for",
            };
            panic!("{why} {what}; it said:\n{}", self.output.transcript());
        }
    }

    /// All that `tine` started: those below it, and those that have its mark. Either alone would
    /// miss some: a daemon leaves the tree, and nginx writes over its environment.
    fn family(&self) -> Vec<Process> {
        let own = self.process.pid;
        // Once it has ended, its number may be somebody else's.
        let mut family = if self.process.runs() { process::below(own) } else { Vec::new() };
        let marked = process::marked(&self.scratch.mark());
        family.extend(marked.into_iter().filter(|process| process.pid != own));
        family
    }
}

impl Drop for Tine {
    fn drop(&mut self) {
        let family = self.family();
        self.signal(Signal::KILL);
        for process in family.iter().chain(&self.family_at_end) {
            process.signal(Signal::KILL);
        }
        // After the kill it can only end; and when it had ended, this says so at once.
        drop(self.child.wait());
        for process in process::marked(&self.scratch.mark()) {
            process.signal(Signal::KILL);
        }
    }
}

/// `None` when it has not ended in time.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a child's pidfd");
    let limit = Timespec::try_from(DEADLINE).expect("some seconds fit");
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
    (ended != Ok(0)).then(|| child.wait().expect("it is a child and not waited for"))
}

/// Reads what is still in the pipes.
pub(crate) fn exit(status: ExitStatus, output: &mut Output) -> Exit {
    let deadline = Instant::now() + DEADLINE;
    while output.read(deadline).is_ok() {}
    Exit {
        code: status.code(),
        signal: status.signal(),
        stdout: output.text(Stream::Out),
        stderr: output.text(Stream::Err),
    }
}

/// Waits until something is seen that says nothing by itself; panics with `what` when it never is.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
