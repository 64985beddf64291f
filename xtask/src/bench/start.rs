//! `start`: from spawn to the first answer, with and without tine; and what the manager weighs.

use std::net::SocketAddrV4;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::contender::{Mechanism, Program, Way, start, tine_run};
use super::load::{PATIENCE, Reply, ask};
use super::process::Running;
use super::procfs::resident_mib;
use super::report::{Report, Target};
use super::session::{Session, free_address};
use super::stats::{median, spread};

/// A program that has not answered by then never will.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a refused client waits: it must not take the processor from the program it waits for.
const PAUSE: Duration = Duration::from_micros(200);

/// `runs` starts of each program, bare and under tine in turn.
pub(crate) fn measure(session: &Session, runs: usize) -> Report {
    let mut report = Report::new("start");
    for program in [Program::Rust, Program::Go, Program::Node] {
        eprintln!("start: {program}");
        let times = alternate(session, program, runs);
        let bare = figure(&mut report, format!("{program}, bare"), &times.bare);
        let under = figure(&mut report, format!("{program}, tine run -i 1"), &times.under);
        let later = under.zip(bare).map(|(under, bare)| under - bare);
        let what = format!("{program}: first answer, ms later than the bare program");
        report.claim(what, later, Target::AtMost(10.0));
    }
    for (workers, limit) in [(3, 8.0), (200, 16.0)] {
        eprintln!("start: memory with {workers} workers");
        let memory = memory(&mut report, session, workers)
            .inspect_err(|why| report.not_run(format!("manager, {workers} workers"), why));
        let what = format!("manager's resident MiB with {workers} workers");
        report.claim(what, memory.ok(), Target::Below(limit));
    }
    report
}

/// Milliseconds to the first answer, run by run; a side that failed is not tried again.
struct Times {
    bare: Result<Vec<f64>>,
    under: Result<Vec<f64>>,
}

fn alternate(session: &Session, program: Program, runs: usize) -> Times {
    let mut times = Times { bare: Ok(Vec::new()), under: Ok(Vec::new()) };
    for _ in 0..runs {
        one_more(&mut times.bare, || {
            let addr = free_address()?;
            first_answer(session, program.bare(session, addr)?, addr)
        });
        one_more(&mut times.under, || {
            let addr = free_address()?;
            first_answer(session, tine_run(session, None, program, 1, addr)?, addr)
        });
    }
    times
}

fn one_more(times: &mut Result<Vec<f64>>, run: impl FnOnce() -> Result<f64>) {
    let Ok(done) = times else { return };
    match run() {
        Ok(time) => done.push(time),
        Err(why) => *times = Err(why),
    }
}

/// The median, with the spread beside it.
fn figure(report: &mut Report, subject: String, times: &Result<Vec<f64>>) -> Option<f64> {
    match times {
        Ok(times) => {
            let (low, high) = spread(times)?;
            let detail = format!("first answer, {low:.1} to {high:.1} in {} runs", times.len());
            report.figure(subject, median(times), "ms", detail);
            median(times)
        }
        Err(why) => {
            report.not_run(subject, why);
            None
        }
    }
}

/// Milliseconds until somebody answers on `addr`.
fn first_answer(session: &Session, command: Command, addr: SocketAddrV4) -> Result<f64> {
    let start = Instant::now();
    let running = Running::start(&session.guard, command)?;
    loop {
        match ask(addr, PATIENCE) {
            Ok(Reply::From(_)) => return Ok(start.elapsed().as_secs_f64() * 1000.0),
            Ok(Reply::Silence(_)) => bail!("a connection was taken and never answered"),
            Err(_) => running.must_be_alive()?,
        }
        ensure!(start.elapsed() < DEADLINE, "no answer in {DEADLINE:?}");
        sleep(PAUSE);
    }
}

fn memory(report: &mut Report, session: &Session, workers: usize) -> Result<f64> {
    let contender = start(session, Way::Tine(Mechanism::Ebpf), Program::Rust, workers)?;
    let memory = resident_mib(contender.manager.context("find the manager")?)?;
    report.figure(format!("manager, {workers} workers"), Some(memory), "MiB", "VmRSS, kernel-ebpf");
    Ok(memory)
}
