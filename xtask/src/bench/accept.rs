//! `accept`: connections per second, a new one for every request.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, getpid};

use super::Args;
use super::contender::{Contender, Mechanism, Program, Way, start};
use super::load::{Rate, rate};
use super::procfs::{cpu_ticks, ticks_per_second};
use super::report::{Report, Target};
use super::session::Session;
use super::stats::{self, median, spread};

/// A fresh node is still compiling; the first second says little.
const WARM_UP: Duration = Duration::from_secs(2);

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

/// One contender and its rounds so far.
struct Entry {
    program: Program,
    way: Way,
    contender: Result<Contender>,
    rates: Vec<f64>,
    failures: usize,
    first_failure: Option<String>,
    /// The manager's clock ticks while its workers were loaded.
    load_ticks: u64,
    /// The manager's clock ticks over the same time while nobody was.
    idle_ticks: u64,
}

/// What the generator itself has used, to be told apart from what it measured.
#[derive(Default)]
struct Generator {
    ticks: u64,
    connections: usize,
}

pub(crate) fn measure(session: &Session, args: &Args) -> Result<Report> {
    let (turn, clients, rounds) = (args.turn()?, args.clients.into(), args.rounds(15));
    let mut entries =
        LINE_UP.map(|(program, way)| Entry::new(session, program, way, args.workers()));
    let mut generator = Generator::default();
    for entry in entries.iter().filter_map(|entry| entry.contender.as_ref().ok()) {
        rate(entry.addr, clients, WARM_UP);
    }
    for round in 1..=rounds {
        eprintln!("accept: round {round} of {rounds}");
        idle(&mut entries, turn)?;
        // Everyone comes first once, and last: a turn may leave work behind for the next one.
        entries.rotate_left(1);
        for entry in &mut entries {
            entry.take_turn(&mut generator, clients, turn)?;
        }
    }
    // Back to the order of the report.
    entries.rotate_right(rounds % LINE_UP.len());
    Ok(report(&entries, &generator, args))
}

/// A turn in which nobody is loaded: what a manager uses now, it uses for itself.
fn idle(entries: &mut [Entry], turn: Duration) -> Result<()> {
    let before: Vec<Option<u64>> = entries.iter().map(Entry::ticks).collect::<Result<_>>()?;
    sleep(turn);
    for (entry, before) in entries.iter_mut().zip(before) {
        entry.idle_ticks += entry.ticks()?.unwrap_or(0) - before.unwrap_or(0);
    }
    Ok(())
}

impl Entry {
    fn new(session: &Session, program: Program, way: Way, workers: usize) -> Self {
        eprintln!("accept: start {program}, {way}");
        let contender = start(session, way, program, workers);
        let (rates, failures, first_failure) = (Vec::new(), 0, None);
        let (load_ticks, idle_ticks) = (0, 0);
        Self { program, way, contender, rates, failures, first_failure, load_ticks, idle_ticks }
    }

    fn manager(&self) -> Option<Pid> {
        self.contender.as_ref().ok()?.manager
    }

    fn ticks(&self) -> Result<Option<u64>> {
        self.manager().map(cpu_ticks).transpose()
    }

    fn take_turn(
        &mut self,
        generator: &mut Generator,
        clients: usize,
        turn: Duration,
    ) -> Result<()> {
        let Ok(contender) = &self.contender else { return Ok(()) };
        let (own, before) = (cpu_ticks(getpid())?, self.ticks()?.unwrap_or(0));
        let rate = rate(contender.addr, clients, turn);
        generator.ticks += cpu_ticks(getpid())? - own;
        generator.connections += rate.answers;
        self.load_ticks += self.ticks()?.unwrap_or(0) - before;
        self.add(rate)
    }

    fn add(&mut self, rate: Rate) -> Result<()> {
        ensure!(rate.answers > 0, "{} under {} answers nobody", self.program, self.way);
        self.rates.push(rate.per_second);
        self.failures += rate.failures;
        self.first_failure = self.first_failure.take().or(rate.first_failure);
        Ok(())
    }

    fn detail(&self) -> String {
        let (low, high) = spread(&self.rates).unwrap_or_default();
        let (load, idle) = (self.load_ticks, self.idle_ticks);
        let manager = self.manager().map(|_| format!("; manager used {load} ticks, idle {idle}"));
        let failed = self.first_failure.as_ref();
        let failed = failed.map(|why| format!("; {} failed: {why}", self.failures));
        format!(
            "{low:.0} to {high:.0}{}{}",
            manager.unwrap_or_default(),
            failed.unwrap_or_default()
        )
    }
}

fn report(entries: &[Entry], generator: &Generator, args: &Args) -> Report {
    let mut report = Report::new("accept");
    for entry in entries {
        let subject = format!("{}, {}", entry.program, entry.way);
        match &entry.contender {
            Ok(_) => report.figure(subject, median(&entry.rates), "conn/s", entry.detail()),
            Err(why) => report.not_run(subject, why),
        }
    }
    report.figure("the generator itself", generator.microseconds(), "us CPU/conn", setting(args));
    rates(&mut report, entries);
    managers(&mut report, entries);
    report
}

fn setting(args: &Args) -> String {
    format!("{} clients, {} workers a contender", args.clients, args.workers())
}

fn rates(report: &mut Report, entries: &[Entry]) {
    use Mechanism::{Cbpf, Ebpf, HandOver};
    let mut claim = |program: Program, way: Mechanism, other: Way, target| {
        let way = Way::Tine(way);
        let value = ratio(entries, program, way, other);
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

fn ratio(entries: &[Entry], program: Program, way: Way, other: Way) -> Option<f64> {
    let rates = |way| {
        let entry = entries.iter().find(|entry| entry.program == program && entry.way == way)?;
        Some(&entry.rates)
    };
    stats::ratio(rates(way)?, rates(other)?)
}

/// One tick more is what the clock may round.
fn managers(report: &mut Report, entries: &[Entry]) {
    for entry in entries {
        let Way::Tine(Mechanism::Ebpf | Mechanism::Cbpf) = entry.way else { continue };
        #[expect(clippy::cast_precision_loss, reason = "ticks of a minute")]
        let beside = entry.manager().map(|_| entry.load_ticks as f64 - entry.idle_ticks as f64);
        let what = format!("{}: {}: manager's ticks beside idle", entry.program, entry.way);
        report.claim(what, beside, Target::AtMost(1.0));
    }
}

impl Generator {
    #[expect(clippy::cast_precision_loss, reason = "ticks and connections of a minute")]
    fn microseconds(&self) -> Option<f64> {
        let seconds = self.ticks as f64 / ticks_per_second();
        (self.connections > 0).then(|| seconds * 1e6 / self.connections as f64)
    }
}
