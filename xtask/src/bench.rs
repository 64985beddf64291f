//! `cargo xtask bench`: tine beside its peers, and against the limit.
//!
//! Contenders run side by side and are loaded in turn, round after round, so that whatever slows the
//! machine for a while slows all of them; figures are medians over the rounds. What each benchmark
//! measures, and what it found, is in `docs/benchmarks.md`.

mod accept;
mod blocked;
mod contender;
mod daemon;
mod fair;
mod guard;
mod handover;
mod load;
mod logs;
mod manager;
mod message;
mod process;
mod procfs;
mod report;
mod session;
mod start;
mod stats;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use report::Report;
use session::Session;

/// Measure tine beside its peers and against the limit
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One benchmark only; all of them otherwise
    name: Option<Name>,
    /// How often each contender has its turn (the default is the benchmark's own)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// `accept`, `handover`: how long a turn takes
    #[arg(long, default_value_t = 0.4, value_name = "SECONDS")]
    turn: f64,
    /// `accept`, `handover`: connections kept going at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// `accept`: workers of every contender (default: as many as there are processors, at least 2)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: Option<u16>,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "PATH")]
    tine: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Fail when a target is missed
    #[arg(long)]
    strict: bool,
    #[arg(long, hide = true, value_name = "SCRATCH")]
    guard: Option<PathBuf>,
}

/// The benchmarks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// How evenly connections are spread over idle workers
    Fair,
    /// What one blocked worker costs the clients
    Blocked,
    /// Connections per second
    Accept,
    /// Connections per second through the primary's hands
    Handover,
    /// Megabytes per second of a worker's output
    Logs,
    /// Memory and idle time of the background manager, and how fast `tine ls` is
    Manager,
    /// Messages per second between primary and worker
    Message,
    /// Time to the first answer, and the manager's memory
    Start,
}

impl Args {
    fn rounds(&self, default: u16) -> usize {
        self.rounds.unwrap_or(default).into()
    }

    fn turn(&self) -> Result<Duration> {
        ensure!((0.05..=60.0).contains(&self.turn), "a turn takes from 0.05 to 60 seconds");
        Ok(Duration::from_secs_f64(self.turn))
    }

    fn workers(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        self.workers.map_or(processors.max(2), usize::from)
    }
}

/// Measures and prints. The exit code tells of a missed target only with `--strict`; an error is what
/// kept it from measuring at all.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(scratch) = &args.guard {
        return guard::keep(scratch).map(|()| ExitCode::SUCCESS);
    }
    args.turn()?;
    let session = Session::open(args.tine.clone())?;
    let mut reports = Vec::new();
    for name in args.name.map_or_else(|| Name::value_variants().to_vec(), |name| vec![name]) {
        let report = measure(name, &session, args)?;
        if !args.json {
            println!("{}", report.text());
        }
        reports.push(report);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    }
    Ok(verdict(&reports, args.strict))
}

fn measure(name: Name, session: &Session, args: &Args) -> Result<Report> {
    match name {
        Name::Fair => Ok(fair::measure(session)),
        Name::Blocked => Ok(blocked::measure(session, args.rounds(5))),
        Name::Accept => accept::measure(session, args),
        Name::Handover => handover::measure(session, args),
        Name::Logs => Ok(logs::measure(session, args.rounds(5))),
        Name::Manager => Ok(manager::measure(session, args.rounds(20))),
        Name::Message => message::measure(session, args.rounds(7)),
        Name::Start => Ok(start::measure(session, args.rounds(30))),
    }
}

fn verdict(reports: &[Report], strict: bool) -> ExitCode {
    let scores = reports.iter().map(Report::score);
    let (claims, met) = scores.fold((0, 0), |sum, score| (sum.0 + score.0, sum.1 + score.1));
    eprintln!("{met} of {claims} targets met");
    if strict && met < claims { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
