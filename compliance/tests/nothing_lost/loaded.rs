//! An app under load.

use std::collections::BTreeSet;

use compliance::{
    Exit, Home, Load, Look, Pace, Serving, Tally, Version, Who, eventually, free_port, skip,
};

pub(crate) const WORKERS: usize = 3;

/// An app of a manager of its own, and the load on it.
pub(crate) struct Loaded {
    pub(crate) home: Home,
    serving: Serving,
    pub(crate) port: u16,
    load: Load,
    /// Who served before anything was done.
    pub(crate) before: BTreeSet<u32>,
}

impl Loaded {
    /// Starts the app, and loads it until every worker has answered. `None` where it cannot run.
    pub(crate) fn start(serving: Serving, who: Who, options: &[&str]) -> Option<Self> {
        if let Some(missing) = who.missing() {
            skip(missing);
            return None;
        }
        if let Some(missing) = serving.missing(who) {
            skip(&format!("no {missing} here"));
            return None;
        }
        Some(Self::start_in(Home::new(who), serving, options, pace(serving)))
    }

    /// Likewise, in a home that is there already; the program is known to be there too.
    pub(crate) fn start_in(home: Home, serving: Serving, options: &[&str], pace: Pace) -> Self {
        let port = free_port();
        serving.furnish(&home, port);
        let started = home.tine(serving.start(port, WORKERS, options));
        assert_eq!(started.code, Some(0), "{started:?}");
        let listening = || home.tine(["ports", "--json"]).stdout.contains(&port.to_string());
        eventually("it listens", listening);
        let load = Load::start(port, pace);
        let mut loaded = Self { home, serving, port, load, before: BTreeSet::new() };
        loaded.before = loaded.servers(WORKERS);
        loaded
    }

    /// Waits until so many have answered since now.
    pub(crate) fn servers(&self, count: usize) -> BTreeSet<u32> {
        drop(self.load.look());
        let mut pids = BTreeSet::new();
        eventually("every worker has answered", || {
            pids.extend(self.load.look().pids);
            pids.len() >= count
        });
        pids
    }

    /// Waits until every answer since now is of this version and all workers give some.
    pub(crate) fn serves(&self, version: u32) -> BTreeSet<u32> {
        let version = version.to_string();
        eventually("the new version serves alone", || {
            let look = self.answers(40);
            look.versions.len() == 1 && look.versions.contains(&version)
        });
        self.servers(WORKERS)
    }

    /// What is seen of the next so many answers.
    fn answers(&self, count: usize) -> Look {
        let from = self.load.look().answered;
        let mut seen = Look::default();
        eventually("the load is answered", || {
            let look = self.load.look();
            seen.pids.extend(look.pids);
            seen.versions.extend(look.versions);
            seen.answered = look.answered;
            look.answered >= from + count
        });
        seen
    }

    /// From its next start on the program is another.
    pub(crate) fn becomes(&self, version: Version) {
        self.serving.become_version(&self.home, self.port, version);
    }

    pub(crate) fn tine(&self, words: &str) -> Exit {
        self.home.tine(words.split(' '))
    }

    /// Likewise; it has to work.
    pub(crate) fn must(&self, words: &str) -> Exit {
        let exit = self.tine(words);
        assert_eq!(exit.code, Some(0), "{words}: {exit:?}");
        exit
    }

    /// Ends the load: not one request has failed, but for a few that a client sent on a kept connection in
    /// the very moment of its end.
    pub(crate) fn nothing_was_lost(self) -> Tally {
        eventually("there was some load", || self.load.look().answered >= 50);
        let tally = self.load.stop();
        let all = tally.all();
        assert_eq!(all.failed, 0, "{:?}: {:#?}", all.causes, tally.failures);
        assert!(all.requests >= 50, "{all:?}");
        // Each reload ends a dozen of them; a busy machine makes the moment long.
        assert!(all.met_the_end <= 1 + all.requests / 50, "{all:?}: {:#?}", tally.failures);
        tally
    }
}

/// Little, and patient: it is to find what is lost on a machine that is busy with other tests.
pub(crate) fn pace(serving: Serving) -> Pace {
    let patience = std::time::Duration::from_mins(1);
    // An answer that comes in parts looks like one that is over.
    let slow = if serving == Serving::Nginx { 0 } else { 8 };
    // Other tests have the processors for tenths of a second; a slow answer takes 300 ms.
    let moment = std::time::Duration::from_millis(150);
    Pace { plain: 60, slow, connections: 12, patience, moment }
}
