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
use super::stats::median;

/// A program that has not answered by then never will.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a refused client waits: it must not take the processor from the program it waits for.
const PAUSE: Duration = Duration::from_micros(200);

/// `runs` starts of each program, bare and under tine in turn.
pub(crate) fn measure(session: &Session, runs: usize) -> Report {
    let mut report = Report::new("start");
    for program in [Program::Rust, Program::Go, Program::Node] {
        eprintln!("start: {program}");
        let difference = first_answers(&mut report, session, program, runs)
            .inspect_err(|why| report.not_run(format!("{program}: first answer"), why));
        let what = format!("{program}: first answer, ms later than the bare program");
        report.claim(what, difference.ok(), Target::AtMost(10.0));
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

fn first_answers(
    report: &mut Report,
    session: &Session,
    program: Program,
    runs: usize,
) -> Result<f64> {
    let (mut bare, mut under) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let addr = free_address()?;
        bare.push(first_answer(session, program.bare(session, addr)?, addr)?);
        let addr = free_address()?;
        under.push(first_answer(session, tine_run(session, None, program, 1, addr)?, addr)?);
    }
    let (bare, under) = median(&bare).zip(median(&under)).context("not a single run")?;
    let detail = format!("median of {runs}");
    report.figure(format!("{program}, bare: first answer"), Some(bare), "ms", &detail);
    report.figure(format!("{program}, tine run -i 1"), Some(under), "ms", detail);
    Ok(under - bare)
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
