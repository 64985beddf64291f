//! `fair`: connections one after another over idle workers, counted by worker.

use std::collections::HashMap;

use anyhow::{Context, Result};

use super::contender::{Mechanism, Program, Way, start};
use super::load::one_by_one;
use super::report::{Report, Target};
use super::session::Session;
use super::stats::unevenness;

const CONNECTIONS: usize = 3_000;
const WORKERS: usize = 3;

/// Languages under kernel-ebpf, with the claim; then node under its own cluster and under nobody.
pub(crate) fn measure(session: &Session) -> Report {
    let mut report = Report::new("fair");
    for program in [Program::Node, Program::Python, Program::Go] {
        let difference = row(&mut report, session, Way::Tine(Mechanism::Ebpf), program);
        let what = format!("{program} under kernel-ebpf: largest minus smallest");
        report.claim(what, difference, Target::AtMost(1.0));
    }
    for way in [Way::NodeCluster, Way::Reuseport, Way::OneQueue] {
        row(&mut report, session, way, Program::Node);
    }
    report
}

fn row(report: &mut Report, session: &Session, way: Way, program: Program) -> Option<f64> {
    eprintln!("fair: {program}, {way}");
    let subject = format!("{program}, {way}");
    match count(session, way, program) {
        Ok(shares) => {
            #[expect(clippy::cast_precision_loss, reason = "at most 3 000")]
            let difference = unevenness(&shares, WORKERS) as f64;
            report.figure(subject, Some(difference), "connections", listed(&shares));
            Some(difference)
        }
        Err(why) => {
            report.not_run(subject, &why);
            None
        }
    }
}

fn count(session: &Session, way: Way, program: Program) -> Result<HashMap<u32, usize>> {
    let contender = start(session, way, program, WORKERS)?;
    one_by_one(contender.addr, CONNECTIONS).with_context(|| format!("ask {program} under {way}"))
}

/// The shares from the largest to the smallest; workers without any are filled up with zeros.
fn listed(shares: &HashMap<u32, usize>) -> String {
    let mut counts: Vec<usize> = shares.values().copied().collect();
    counts.resize(counts.len().max(WORKERS), 0);
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    counts.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_connections_is_listed_as_zero() {
        assert_eq!(listed(&HashMap::from([(7, 1), (8, 2999)])), "2999 / 1 / 0");
    }
}
