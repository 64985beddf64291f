//! `handover`: connections per second through a primary that accepts and passes them on.
//!
//! The workers are as small as they can be, so that it is the primary that is measured: Node's own
//! with node workers, tine with the same, and tine with workers that speak its own protocol.

use anyhow::Result;

use super::Args;
use super::contender::{Mechanism, Program, Way};
use super::report::{Report, Target};
use super::session::Session;
use super::turns::Turns;

const OURS: Way = Way::Tine(Mechanism::HandOver);
const LINE_UP: [(Program, Way); 3] =
    [(Program::Trivial, Way::NodeCluster), (Program::Trivial, OURS), (Program::Native, OURS)];
const WORKERS: usize = 4;

pub(crate) fn measure(session: &Session, args: &Args) -> Result<Report> {
    let turns = Turns::run(session, args, &LINE_UP, WORKERS, args.rounds(15))?;
    let mut report = Report::new("handover");
    turns.figures(&mut report);
    for entry in &turns.entries {
        let subject = format!("{}, {}: the primary", entry.program, entry.way);
        report.figure(subject, entry.manager_microseconds(), "us CPU/conn", "");
    }
    let node = (Program::Trivial, Way::NodeCluster);
    let mut claim = |program: Program, target| {
        let value = turns.ratio((program, OURS), node);
        report.claim(format!("{program}: {OURS} / Node's own primary"), value, target);
    };
    claim(Program::Trivial, Target::AtLeast(1.0));
    claim(Program::Native, Target::AtLeast(2.0));
    Ok(report)
}
