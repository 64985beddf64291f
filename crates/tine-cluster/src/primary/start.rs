//! Starts a worker.

mod streams;

use std::{
    ffi::{NulError, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, test_kill_process},
};
use tine_linux::{
    cgroup::{self, Cgroup, Controller},
    seccomp::{Listener, Trap},
    spawn::{Spawn, SpawnError, Spawned, Step},
};

use super::{
    channel::{self, Dialect},
    ends, environment, notify, output,
    records::Has,
    settings::{Program, ProgramKind},
    task::Task,
    watch,
    worker::{Flow, Worker},
};
use crate::id::{Instance, WorkerId};
use streams::{Readers, Streams};

/// What the host has for starting workers, found out once.
#[derive(Debug)]
pub(super) struct Means {
    /// Which cluster of this process it is, by the order of their starts.
    cluster: u32,
    owner: Option<Pid>,
    cgroups: Option<cgroup::Parent>,
    trap: Trap,
}

/// How many clusters this process has started: their workers' numbers are the same, and must not be
/// taken for each other.
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

impl Means {
    /// In the name of `owner`, or of this process.
    pub(super) fn find(owner: Option<Pid>) -> Self {
        let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        // Where sockets of workers cannot be looked at, one more call tells what is needed.
        let v6only = tine_linux::host::pidfd_getfd() != tine_linux::host::Ability::Yes;
        let cgroups = cgroup::Parent::own().ok();
        Self { cluster, owner, cgroups, trap: Trap { v6only } }
    }

    /// Removes the cgroups of managers that were killed; once in a process.
    pub(super) fn sweep(&self) {
        if let Some(parent) = self.cgroups.clone().filter(|_| self.cluster == 0) {
            // Thousands may have come together: not on the task's thread.
            tokio::task::spawn_blocking(move || parent.sweep_where(is_orphaned));
        }
    }

    /// Which cluster of its process it is.
    pub(super) const fn number(&self) -> u32 {
        self.cluster
    }

    /// It is this one of a predecessor's process.
    pub(super) fn go_on(&mut self, number: u32) {
        self.cluster = number;
        CLUSTERS.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    /// What marks the worker's processes: its number, which is enough in the first cluster of a process.
    fn mark(&self, worker: WorkerId) -> String {
        match self.cluster {
            0 => worker.to_string(),
            number => format!("{worker}.{number}"),
        }
    }

    /// A cgroup for the worker; `None` where none can be made.
    fn cgroup(&self, worker: WorkerId) -> Option<Cgroup> {
        let owner = self.owner.unwrap_or_else(rustix::process::getpid);
        let name = format!("{}{}", cgroup_prefix(owner), self.mark(worker));
        self.cgroups.as_ref()?.create(&name).ok()
    }
}

/// Whether this is a worker's cgroup whose manager was killed, with nobody to sweep up after it.
fn is_orphaned(name: &str) -> bool {
    let manager = name.strip_prefix("tine-").and_then(|rest| rest.split_once('-'));
    let manager = manager.and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?));
    manager.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// How the cgroups of a manager's workers begin, for whoever sweeps up after it.
#[must_use]
pub fn cgroup_prefix(manager: rustix::process::Pid) -> String {
    format!("tine-{manager}-")
}

/// Who starts, and what.
pub(super) struct Start<'a> {
    pub(super) id: WorkerId,
    pub(super) instance: Instance,
    pub(super) mark: String,
    pub(super) program: &'a Program,
    /// The argument with the port of its inspector.
    pub(super) inspect: Option<OsString>,
}

/// The pieces of a start, kept until the program runs.
pub(super) struct Parts {
    output: Streams,
    channel: (UnixStream, UnixStream),
    cgroup: Option<Cgroup>,
    /// What of it could not be limited.
    unlimited: Vec<(Controller, io::Error)>,
    /// Where its program may say that it is ready.
    notify: Option<notify::Socket>,
    /// Where it holds the ends of this process.
    ends: Option<ends::Pair>,
}

impl Parts {
    /// All that this process has of the worker: its trap, its channel, the ends from which its output is
    /// read, by whomever, and the one by which the owner writes to it.
    pub(super) fn ends<'a>(
        &'a self,
        trap: Option<&'a Listener>,
    ) -> (Vec<Has>, Vec<BorrowedFd<'a>>) {
        let trap = trap.map(|trap| (Has::Trap, trap.as_fd()));
        let channel = [(Has::Channel, self.channel.0.as_fd())];
        let read = self.output.read_ends();
        let output = read.into_iter().flat_map(|(out, err)| [(Has::Out, out), (Has::Err, err)]);
        let input = self.output.write_end().map(|input| (Has::Input, input));
        trap.into_iter().chain(channel).chain(output).chain(input).unzip()
    }

    /// Once: what is to be left in the worker.
    pub(super) const fn take_pair(&mut self) -> Option<ends::Pair> {
        self.ends.take()
    }

    fn make(program: &Program, cgroup: Option<Cgroup>, holds_ends: bool) -> io::Result<Self> {
        let unlimited = unlimited(&program.cgroup_limits, cgroup.as_ref());
        let output = Streams::make(program.stdio)?;
        let ends = if holds_ends { ends::Pair::open()? } else { None };
        Ok(Self { output, channel: UnixStream::pair()?, cgroup, unlimited, notify: None, ends })
    }

    /// The cgroup cannot be entered.
    fn do_without_cgroup(&mut self, program: &Program) {
        self.cgroup = None;
        self.unlimited = unlimited(&program.cgroup_limits, None);
    }
}

impl Task {
    /// Starts a worker for the instance, or one that fills none.
    pub(super) fn start_worker(
        &mut self,
        instance: Option<Instance>,
        program: &Program,
    ) -> Result<WorkerId, SpawnError> {
        let id = self.next_worker();
        let instance = instance.unwrap_or_else(|| Instance::turn_of(id));
        let cgroup = self.means.cgroup(id);
        let parts = Parts::make(program, cgroup, self.settings.ends_in_workers);
        let mut parts = parts.map_err(prepare("make pipes"))?;
        if self.settings.wait_ready {
            let socket = notify::Socket::open().map_err(prepare("make a socket for sd_notify"))?;
            parts.notify = Some(socket);
        }
        self.bind_declared(id, instance).map_err(prepare("bind a declared address"))?;
        let (mark, inspect) = (self.means.mark(id), self.inspectors.next(program));
        let start = Start { id, instance, mark, program, inspect };
        let spawned = self.spawn_with_fallbacks(&start, &mut parts);
        let spawned = spawned.inspect_err(|_| self.release_declared(id))?;
        let adopted = self.adopt(&start, spawned, parts);
        adopted.inspect_err(|_| self.release_declared(id))?;
        Ok(id)
    }

    /// A cgroup that cannot be entered, or a filter that is refused where the program can do without,
    /// is done without.
    fn spawn_with_fallbacks(
        &self,
        start: &Start<'_>,
        parts: &mut Parts,
    ) -> Result<Spawned, SpawnError> {
        let mut trap = start.program.kind == ProgramKind::Other;
        loop {
            match self.spawn(start, parts, trap) {
                Err(error) if parts.cgroup.is_some() && error.step() == Some(Step::Cgroup) => {
                    parts.do_without_cgroup(start.program);
                }
                Err(error) if trap && !self.settings.listen.is_empty() => match error.step() {
                    Some(Step::Filter | Step::NoNewPrivileges | Step::SendListener) => {
                        trap = false;
                    }
                    _ => return Err(error),
                },
                other => return other,
            }
        }
    }

    fn spawn(&self, start: &Start<'_>, parts: &Parts, trap: bool) -> Result<Spawned, SpawnError> {
        let declared = self.declared_of(start.id);
        let cgroup = parts.cgroup.as_ref().map(Cgroup::directory).transpose();
        let cgroup = cgroup.map_err(prepare("open a cgroup"))?;
        let nul = |_: NulError| io::Error::from(io::ErrorKind::InvalidInput);
        let mut spawn = program(start).map_err(nul).map_err(prepare("read the command"))?;
        let variables = environment::of(start, &parts.channel.1, declared.len());
        let notify = parts.notify.as_ref().map(notify::Socket::variable);
        for (name, value) in variables.into_iter().chain(notify) {
            spawn.env(&name, &value).map_err(nul).map_err(prepare("read the environment"))?;
        }
        place(&mut spawn, parts, &declared);
        if !declared.is_empty() {
            spawn.listen_pid();
        }
        if trap {
            spawn.trap(self.means.trap);
        }
        if let Some(cgroup) = &cgroup {
            spawn.cgroup(cgroup.as_fd());
        }
        if let Some((soft, hard)) = self.settings.file_limit {
            spawn.file_limit(soft, hard);
        }
        set_rights(&mut spawn, start.program);
        if self.settings.workers_die_with_manager {
            spawn.dies_with_parent(Signal::KILL);
        }
        spawn.start()
    }

    /// The program runs: its descriptors are watched from now on. One that cannot be watched is ended.
    fn adopt(
        &mut self,
        start: &Start<'_>,
        spawned: Spawned,
        parts: Parts,
    ) -> Result<(), SpawnError> {
        let who = (start.id, start.instance);
        let mut worker = Worker::new(who, start.program.kind, spawned.process, start.mark.clone());
        worker.trap = spawned.listener.map(Arc::new);
        let mut parts = parts;
        worker.unlimited = std::mem::take(&mut parts.unlimited);
        worker.cgroup = parts.cgroup.take();
        let kept = self.keep_calls(&mut worker);
        let kept = kept.and_then(|()| self.keep_new_worker(&mut worker, &mut parts));
        let watched = kept.and_then(|()| self.watch(&mut worker, parts.channel, parts.notify));
        if let Err(source) = watched {
            worker.end_at_once();
            self.forget_worker(start.id);
            return Err(SpawnError::Prepare { doing: "watch the worker", source });
        }
        match parts.output.readers() {
            Readers::Ours(pipes) => {
                output::read(who, pipes, self.lines.clone(), self.news.clone());
            }
            Readers::Owners(pipes) => {
                worker.output = Flow::Ended(Vec::new());
                worker.pipes = Some(pipes);
            }
            Readers::Nobody => worker.output = Flow::Ended(Vec::new()),
        }
        self.workers.insert(start.id, worker);
        Ok(())
    }

    fn watch(
        &self,
        worker: &mut Worker,
        (ours, theirs): (UnixStream, UnixStream),
        notify: Option<notify::Socket>,
    ) -> io::Result<()> {
        drop(theirs);
        watch::exit(worker.id, &worker.process, self.news.clone())?;
        if let Some(trap) = &worker.trap {
            let trap = (Arc::clone(trap), worker.taken.clone());
            watch::trap(worker.id, trap, self.news.clone())?;
        }
        if let Some(socket) = notify {
            worker.notify = Some(socket.watch(worker.id, self.news.clone())?);
        }
        let dialect = match worker.kind {
            ProgramKind::Node => Dialect::Node,
            ProgramKind::Other => Dialect::Native,
        };
        let how = (dialect, channel::Since::Now);
        worker.channel = Some(channel::open(worker.id, how, ours, self.news.clone())?);
        Ok(())
    }
}

/// Limits what a worker may use before it begins, as far as can be; gives what could not be limited.
fn unlimited(limits: &cgroup::Limits, cgroup: Option<&Cgroup>) -> Vec<(Controller, io::Error)> {
    let none = || io::Error::new(io::ErrorKind::Unsupported, "no cgroup can be made here");
    match cgroup {
        Some(cgroup) => cgroup.limit(limits),
        None => limits.entries().map(|(controller, _)| (controller, none())).collect(),
    }
}

fn prepare(doing: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
    move |source| SpawnError::Prepare { doing, source }
}

fn program(start: &Start<'_>) -> Result<Spawn<'static>, NulError> {
    let program = start.program;
    let mut spawn = Spawn::new(&program.file)?;
    spawn.arg0(&program.arg0)?;
    for arg in program.exec_args.iter().chain(&start.inspect).chain(&program.args) {
        spawn.arg(arg)?;
    }
    if let Some(directory) = &program.directory {
        spawn.directory(directory)?;
    }
    Ok(spawn)
}

fn set_rights(spawn: &mut Spawn<'_>, program: &Program) {
    for (what, soft, hard) in &program.rlimits {
        spawn.limit(*what, *soft, *hard);
    }
    if let Some(mask) = program.umask {
        spawn.umask(mask);
    }
    if let Some(value) = program.nice {
        spawn.nice(value);
    }
    if let Some(user) = &program.user {
        spawn.user(user.clone());
    }
}

fn place<'a>(spawn: &mut Spawn<'a>, parts: &'a Parts, declared: &[BorrowedFd<'a>]) {
    if let Some((out, err)) = parts.output.theirs() {
        spawn.fd(out, 1).fd(err, 2);
    }
    if let Some(input) = parts.output.input() {
        spawn.fd(input, 0);
    }
    for (number, fd) in (environment::FIRST_LISTEN_FD..).zip(declared) {
        spawn.fd(*fd, number);
    }
    spawn.fd(parts.channel.1.as_fd(), environment::channel_place(declared.len()));
    if let Some(ends) = &parts.ends {
        spawn.fd(ends.theirs(), ends::PLACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_orphaned_when_its_manager_is_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let gone = child.id();
        child.wait().expect("a child");
        let own = cgroup_prefix(rustix::process::getpid());
        assert!(is_orphaned(&format!("tine-{gone}-7.1")));
        for name in [&*format!("{own}1"), "tine-1-1", "tine-x-1", "tine-", "other"] {
            assert!(!is_orphaned(name), "{name}");
        }
    }
}
