//! The signals that mean something to the manager.

use anyhow::Context;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Stop all apps and end; the second time, kill what is left.
    Stop,
    /// Open log files anew.
    ReopenLogs,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Inbox {
    stop: [Stream; 3],
    reopen: Stream,
    // Handled, so that they do not end the manager.
    ignored: [Stream; 2],
}

impl Inbox {
    pub(super) fn open() -> anyhow::Result<Self> {
        let open = |kind| signal(kind).context("handle signals");
        Ok(Self {
            stop: [
                open(SignalKind::interrupt())?,
                open(SignalKind::terminate())?,
                open(SignalKind::quit())?,
            ],
            reopen: open(SignalKind::user_defined2())?,
            ignored: [open(SignalKind::hangup())?, open(SignalKind::user_defined1())?],
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Sent {
        let [int, term, quit] = &mut self.stop;
        let [hup, usr1] = &mut self.ignored;
        loop {
            tokio::select! {
                _ = int.recv() => return Sent::Stop,
                _ = term.recv() => return Sent::Stop,
                _ = quit.recv() => return Sent::Stop,
                _ = self.reopen.recv() => return Sent::ReopenLogs,
                _ = hup.recv() => {}
                _ = usr1.recv() => {}
            }
        }
    }
}
