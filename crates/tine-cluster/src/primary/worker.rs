//! One worker, as the primary holds it.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};
use tine_linux::{
    cgroup::Cgroup,
    process::{Exit, Process},
    seccomp, tree,
};

use super::{channel::Channel, event::What};
use crate::{
    core::{instance::End, worker::Life},
    id::{Instance, WorkerId},
};

/// The variable that marks every process of a worker's tree.
pub(super) const MARK: &str = "TINE_WORKER_ID";

/// A process that fills an instance, with all that belongs to it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) instance: Instance,
    pub(super) life: Life,
    pub(super) process: Arc<Process>,
    pub(super) trap: Option<Arc<seccomp::Listener>>,
    pub(super) channel: Option<Channel>,
    pub(super) started: Instant,
    /// It has listened on something.
    pub(super) listened: bool,
    /// The TCP ports by which it gets connections. A worker that leaves may have closed its listeners
    /// long before its connections end.
    pub(super) ports: BTreeSet<u16>,
    /// It was told to go.
    pub(super) asked: bool,
    /// How its first process ended.
    pub(super) exit: Option<Exit>,
    /// `IPV6_V6ONLY` of its sockets by inode, where only the trapped `setsockopt` tells.
    pub(super) v6only: HashMap<u64, bool>,
    /// What was said over its channel so far.
    pub(super) talk: Talk,
    /// Connections that it had open when it was last looked at, while it drains.
    pub(super) open_connections: usize,
    /// Its output was read to the end.
    pub(super) output: Output,
    /// No process with its filter is left.
    filter_gone: bool,
    cgroup: Option<Cgroup>,
    roots: tree::Roots,
}

/// How far the conversation over a worker's channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// It never said a word: its program may not know of the channel.
    Silent,
    /// It speaks.
    Speaks,
    /// It was told to leave.
    ToldToLeave(Instant),
    /// It has closed the channel.
    Closed(Instant),
}

/// Whether a worker's output has come to its end: what is told of its own end waits for that, so that
/// its last words come first.
#[derive(Debug)]
pub(super) enum Output {
    /// There may be more lines; this is to be told after them.
    Flowing(Vec<What>),
    /// These were the last.
    Ended(Vec<Vec<u8>>),
}

impl Worker {
    pub(super) fn new(
        (id, instance): (WorkerId, Instance),
        process: Process,
        cgroup: Option<Cgroup>,
        mark: String,
    ) -> Self {
        let roots = tree::Roots {
            leader: process.pid(),
            mark: Some((MARK.to_owned(), mark)),
            reaper: rustix::process::getpid(),
        };
        Self {
            id,
            instance,
            life: Life::Starting,
            process: Arc::new(process),
            trap: None,
            channel: None,
            started: Instant::now(),
            listened: false,
            ports: BTreeSet::new(),
            asked: false,
            exit: None,
            v6only: HashMap::new(),
            talk: Talk::Silent,
            open_connections: 0,
            output: Output::Flowing(Vec::new()),
            filter_gone: false,
            cgroup,
            roots,
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(super) fn lived(&self) -> Duration {
        self.started.elapsed()
    }

    /// What its instance needs to know of its end.
    pub(super) fn end(&self, exit: Exit) -> End {
        End {
            asked: self.asked,
            clean: exit == Exit::Code(0),
            listened: self.listened,
            lived: self.lived(),
        }
    }

    /// The processes that belong to it now.
    pub(super) fn members(&self) -> Vec<Pid> {
        if let Some(Ok(pids)) = self.cgroup.as_ref().map(Cgroup::members) {
            return pids;
        }
        let table = tree::processes().unwrap_or_default();
        self.roots.members(&table).iter().map(|entry| entry.pid).collect()
    }

    /// Sends the stop signal to every process of the tree, as a terminal's Ctrl-C would.
    pub(super) fn terminate(&self, signal: Signal) -> io::Result<()> {
        if self.exit.is_none() {
            match self.process.signal(signal) {
                // It has ended in this moment.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
                other => other?,
            }
        }
        for pid in self.members() {
            if pid != self.pid()
                && let Ok(process) = Process::open(pid)
            {
                // It may have ended in this moment, which is what was wanted.
                let _ = process.signal(signal);
            }
        }
        Ok(())
    }

    /// Sends `SIGKILL` to every process of the tree.
    pub(super) fn kill(&self) -> io::Result<()> {
        if self.exit.is_none() {
            let _ = self.process.signal(Signal::KILL);
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill()?;
        }
        self.roots.signal(Signal::KILL).map(|_| ())
    }

    /// No process with its filter is left.
    pub(super) fn filter_is_gone(&mut self) {
        self.filter_gone = true;
    }

    /// Whether nothing of the tree is left. Looks at the process table where nothing better is known.
    pub(super) fn is_gone(&self) -> bool {
        if self.exit.is_none() {
            return false;
        }
        if let Some(Ok(populated)) = self.cgroup.as_ref().map(Cgroup::is_populated) {
            return !populated;
        }
        if self.trap.is_some() {
            return self.filter_gone;
        }
        self.roots.count().is_ok_and(|count| count == 0)
    }

    /// Whether its first process has ended, and nothing else can be found of it.
    pub(super) fn has_nothing_in_sight(&self) -> bool {
        self.exit.is_some() && self.members().is_empty()
    }

    /// Whether some process of the tree has the socket with this inode open.
    pub(super) fn holds(&self, inode: u64) -> bool {
        self.members().into_iter().any(|pid| tine_linux::foreign::holds_socket(pid, inode))
    }
}
