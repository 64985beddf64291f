//! The watchdog of `tine run`: nothing outlives it, and nobody follows.

use std::process::ExitCode;

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};
use tine_linux::{
    cgroup,
    process::{Exit, Process, signal_name},
    split::{self, Inbox},
    tree,
};

use super::{SIGNALS, Side, Signals};

/// The parent's part.
#[derive(Debug)]
pub struct Watchdog {
    manager: Process,
    inbox: Inbox,
}

/// Splits this process.
///
/// # Errors
///
/// When the kernel refuses, or threads run already.
pub fn split() -> anyhow::Result<Side> {
    let inbox = Inbox::open(&SIGNALS).context("hold signals back")?;
    // Orphans of workers come here when the manager is gone, and to the manager before.
    become_reaper()?;
    match split::split(Some(Signal::TERM)).context("split off the manager")? {
        split::Side::Watchdog(manager) => Ok(Side::Watchdog(Watchdog { manager, inbox })),
        split::Side::Watched => {
            // All of them belong to its one app.
            become_reaper()?;
            Ok(Side::Manager(Signals(inbox)))
        }
    }
}

pub(super) fn become_reaper() -> anyhow::Result<()> {
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own).context("become the parent of orphans")
}

impl Watchdog {
    /// Watches the manager to its end, and gives its exit code.
    ///
    /// # Errors
    ///
    /// When signals cannot be waited for.
    pub fn watch(self) -> anyhow::Result<ExitCode> {
        loop {
            let sent = self.inbox.next().context("wait for signals")?;
            if sent.number == Signal::CHILD.as_raw() {
                if let Some(exit) = self.reap() {
                    return Ok(self.after(exit));
                }
                continue;
            }
            self.pass(sent)?;
        }
    }

    fn pass(&self, sent: split::Sent) -> anyhow::Result<()> {
        let Some(signal) = passed(sent) else { return Ok(()) };
        self.manager.signal(signal).context("pass a signal to the manager")
    }

    /// Takes all zombies away; how the manager ended, if it has.
    fn reap(&self) -> Option<Exit> {
        let mut end = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.manager.pid() {
                end = Some(exit_of(status));
            }
        }
        end
    }

    /// The manager has ended: nothing of it may be left.
    fn after(&self, exit: Exit) -> ExitCode {
        leave_nothing(exit, &[self.manager.pid()])
    }
}

/// What of it the manager is to get. What the terminal sends, it sends to the manager too. Except that
/// its hanging up means the end.
pub(super) fn passed(sent: split::Sent) -> Option<Signal> {
    let hung_up = sent.number == Signal::HUP.as_raw();
    match sent.from_kernel {
        true if hung_up => Some(Signal::TERM),
        true => None,
        false => Signal::from_named_raw(sent.number),
    }
}

/// The manager has ended like this, and nobody follows: what it left is killed. The cgroups of its
/// workers are named after one of `owners`.
pub(super) fn leave_nothing(exit: Exit, owners: &[Pid]) -> ExitCode {
    let left = end_all_children();
    if let Ok(parent) = cgroup::Parent::own() {
        for owner in owners {
            parent.sweep(&tine_cluster::primary::cgroup_prefix(*owner));
        }
    }
    match exit {
        Exit::Code(code) => ExitCode::from(code),
        Exit::Signal(number) => {
            let name = signal_name(number).unwrap_or("a signal");
            eprintln!("tine: the manager was killed by {name}; {}", said(left));
            ExitCode::from(exit.shell_code())
        }
    }
}

pub(super) fn said(left: usize) -> String {
    match left {
        0 => "no worker was left".to_owned(),
        1 => "1 process that it left was killed".to_owned(),
        more => format!("{more} processes that it left were killed"),
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Kills whatever has become a child of this process, until nothing is left; gives how many there
/// were. Killing one brings its children here.
pub(super) fn end_all_children() -> usize {
    let own = rustix::process::getpid();
    let mut killed = 0;
    loop {
        let table = tree::Table::read(None).unwrap_or_default();
        let children: Vec<Pid> = table
            .entries()
            .iter()
            .filter(|entry| entry.parent == Some(own) && !entry.zombie)
            .map(|entry| entry.pid)
            .collect();
        for child in children {
            let members = table.members(Some(child), None);
            tree::signal_all(&members, Signal::KILL);
            killed += members.len();
        }
        // Waits for the next one to go; without any child there is nothing to wait for.
        if wait(WaitOptions::empty()).is_err() {
            return killed;
        }
    }
}
