//! Where a row is played: a folder, a port, a program, and the load on it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use compliance::{Home, Load, Pace, Serving, Target, Version, descendants, free_port};

use super::guard::Guard;
use super::line_up::Entry;

/// Of every app.
pub(crate) const WORKERS: usize = 4;

/// How long a start may take; Java and a busy machine take seconds.
const START: Duration = Duration::from_secs(40);

pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) serving: Serving,
    pub(crate) port: u16,
    /// Where the app is asked.
    pub(crate) target: Target,
    /// Since it was looked at last.
    pub(crate) losses: Losses,
    version: u32,
    _guard: Guard,
}

/// What workers that are killed may take with them.
#[derive(Default)]
pub(crate) struct Losses {
    /// They, and who ends with them.
    pub(crate) victims: BTreeSet<u32>,
    /// Requests that one of them may have had, on connections that nobody had answered on.
    pub(crate) unknown: usize,
}

impl Stage {
    pub(crate) fn new(home: Home, entry: Entry) -> Result<Self> {
        let guard = Guard::of(&home.mark())?;
        let (port, serving) = (free_port(), entry.serving);
        serving.furnish(&home, port);
        let target = entry.target(port, home.folder());
        let losses = Losses::default();
        Ok(Self { home, serving, port, target, losses, version: 1, _guard: guard })
    }

    /// Variables that have the program listen where it is asked, if that is not where it would by itself.
    pub(crate) fn place(&self) -> Option<String> {
        match &self.target {
            Target::V4(_) | Target::Several(_) => None,
            Target::V6(_) => Some("HOST=::1".to_owned()),
            Target::Unix(path) => Some(format!("PORT={}", path.display())),
        }
    }

    /// Kills it, and counts what that may cost: all that is on its way to somebody, and all that comes while it dies.
    pub(crate) fn kill_worker(&mut self, pid: u32, load: &Load) {
        self.losses.victims.insert(pid);
        self.losses.victims.extend(descendants(pid));
        let before = load.look();
        self.home.kill(pid);
        self.losses.unknown += before.in_flight + load.look().asked - before.asked;
    }

    /// From its next start on the program is a new one that works; gives what it will say.
    pub(crate) fn renew(&mut self) -> String {
        self.version += 1;
        self.become_version(Version::Serves(self.version));
        self.version.to_string()
    }

    pub(crate) fn become_version(&self, version: Version) {
        self.serving.become_version(&self.home, self.port, version);
    }

    /// How many processes answer when all do.
    pub(crate) fn servers(&self) -> usize {
        if self.serving == Serving::Nginx { 2 * WORKERS } else { WORKERS }
    }

    /// Waits until every server answers.
    pub(crate) fn wait_until_all_serve(&self) -> Result<()> {
        let wanted = self.servers();
        let seen = self.seen(wanted, START);
        ensure!(seen.len() >= wanted, "{} of {wanted} servers answer", seen.len());
        Ok(())
    }

    /// Whether all serve already.
    pub(crate) fn is_well(&self) -> bool {
        let wanted = self.servers();
        self.seen(wanted, Duration::from_secs(5)).len() >= wanted
    }

    /// Who answers, until there are so many.
    fn seen(&self, wanted: usize, time: Duration) -> BTreeSet<u32> {
        let pace = Pace {
            plain: 150,
            slow: 0,
            connections: 24,
            patience: Duration::from_secs(1),
            ..Pace::default()
        };
        let load = Load::start(self.target.clone(), pace);
        let mut seen = BTreeSet::new();
        within(time, || {
            seen.extend(load.look().pids);
            seen.len() >= wanted
        });
        drop(load.stop());
        seen
    }
}

/// Waits until something holds; `false` when it does not in time. How often it is looked decides nothing.
pub(crate) fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
