//! One worker, as the primary holds it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};
use tine_linux::{
    cgroup::{Cgroup, Controller},
    process::{Exit, Process},
    seccomp,
    sock_diag::UnixName,
    tree::{self, Entry, Table},
};

use super::{
    channel::{Channel, Mark},
    ends::Ends,
    event::{ListeningAddress, Output, What},
    leaving::Leaving,
    notify,
    quota::Quota,
    settings::ProgramKind,
    taken::Taken,
    trap::ToldV6Only,
};
use crate::{
    core::{instance::End, worker::Life},
    id::{Instance, SeatId, WorkerId},
};

/// The variable that marks every process of a worker's tree.
pub(super) const MARK: &str = "TINE_WORKER_ID";

/// A process that fills an instance, with all that belongs to it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set once")]
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// Which it fills, or its turn in the rotation.
    pub(super) instance: Instance,
    pub(super) kind: ProgramKind,
    pub(super) life: Life,
    pub(super) process: Arc<Process>,
    pub(super) trap: Option<Arc<seccomp::Listener>>,
    /// Into what it holds for a successor.
    pub(super) ends: Option<Ends>,
    /// Its calls that were taken, where somebody keeps them.
    pub(super) taken: Option<Arc<Taken>>,
    pub(super) channel: Option<Channel>,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
    /// It has listened on something.
    pub(super) listened: bool,
    /// The TCP ports by which it gets connections. A worker that leaves may have closed its listeners
    /// long before its connections end.
    pub(super) ports: BTreeSet<u16>,
    /// Likewise the names of UNIX sockets, as the kernel has them.
    pub(super) names: HashSet<UnixName>,
    /// What it asked for, in its own words, where it said that it listens.
    pub(super) addresses: BTreeMap<SeatId, ListeningAddress>,
    /// It was told to go.
    pub(super) asked: bool,
    /// Another worker fills its place, or it never came to fill one.
    pub(super) retired: bool,
    /// Its program said that it is ready.
    pub(super) said_ready: bool,
    /// Hears its program say so in the way of `sd_notify(3)`.
    pub(super) notify: Option<notify::Watch>,
    /// It is ready.
    pub(super) ready: bool,
    /// What it had been told then, if that was by this process.
    pub(super) ready_behind: Option<Mark>,
    /// It was not ready in time, and was told to go for it.
    pub(super) is_late: bool,
    /// Its owner wants another one in its place as soon as it has gone.
    pub(super) is_followed: bool,
    /// It was told to go by its owner, who leaves it its time.
    pub(super) disconnecting: bool,
    /// Its channel is closed on purpose, or is to be.
    pub(super) exited_after_disconnect: bool,
    /// It broke the rules of its channel, whatever it says of itself at its end: Node exits with 0 when its
    /// channel does, sooner perhaps than it is killed.
    pub(super) misbehaved: bool,
    /// When its first process was seen to have ended: its number may be another's from then on.
    pub(super) ended: Option<Instant>,
    /// How its first process ended.
    pub(super) exit: Option<Exit>,
    /// `IPV6_V6ONLY` of its sockets by inode, where only the trapped `setsockopt` tells.
    pub(super) v6only: ToldV6Only,
    /// What was said over its channel so far.
    pub(super) talk: Talk,
    /// What it has still to do, while it leaves.
    pub(super) leaving: Leaving,
    /// Whether its output was read to the end.
    pub(super) output: Flow,
    /// Its output, until the owner has it.
    pub(super) pipes: Option<Output>,
    /// How much of what it does may wait for the owner.
    pub(super) quota: Quota,
    /// What is to be told after its last line and its last message.
    pub(super) later: Vec<What>,
    /// It was started by another process than this one.
    pub(super) is_foreign: bool,
    /// Its first process has ended, and nobody has said how.
    pub(super) ended_unknown: Option<Instant>,
    /// No process with its filter is left.
    filter_gone: bool,
    pub(super) cgroup: Option<Cgroup>,
    /// What of it could not be limited, until the owner knows.
    pub(super) unlimited: Vec<(Controller, io::Error)>,
    mark: String,
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
pub(super) enum Flow {
    /// There may be more lines that this cluster reads.
    Flowing,
    /// These were the last.
    Ended(Vec<Vec<u8>>),
}

impl Worker {
    pub(super) fn new(
        (id, instance): (WorkerId, Instance),
        kind: ProgramKind,
        process: Process,
        mark: String,
    ) -> Self {
        Self {
            id,
            instance,
            kind,
            life: Life::Starting,
            process: Arc::new(process),
            trap: None,
            ends: None,
            taken: None,
            channel: None,
            started: Instant::now(),
            started_at: SystemTime::now(),
            listened: false,
            ports: BTreeSet::new(),
            names: HashSet::new(),
            addresses: BTreeMap::new(),
            asked: false,
            retired: false,
            said_ready: false,
            notify: None,
            ready: false,
            ready_behind: None,
            is_late: false,
            is_followed: false,
            disconnecting: false,
            exited_after_disconnect: false,
            misbehaved: false,
            ended: None,
            exit: None,
            v6only: ToldV6Only::default(),
            talk: Talk::Silent,
            leaving: Leaving::default(),
            output: Flow::Flowing,
            pipes: None,
            quota: Quota::default(),
            later: Vec::new(),
            is_foreign: false,
            ended_unknown: None,
            filter_gone: false,
            cgroup: None,
            unlimited: Vec::new(),
            mark,
        }
    }

    /// What marks every process of its tree.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// The last lines that it wrote, once all that it wrote and said is known.
    pub(super) fn last_words(&self) -> Option<&[Vec<u8>]> {
        match &self.output {
            Flow::Ended(lines) if self.channel.is_none() => Some(lines),
            Flow::Ended(_) | Flow::Flowing => None,
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(super) fn lived(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether something of it is left where only one worker may be.
    pub(super) fn occupies(&self, instance: Instance) -> bool {
        self.instance == instance && self.life != Life::Gone && !self.retired
    }

    /// What its instance needs to know of its end.
    pub(super) fn end(&self, exit: Exit) -> End {
        End {
            asked: self.asked,
            clean: exit == Exit::Code(0) && !self.misbehaved,
            listened: self.listened,
            lived: self.lived(),
        }
    }

    /// Whether its processes are in a cgroup of their own, so that no table is needed to find them.
    pub(super) const fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    /// The processes that belong to it.
    pub(super) fn members(&self, table: &Table) -> Vec<Pid> {
        if let Some(Ok(pids)) = self.cgroup.as_ref().map(Cgroup::members) {
            return pids;
        }
        self.listed(table).iter().map(|entry| entry.pid).collect()
    }

    /// Those in the table. Once the first process was waited for, its number may be another's: then
    /// the mark alone tells.
    fn listed(&self, table: &Table) -> Vec<Entry> {
        let reused = self.exit.is_some() && table.contains(self.pid());
        let leader = (!reused).then(|| self.pid());
        table.members(leader, Some(&self.mark))
    }

    /// Whether it was told how it can serve, and that is still in this process.
    pub(super) fn waits_for_an_answer(&self) -> bool {
        self.channel.as_ref().zip(self.ready_behind).is_some_and(|(it, mark)| !it.is_out(mark))
    }

    /// Sends the stop signal to the first process.
    pub(super) fn terminate_first(&self, signal: Signal) -> io::Result<()> {
        match self.process.signal(signal) {
            // It has ended in this moment.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// Sends the stop signal to all others of the tree.
    pub(super) fn terminate_rest(&self, signal: Signal, table: &Table) {
        for pid in self.members(table) {
            if pid != self.pid()
                && let Ok(process) = Process::open(pid)
            {
                // It may have ended in this moment, which is what was wanted.
                let _ = process.signal(signal);
            }
        }
    }

    /// Sends `SIGKILL` to every process of the tree.
    pub(super) fn kill(&self, table: &Table) -> io::Result<()> {
        if self.exit.is_none() {
            let _ = self.process.signal(Signal::KILL);
        }
        match &self.cgroup {
            Some(cgroup) => cgroup.kill()?,
            None => tree::signal_all(&self.listed(table), Signal::KILL),
        }
        Ok(())
    }

    /// It was started a moment ago and cannot be kept: it is killed, and waited for.
    pub(super) fn end_at_once(&self) {
        // Whatever it has forked by now is an orphan, and is taken care of like any other.
        let _ = self.kill(&Table::read(None).unwrap_or_default());
        let _ = self.process.wait();
    }

    /// No process with its filter is left.
    pub(super) fn filter_is_gone(&mut self) {
        self.filter_gone = true;
    }

    /// Whether nothing of the tree is left, where that is known without the process table.
    pub(super) fn says_gone(&self) -> Option<bool> {
        if self.exit.is_none() {
            return Some(false);
        }
        if let Some(Ok(populated)) = self.cgroup.as_ref().map(Cgroup::is_populated) {
            return Some(!populated);
        }
        self.trap.is_some().then_some(self.filter_gone)
    }

    /// Whether the table has nothing of the tree.
    pub(super) fn lists_none(&self, table: &Table) -> bool {
        self.listed(table).is_empty()
    }

    /// Whether its first process has ended, and nothing else can be found of it.
    pub(super) fn has_nothing_in_sight(&self, table: &Table) -> bool {
        self.exit.is_some() && self.members(table).is_empty()
    }

    /// Whether some process of the tree has the socket with this inode open.
    pub(super) fn holds(&self, inode: u64, table: &Table) -> bool {
        self.members(table).into_iter().any(|pid| tine_linux::foreign::holds_socket(pid, inode))
    }
}
