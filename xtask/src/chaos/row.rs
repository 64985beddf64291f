//! What a row came to, and whether that is as it should be.

use compliance::{Count, Kind, Serving, Tally, Who};
use serde::{Deserialize, Serialize};

use super::line_up::{self, Entry, System};
use super::scenario::Scenario;

/// Milliseconds without an answer to anybody.
const STALL: f64 = 100.0;
/// Of so many requests on kept connections one may meet the end of its connection.
const ONE_IN: usize = 10_000;

/// A scenario under a system.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(skip, default = "line_up::first")]
    pub(crate) entry: Entry,
    #[serde(skip, default = "Scenario::first")]
    pub(crate) scenario: Scenario,
    pub(crate) name: String,
    /// What was built when it was measured.
    #[serde(default)]
    pub(crate) commit: String,
    /// How often it was done.
    pub(crate) times: usize,
    /// Exit codes, where it is a command.
    pub(crate) codes: Vec<Option<i32>>,
    pub(crate) new: Numbers,
    pub(crate) kept: Numbers,
    pub(crate) causes: Vec<String>,
    stalls: Vec<f64>,
    slowest: Vec<f64>,
    lateness: Vec<f64>,
    /// Of those that served at the beginning, and how many those were.
    pub(crate) survived: (usize, usize),
    /// Requests that were under way when something was done.
    under_way: usize,
}

/// As [`Count`].
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    pub(crate) met_the_end: usize,
}

impl Numbers {
    fn add(&mut self, count: Count) {
        self.requests += count.requests;
        self.failed += count.failed;
        self.met_the_end += count.met_the_end;
    }
}

impl Row {
    pub(crate) fn new(entry: Entry, scenario: Scenario, commit: &str) -> Self {
        Self {
            entry,
            scenario,
            name: entry.name(scenario),
            commit: commit.to_owned(),
            times: 0,
            codes: Vec::new(),
            new: Numbers::default(),
            kept: Numbers::default(),
            causes: Vec::new(),
            stalls: Vec::new(),
            slowest: Vec::new(),
            lateness: Vec::new(),
            survived: (0, 0),
            under_way: 0,
        }
    }

    /// One round more.
    pub(crate) fn add(&mut self, tally: &Tally, survived: (usize, usize), under_way: usize) {
        self.new.add(tally.count(Kind::is_new));
        self.kept.add(tally.count(|kind| !kind.is_new()));
        self.causes.extend(Some(tally.causes()).filter(|causes| !causes.is_empty()));
        self.stalls.push(tally.stall.as_secs_f64() * 1000.0);
        self.slowest.push(tally.slowest());
        self.lateness.push(tally.lateness.as_secs_f64() * 1000.0);
        self.survived = (self.survived.0 + survived.0, self.survived.1 + survived.1);
        self.under_way += under_way;
    }

    /// The median of the rounds, in milliseconds.
    pub(crate) fn stall(&self) -> f64 {
        median(&self.stalls)
    }

    /// Likewise, of the slowest answer to a plain request.
    pub(crate) fn slowest(&self) -> f64 {
        median(&self.slowest)
    }

    /// Whether each time a command said that it failed; `None` where there is no command.
    fn always_failed(&self) -> Option<bool> {
        let codes: Option<Vec<i32>> = self.codes.iter().copied().collect();
        codes.map(|codes| codes.iter().all(|code| *code != 0))
    }

    fn ever_failed(&self) -> bool {
        self.codes.iter().flatten().any(|code| *code != 0)
    }

    /// As a table shows it.
    pub(crate) fn cell(&self) -> String {
        let requests = self.new.requests + self.kept.requests;
        let again = match self.kept.met_the_end {
            0 => String::new(),
            some => format!(" (+{some})"),
        };
        let lost = format!("{} + {}{again} of {requests}", self.new.failed, self.kept.failed);
        let (alive, before) = self.survived;
        let exit = self.codes.iter().flatten().next().filter(|_| self.scenario.is_broken());
        let exit = exit.map(|code| format!(" · exit {code}")).unwrap_or_default();
        format!("{lost} · {:.0} ms · {alive} of {before}{exit}", self.stall())
    }

    /// What is not as it should be, in so many words.
    fn misses(&self) -> Vec<String> {
        let System::Tine(mechanism) = self.entry.system else { return Vec::new() };
        let mut misses = Vec::new();
        let mut claim = |holds: bool, what: String| misses.extend((!holds).then_some(what));
        let allowed = if self.scenario == Scenario::KillWorker { self.under_way } else { 0 };
        if mechanism.is_of_the_kernel() {
            let failed = self.new.failed;
            claim(failed <= allowed, format!("{failed} failed on new connections"));
            let (stall, scenario) = (self.stall(), self.scenario);
            // A restart stops first: clients wait for the boot.
            claim(
                stall < STALL || scenario == Scenario::Restart,
                format!("{stall:.0} ms of stall"),
            );
        }
        claim(self.kept.failed <= allowed, format!("{} failed on kept ones", self.kept.failed));
        if self.scenario.leaves_workers_alone() {
            let (alive, before) = self.survived;
            claim(alive == before, format!("{alive} of {before} workers survived"));
        }
        if self.scenario.is_broken() {
            claim(self.always_failed() == Some(true), "a broken version was no error".to_owned());
        } else {
            claim(!self.ever_failed(), format!("exit codes {:?}", self.codes));
        }
        misses
    }
}

/// Every target that was missed.
pub(crate) fn missed(rows: &[Row]) -> Vec<String> {
    let of_it = |row: &Row| {
        let misses = row.misses().into_iter();
        misses.map(|what| format!("{}: {what}", row.name)).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = rows.iter().flat_map(of_it).collect();
    let (met, of) = met_the_end(rows);
    if met * ONE_IN > of.max(ONE_IN) {
        all.push(format!("{met} of {of} requests met the end of a kept connection"));
    }
    all
}

/// Requests of tine's rows that met the end of a kept connection, and how many there were; without those rows
/// where workers are killed.
pub(crate) fn met_the_end(rows: &[Row]) -> (usize, usize) {
    let ours = rows.iter().filter(|row| row.entry.mechanism().is_some());
    let ours = ours.filter(|row| row.scenario != Scenario::KillWorker);
    ours.fold((0, 0), |(met, of), row| (met + row.kept.met_the_end, of + row.kept.requests))
}

impl Row {
    /// The row of the same scenario for this program under that system.
    pub(crate) fn is(&self, of: System, serving: Serving, who: Who, scenario: Scenario) -> bool {
        self.entry == Entry { system: of, serving, who } && self.scenario == scenario
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
