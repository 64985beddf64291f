//! `accept`: connections per second, a new one for every request.

use anyhow::Result;

use super::Args;
use super::contender::{Mechanism, Program, Way};
use super::report::{Report, Target};
use super::session::Session;
use super::turns::Turns;

const LINE_UP: [(Program, Way); 10] = [
    (Program::Rust, Way::Reuseport),
    (Program::Rust, Way::Tine(Mechanism::Ebpf)),
    (Program::Rust, Way::Tine(Mechanism::Cbpf)),
    (Program::Node, Way::Reuseport),
    (Program::Node, Way::Tine(Mechanism::Ebpf)),
    (Program::Node, Way::Tine(Mechanism::Cbpf)),
    (Program::Node, Way::Tine(Mechanism::OneQueue)),
    (Program::Node, Way::Tine(Mechanism::HandOver)),
    (Program::Node, Way::NodeCluster),
    (Program::Node, Way::Pm2),
];

pub(crate) fn measure(session: &Session, args: &Args) -> Result<Report> {
    let turns = Turns::run(session, args, &LINE_UP, args.workers(), args.rounds(15))?;
    let mut report = Report::new("accept");
    turns.figures(&mut report);
    rates(&mut report, &turns);
    managers(&mut report, &turns);
    Ok(report)
}

fn rates(report: &mut Report, turns: &Turns) {
    use Mechanism::{Cbpf, Ebpf, HandOver};
    let mut claim = |program: Program, way: Mechanism, other: Way, target| {
        let way = Way::Tine(way);
        let value = turns.ratio((program, way), (program, other));
        report.claim(format!("{program}: {way} / {other}"), value, target);
    };
    for mechanism in [Ebpf, Cbpf] {
        claim(Program::Rust, mechanism, Way::Reuseport, Target::AtLeast(0.95));
        claim(Program::Node, mechanism, Way::Reuseport, Target::AtLeast(0.95));
        claim(Program::Node, mechanism, Way::NodeCluster, Target::Above(1.5));
        claim(Program::Node, mechanism, Way::Pm2, Target::Above(2.0));
    }
    claim(Program::Node, HandOver, Way::NodeCluster, Target::AtLeast(1.0));
}

/// One tick more is what the clock may round.
fn managers(report: &mut Report, turns: &Turns) {
    for entry in &turns.entries {
        let Way::Tine(Mechanism::Ebpf | Mechanism::Cbpf) = entry.way else { continue };
        let what = format!("{}: {}: manager's ticks beside idle", entry.program, entry.way);
        report.claim(what, entry.manager_beside_idle(), Target::AtMost(1.0));
    }
}
