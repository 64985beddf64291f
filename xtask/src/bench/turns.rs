//! Contenders that are loaded in turn: their rates, and the processor time of their managers.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Pid, getpid};

use super::Args;
use super::contender::{Contender, Program, Way, start};
use super::load::{Rate, rate};
use super::procfs::{cpu_ticks, prefer, ticks_per_second};
use super::report::Report;
use super::session::Session;
use super::stats::{self, median, spread};

/// A fresh node is still compiling; the first second says little.
const WARM_UP: Duration = Duration::from_secs(2);

/// All contenders of a benchmark, and what loaded them.
pub(crate) struct Turns {
    pub(crate) entries: Vec<Entry>,
    generator: Generator,
    clients: usize,
    workers: usize,
    /// All were put before whatever else the machine did.
    preferred: bool,
}

/// One contender and its rounds so far.
pub(crate) struct Entry {
    pub(crate) program: Program,
    pub(crate) way: Way,
    contender: Result<Contender>,
    rates: Vec<f64>,
    answers: usize,
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

impl Turns {
    /// Starts `workers` of each, and loads them in turn.
    pub(crate) fn run(
        session: &Session,
        args: &Args,
        line_up: &[(Program, Way)],
        workers: usize,
        rounds: usize,
    ) -> Result<Self> {
        let (turn, clients) = (args.turn()?, args.clients.into());
        let started =
            line_up.iter().map(|&(program, way)| Entry::new(session, program, way, workers));
        let mut entries: Vec<Entry> = started.collect();
        let mut generator = Generator::default();
        // Others use the machine, too: what they do shall not decide who comes first.
        let mut preferred = prefer(getpid());
        for contender in entries.iter().filter_map(|entry| entry.contender.as_ref().ok()) {
            rate(contender.addr, clients, WARM_UP);
            preferred &= contender.prefer();
        }
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            idle(&mut entries, turn)?;
            // Everyone comes first once, and last: a turn may leave work behind for the next one.
            entries.rotate_left(1);
            for entry in &mut entries {
                entry.take_turn(&mut generator, clients, turn)?;
            }
        }
        // Back to the order of the report.
        let back = rounds % entries.len();
        entries.rotate_right(back);
        Ok(Self { entries, generator, clients, workers, preferred })
    }

    /// The rates of all, and what the generator used itself.
    pub(crate) fn figures(&self, report: &mut Report) {
        for entry in &self.entries {
            let subject = format!("{}, {}", entry.program, entry.way);
            match &entry.contender {
                Ok(_) => report.figure(subject, median(&entry.rates), "conn/s", entry.detail()),
                Err(why) => report.not_run(subject, why),
            }
        }
        let preferred = if self.preferred { "; all preferred by autogroup" } else { "" };
        let setting =
            format!("{} clients, {} workers a contender{preferred}", self.clients, self.workers);
        let used = self.generator.microseconds();
        report.figure("the generator itself", used, "us CPU/conn", setting);
    }

    /// The median of the first one's rate over the second one's, turn by turn.
    pub(crate) fn ratio(&self, one: (Program, Way), other: (Program, Way)) -> Option<f64> {
        stats::ratio(&self.find(one)?.rates, &self.find(other)?.rates)
    }

    pub(crate) fn find(&self, (program, way): (Program, Way)) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.program == program && entry.way == way)
    }
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
        eprintln!("start {program}, {way}");
        let contender = start(session, way, program, workers);
        let (rates, failures, first_failure) = (Vec::new(), 0, None);
        Self {
            program,
            way,
            contender,
            rates,
            answers: 0,
            failures,
            first_failure,
            load_ticks: 0,
            idle_ticks: 0,
        }
    }

    /// Processor time of the manager for each connection, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "ticks and connections of a minute")]
    pub(crate) fn manager_microseconds(&self) -> Option<f64> {
        self.manager()?;
        let seconds = self.load_ticks.saturating_sub(self.idle_ticks) as f64 / ticks_per_second();
        (self.answers > 0).then(|| seconds * 1e6 / self.answers as f64)
    }

    /// Clock ticks that the manager used more under load than over the same time without.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a minute")]
    pub(crate) fn manager_beside_idle(&self) -> Option<f64> {
        self.manager().map(|_| self.load_ticks as f64 - self.idle_ticks as f64)
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
        self.answers += rate.answers;
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

impl Generator {
    #[expect(clippy::cast_precision_loss, reason = "ticks and connections of a minute")]
    fn microseconds(&self) -> Option<f64> {
        let seconds = self.ticks as f64 / ticks_per_second();
        (self.connections > 0).then(|| seconds * 1e6 / self.connections as f64)
    }
}
