//! The watchdog of the background manager: keeps what the next one needs, and forks it.

mod hearing;

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, setrlimit, wait},
};
use tine_linux::{
    process::{Exit, Process},
    split::{self, Inbox, SignalFd},
};

use super::{
    SIGNALS, Signals, handover,
    message::Ended,
    pace::Pace,
    packet,
    plain::{become_reaper, end_all_children, exit_of, leave_nothing, passed, said},
    store::{Item, Store},
};
use crate::daemon::say;

/// There by the time that a manager answers: before, it is not followed.
const ANSWERS: &str = "control";
/// What clusters keep is below this.
const CLUSTERS: &str = "app/";
/// What tells a manager to stop.
const STOPS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::QUIT];
/// A manager that could not be forked is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// More ends of children that nobody has heard of are not kept.
const MOST_ENDS: usize = 16 << 10;

/// Keeps what a manager puts, and forks a new one if it does not end as it should.
#[derive(Debug)]
pub struct Keeping {
    inbox: Inbox,
    signals: SignalFd,
    store: Store,
    /// What managers are to begin with, since this process allows itself more.
    file_limit: Rlimit,
    pace: Pace,
    manager: Option<Manager>,
    /// When the next manager is due, while there is none.
    due: Instant,
    /// After what the next one comes.
    before: Option<String>,
    /// What this process is to go on as.
    program: Option<PathBuf>,
    /// The manager was told to stop: nobody follows it, however it ends.
    stopping: bool,
    /// For a manager that is not there yet.
    held: Vec<Signal>,
    room: Vec<u8>,
}

#[derive(Debug)]
struct Manager {
    process: Process,
    /// `None`: it has closed its end.
    line: Option<OwnedFd>,
    since: Instant,
    /// Ends that it has not been told of yet.
    untold: VecDeque<Ended>,
}

/// What a new manager begins with.
#[derive(Debug)]
pub struct Charge {
    /// Held back until it handles them.
    pub signals: Signals,
    /// To the watchdog.
    pub line: OwnedFd,
    /// What the manager before has had kept.
    pub store: Store,
    /// The watchdog, which has workers for its children when their manager has ended.
    pub watchdog: Pid,
    /// After what it comes, if there was a manager before: "the manager was killed by SIGKILL".
    pub before: Option<String>,
}

/// What has become of a process that was a watchdog.
#[derive(Debug)]
pub enum Role {
    /// It is over: nothing of it is left.
    Over(ExitCode),
    /// This is the next manager.
    Manager(Charge),
}

impl Keeping {
    /// Makes this process a watchdog, as yet without a manager.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn begin() -> anyhow::Result<Self> {
        let file_limit = getrlimit(Resource::Nofile);
        Self::with(Store::default(), file_limit)
    }

    /// Takes over from the program that this process was before. A manager is due at once.
    ///
    /// # Errors
    ///
    /// When what it has left cannot be taken.
    pub fn resume(left: i32) -> anyhow::Result<Self> {
        let handed = handover::take(left)?;
        let mut keeping = Self::with(handed.store, handed.file_limit)?;
        keeping.end_what_nobody_can_take_over();
        let why = keeping.store.take(handover::WHY);
        keeping.before = why.and_then(|why| String::from_utf8(why.value).ok());
        Ok(keeping)
    }

    fn with(store: Store, file_limit: Rlimit) -> anyhow::Result<Self> {
        let inbox = Inbox::open(&SIGNALS).context("hold signals back")?;
        let signals = inbox.descriptor().context("wait for signals")?;
        become_reaper()?;
        Ok(Self {
            inbox,
            signals,
            store,
            file_limit,
            pace: Pace::default(),
            manager: None,
            due: Instant::now(),
            before: None,
            program: None,
            stopping: false,
            held: Vec::new(),
            room: packet::buffer(),
        })
    }

    /// Forks a manager. In the child, gives what it begins with.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or threads run already.
    pub fn fork(&mut self) -> anyhow::Result<Option<Charge>> {
        let watchdog = rustix::process::getpid();
        let (own, managers) = packet::pair().context("make a line to the manager")?;
        // A manager gives its workers what it has itself.
        let _ = setrlimit(Resource::Nofile, self.file_limit);
        match split::split(None).context("split off the manager")? {
            split::Side::Watchdog(process) => {
                self.watch_over(process, own)?;
                Ok(None)
            }
            split::Side::Watched => Ok(Some(Charge {
                signals: Signals(self.inbox.clone()),
                line: managers,
                store: std::mem::take(&mut self.store),
                watchdog,
                before: self.before.take(),
            })),
        }
    }

    fn watch_over(&mut self, process: Process, line: OwnedFd) -> anyhow::Result<()> {
        let maximum = self.file_limit.maximum;
        // With fewer, what does not fit is said when it comes.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        for signal in self.held.drain(..) {
            self.stopping |= STOPS.contains(&signal);
            process.signal(signal).context("pass a signal to the manager")?;
        }
        let (since, untold) = (Instant::now(), VecDeque::new());
        self.manager = Some(Manager { process, line: Some(line), since, untold });
        Ok(())
    }

    /// Watches over managers until one ends as it should, or until this is a new one.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it wait.
    pub fn watch(mut self) -> anyhow::Result<Role> {
        loop {
            if self.manager.is_none() && Instant::now() >= self.due {
                match self.fork() {
                    Ok(None) => {}
                    Ok(Some(charge)) => return Ok(Role::Manager(charge)),
                    Err(error) => self.not_forked(&error),
                }
            }
            self.wait()?;
            self.hear();
            if let Some(code) = self.take_signals()? {
                return Ok(Role::Over(code));
            }
        }
    }

    fn not_forked(&mut self, error: &anyhow::Error) {
        say(&format!("no new manager: {error:#}; trying again"));
        self.due = Instant::now() + AGAIN;
    }

    /// Until something has come, or a manager is due.
    fn wait(&self) -> anyhow::Result<()> {
        let mut waits = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(manager) = &self.manager
            && let Some(line) = &manager.line
        {
            let told = manager.untold.is_empty();
            let flags = if told { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            waits.push(PollFd::new(line, flags));
        }
        let pause = self.due.saturating_duration_since(Instant::now());
        let pause = self.manager.is_none().then(|| Timespec::try_from(pause)).transpose()?;
        match poll(&mut waits, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for signals"),
        }
    }

    /// The exit code, if it is over.
    fn take_signals(&mut self) -> anyhow::Result<Option<ExitCode>> {
        while let Some(sent) = self.signals.next().context("read signals")? {
            if sent.number != Signal::CHILD.as_raw() {
                self.pass(sent)?;
            } else if let Some(end) = self.reap()
                && let Some(code) = self.after(end)
            {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }

    fn pass(&mut self, sent: split::Sent) -> anyhow::Result<()> {
        let Some(signal) = passed(sent) else { return Ok(()) };
        let Some(manager) = &self.manager else {
            // It may be the end that is wanted: not to be waited for.
            self.due = Instant::now();
            self.held.push(signal);
            return Ok(());
        };
        self.stopping |= STOPS.contains(&signal);
        manager.process.signal(signal).context("pass a signal to the manager")
    }

    /// Takes all zombies away; the manager, if it has ended.
    fn reap(&mut self) -> Option<(Exit, Manager)> {
        let mut end = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let exit = exit_of(status);
            let is_manager = |manager: &mut Manager| manager.process.pid() == pid;
            if self.manager.as_mut().is_some_and(is_manager) {
                // What it has put last counts.
                self.hear();
                end = self.manager.take().map(|manager| (exit, manager));
            } else {
                self.ended(Ended { pid, exit });
            }
        }
        end
    }

    /// Kept until a manager has heard of it.
    fn ended(&mut self, ended: Ended) {
        if self.store.count() < MOST_ENDS {
            let value = Ended::value(ended.exit).into_bytes();
            self.store.put(&Ended::key(ended.pid), Item { value, descriptors: Vec::new() });
        }
        if let Some(manager) = &mut self.manager {
            manager.untold.push_back(ended);
            manager.tell();
        }
    }

    /// The manager has ended. The exit code, if nobody follows.
    fn after(&mut self, (exit, manager): (Exit, Manager)) -> Option<ExitCode> {
        let how = exit.to_string();
        if let Some(program) = self.program.take() {
            self.go_on_as(&program);
            self.due = Instant::now();
            return None;
        }
        let follows = !self.stopping && exit != Exit::Code(0) && self.store.get(ANSWERS).is_some();
        if !follows {
            let owners = [rustix::process::getpid(), manager.process.pid()];
            return Some(leave_nothing(exit, &owners));
        }
        let left = match self.end_what_nobody_can_take_over() {
            Some(left) => said(left),
            None => "workers live on".to_owned(),
        };
        self.due = self.pace.next(manager.since, Instant::now());
        let pause = self.due.saturating_duration_since(Instant::now());
        let when =
            if pause.is_zero() { "now".into() } else { format!("in {} ms", pause.as_millis()) };
        say(&format!("the manager {how}; another one comes {when}; {left}"));
        self.before = Some(format!("the manager {how}"));
        None
    }

    /// All of it, if no cluster has had anything kept; gives how many processes that were.
    fn end_what_nobody_can_take_over(&self) -> Option<usize> {
        let can_be_taken_over = self.store.below(CLUSTERS).next().is_some();
        (!can_be_taken_over).then(end_all_children)
    }

    /// Comes back only if that cannot be; then a manager of this program follows.
    fn go_on_as(&mut self, program: &std::path::Path) {
        let why = Item { value: b"an update".to_vec(), descriptors: Vec::new() };
        self.store.put(handover::WHY, why);
        let error = handover::go_on_as(program, &self.store, &self.file_limit);
        self.store.take(handover::WHY);
        let text = format!("{} could not be executed: {error}", program.display());
        say(&text);
        self.before = Some(format!("{}{text}", handover::UPDATE_FAILED));
    }
}
