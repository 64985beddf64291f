//! What a row came to, and whether that is as it should be.

use std::collections::BTreeMap;
use std::fmt;

use compliance::{Count, Failure, Kind, Serving, Tally, Who};
use serde::{Deserialize, Serialize};

use super::line_up::{self, Entry, System};
use super::scenario::Scenario;
use super::stage::Losses;

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
    new_stalls: Vec<f64>,
    kept_stalls: Vec<f64>,
    slowest: Vec<f64>,
    lateness: Vec<f64>,
    /// Of those that served at the beginning, and how many those were.
    pub(crate) survived: (usize, usize),
    /// Requests that workers which were killed may have had, on connections that nobody had answered on.
    may_be_lost: usize,
    /// Those that failed on such connections.
    lost: usize,
    /// Those that failed on connections of workers that were not killed.
    lost_by_others: usize,
}

/// As [`Count`].
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    /// What became of those.
    causes: BTreeMap<String, usize>,
    pub(crate) met_the_end: usize,
}

impl Numbers {
    fn add(&mut self, count: &Count) {
        self.requests += count.requests;
        self.failed += count.failed;
        self.met_the_end += count.met_the_end;
        for (outcome, number) in &count.causes {
            *self.causes.entry(outcome.name().to_owned()).or_default() += number;
        }
    }
}

/// Those that failed, with what it was: `0`, `6 reset`, `6 (5 reset, 1 refused)`.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes: Vec<String> =
            self.causes.iter().map(|(name, number)| format!("{number} {name}")).collect();
        match causes.as_slice() {
            [] => write!(f, "{}", self.failed),
            [one] => f.write_str(one),
            several => write!(f, "{} ({})", self.failed, several.join(", ")),
        }
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
            new_stalls: Vec::new(),
            kept_stalls: Vec::new(),
            slowest: Vec::new(),
            lateness: Vec::new(),
            survived: (0, 0),
            may_be_lost: 0,
            lost: 0,
            lost_by_others: 0,
        }
    }

    /// One round more.
    pub(crate) fn add(&mut self, tally: &Tally, survived: (usize, usize), losses: &Losses) {
        self.new.add(&tally.count(Kind::is_new));
        self.kept.add(&tally.count(|kind| !kind.is_new()));
        self.new_stalls.push(tally.stalls.new.as_secs_f64() * 1000.0);
        self.kept_stalls.push(tally.stalls.kept.as_secs_f64() * 1000.0);
        self.slowest.push(tally.slowest());
        self.lateness.push(tally.lateness.as_secs_f64() * 1000.0);
        self.survived = (self.survived.0 + survived.0, self.survived.1 + survived.1);
        let failed = || tally.failures.iter().filter(|failure| failure.outcome.is_failure());
        let by_others =
            |it: &&Failure| it.reused_of.is_some_and(|pid| !losses.victims.contains(&pid));
        self.may_be_lost += losses.unknown;
        self.lost += failed().filter(|failure| failure.reused_of.is_none()).count();
        self.lost_by_others += failed().filter(by_others).count();
    }

    /// Of requests on new connections and on kept ones: the medians of the rounds, in milliseconds.
    pub(crate) fn stalls(&self) -> [f64; 2] {
        [median(&self.new_stalls), median(&self.kept_stalls)]
    }

    /// The longer one.
    fn stall(&self) -> f64 {
        let [new, kept] = self.stalls();
        new.max(kept)
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
        let lost = format!("{} + {}{again} of {requests}", self.new, self.kept);
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
        if mechanism.is_of_the_kernel() {
            let stall = self.stall();
            let is_short = stall < STALL || self.scenario.stops_first();
            claim(is_short, format!("{stall:.0} ms of stall"));
        }
        if self.scenario == Scenario::KillWorker {
            let (lost, allowed, others) = (self.lost, self.may_be_lost, self.lost_by_others);
            claim(lost <= allowed, format!("{lost} lost, where at most {allowed} were under way"));
            claim(others == 0, format!("{others} lost by workers that were not killed"));
        } else {
            let is_well = self.new.failed == 0 || !mechanism.is_of_the_kernel();
            claim(is_well, format!("{} failed on new connections", self.new));
            claim(self.kept.failed == 0, format!("{} failed on kept ones", self.kept));
        }
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
        self.entry == line_up::entry(of, serving, who) && self.scenario == scenario
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
