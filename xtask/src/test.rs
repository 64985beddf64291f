//! `cargo xtask test`: everything that can be tested here, and a reason for everything that cannot.
//!
//! A test that cannot run on this machine prints a line `SKIP: reason` and returns (or `SKIP! reason`,
//! and unwinds). Hence this
//! runner of its own instead of cargo's: it reads the output of tests that pass, too. It runs each
//! test in a process of its own, so that one test's children, signals and limits never meet those
//! of another, and needs nothing but the Rust toolchain.

mod checks;
pub(crate) mod command;
mod doctests;
mod report;
mod style;
mod suite;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use report::{Case, Report};

/// Run every check and test; end with what was skipped, why, and the totals.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Count a test that cannot run here as a failure.
    #[arg(long)]
    no_skips: bool,
    /// Tests to run at a time [default: the number of cores].
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Steps to run (fmt, style, clippy, doc, core, bpf, deny, tests, doctests), or parts of
    /// tests' names.
    filter: Vec<String>,
}

/// A step: its name, and what gives its cases.
struct Step {
    name: &'static str,
    run: fn(&Selection) -> anyhow::Result<Vec<Case>>,
}

/// Cargo builds behind one lock, so these take turns.
const COMPILING: [Step; 3] = [
    Step { name: "clippy", run: |_| checks::clippy() },
    Step { name: "doc", run: |_| checks::doc() },
    Step { name: "core", run: |_| checks::core_alone() },
];

/// These wait for no lock and run beside the compiling ones.
const LIGHT: [Step; 4] = [
    Step { name: "fmt", run: |_| checks::fmt() },
    Step { name: "style", run: |_| style::check() },
    Step { name: "bpf", run: |_| checks::bpf() },
    Step { name: "deny", run: |_| checks::deny() },
];

/// Last and by themselves: their deadlines should not compete with a compiler.
const TESTING: [Step; 2] =
    [Step { name: "tests", run: suite::run }, Step { name: "doctests", run: doctests::run }];

/// What was asked for.
struct Selection {
    steps: Vec<String>,
    tests: Vec<String>,
    jobs: usize,
}

impl Selection {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let known = |word: &String| {
            COMPILING.iter().chain(&LIGHT).chain(&TESTING).any(|step| step.name == word)
        };
        let (steps, tests) = args.filter.iter().cloned().partition(known);
        let jobs = match args.jobs {
            Some(jobs) => jobs.max(1),
            None => thread::available_parallelism()?.get(),
        };
        Ok(Self { steps, tests, jobs })
    }

    /// A named step runs; parts of names choose among the tests; with neither, everything runs.
    fn wants_step(&self, step: &Step) -> bool {
        let tests_step = TESTING.iter().any(|testing| testing.name == step.name);
        let everything = self.steps.is_empty() && self.tests.is_empty();
        everything
            || self.steps.iter().any(|name| name == step.name)
            || (tests_step && !self.tests.is_empty())
    }

    /// Whether the test of this full name was asked for.
    fn wants_test(&self, name: &str) -> bool {
        self.tests.is_empty() || self.tests.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Runs what was asked for; fails when a case failed, or was skipped where that is not allowed.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let selection = Selection::new(args)?;
    let mut cases = thread::scope(|scope| {
        let light = scope.spawn(|| run_steps(&LIGHT, &selection));
        let mut cases = run_steps(&COMPILING, &selection);
        cases.extend(light.join().expect("a step reports its troubles as a failed case"));
        cases
    });
    cases.extend(run_steps(&TESTING, &selection));
    Ok(Report::new(cases, start.elapsed()).finish(args.no_skips))
}

fn run_steps(steps: &[Step], selection: &Selection) -> Vec<Case> {
    let wanted = steps.iter().filter(|step| selection.wants_step(step));
    wanted.flat_map(|step| run_step(step, selection)).collect()
}

fn run_step(step: &Step, selection: &Selection) -> Vec<Case> {
    let start = Instant::now();
    let cases = (step.run)(selection)
        .unwrap_or_else(|error| vec![Case::failed(step.name, format!("{error:#}\n"))]);
    report::show_step(step.name, &cases, start.elapsed());
    cases
}
