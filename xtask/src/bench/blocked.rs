//! `blocked`: one of four workers stands still for the whole run; what do the clients notice?

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::contender::{Mechanism, Program, Way, start};
use super::load::{Batch, batch, block};
use super::report::{Report, Target};
use super::session::Session;
use super::stats::{median, percentile, ratio};

const WORKERS: usize = 4;
const CONNECTIONS: usize = 2_000;
const CLIENTS: usize = 4;
/// After this long a client opens its next connection, and leaves this one to wait.
const PATIENCE: Duration = Duration::from_millis(50);

/// What one way did, a value a round.
#[derive(Default)]
struct Rounds {
    /// Connections that the blocked worker had, waiting in its queue or accepted.
    stuck: Vec<f64>,
    failures: usize,
    /// 99th percentiles in milliseconds with nobody blocked and with one blocked.
    free: Vec<f64>,
    blocked: Vec<f64>,
    trouble: Option<anyhow::Error>,
}

const WAYS: [Way; 5] = [
    Way::Tine(Mechanism::Ebpf),
    Way::Tine(Mechanism::OneQueue),
    Way::NodeCluster,
    Way::Reuseport,
    Way::OneQueue,
];

/// Every way in turn, `rounds` times, each time with fresh workers.
pub(crate) fn measure(session: &Session, rounds: usize) -> Report {
    let mut results = WAYS.map(|way| (way, Rounds::default()));
    for round in 1..=rounds {
        for (way, result) in &mut results {
            eprintln!("blocked: round {round} of {rounds}, {way}");
            if result.trouble.is_none() {
                result.trouble = one_round(session, *way, result).err();
            }
        }
    }
    report(&results)
}

/// A run with nobody blocked, then one worker is blocked, then a second run.
fn one_round(session: &Session, way: Way, result: &mut Rounds) -> Result<()> {
    let contender = start(session, way, Program::Node, WORKERS)?;
    // The first requests of a fresh node are compiled while they wait.
    batch(contender.addr, CONNECTIONS, CLIENTS, PATIENCE);
    let free = batch(contender.addr, CONNECTIONS, CLIENTS, PATIENCE);
    ensure!(free.hanging == 0, "{} connections hang with nobody blocked", free.hanging);
    let (_kept, pid) = block(contender.addr).context("block a worker")?;
    let blocked = batch(contender.addr, CONNECTIONS, CLIENTS, PATIENCE);
    result.failures += free.failures + blocked.failures;
    result.free.push(p99(&free)?);
    result.blocked.push(p99(&blocked)?);
    result.stuck.push(stuck(&blocked, pid));
    Ok(())
}

fn p99(batch: &Batch) -> Result<f64> {
    percentile(&batch.latencies, 99).context("nobody answered")
}

#[expect(clippy::cast_precision_loss, reason = "at most 2 000")]
fn stuck(batch: &Batch, blocked: u32) -> f64 {
    (batch.hanging + batch.shares.get(&blocked).copied().unwrap_or(0)) as f64
}

fn report(results: &[(Way, Rounds)]) -> Report {
    let mut report = Report::new("blocked");
    for (way, rounds) in results {
        match &rounds.trouble {
            Some(why) => report.not_run(format!("node, {way}"), why),
            None => figures(&mut report, *way, rounds),
        }
    }
    let tine = results.iter().find(|(way, _)| *way == Way::Tine(Mechanism::Ebpf));
    let tine = tine.map(|(_, rounds)| rounds).filter(|rounds| rounds.trouble.is_none());
    let stuck = tine.and_then(Rounds::most_stuck);
    report.claim("kernel-ebpf: connections to the blocked worker", stuck, Target::AtMost(8.0));
    let slower = tine.and_then(Rounds::slowdown);
    report.claim("kernel-ebpf: p99 with one blocked / nobody", slower, Target::AtMost(2.0));
    let failures = tine.map(|rounds| f64::from(u32::try_from(rounds.failures).unwrap_or(u32::MAX)));
    report.claim("kernel-ebpf: connections refused or reset", failures, Target::AtMost(0.0));
    report
}

fn figures(report: &mut Report, way: Way, rounds: &Rounds) {
    let detail = format!("of {CONNECTIONS}, rounds {:?}, {} failed", rounds.stuck, rounds.failures);
    report.figure(format!("node, {way}: to the blocked"), rounds.most_stuck(), "", detail);
    let free = median(&rounds.free).unwrap_or(f64::NAN);
    let detail =
        format!("{:.2} x nobody blocked ({free:.2} ms)", rounds.slowdown().unwrap_or(f64::NAN));
    report.figure(format!("node, {way}: p99 of the others"), median(&rounds.blocked), "ms", detail);
}

impl Rounds {
    fn most_stuck(&self) -> Option<f64> {
        self.stuck.iter().copied().max_by(f64::total_cmp)
    }

    /// How much later the slowest hundredth is answered when one worker is blocked.
    fn slowdown(&self) -> Option<f64> {
        ratio(&self.blocked, &self.free)
    }
}
