//! `manager`: what the background manager takes while nothing happens, and how fast `tine ls` answers.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

use super::daemon::Daemon;
use super::procfs::{cpu_ticks, resident_mib, ticks_per_second};
use super::report::{Report, Target};
use super::session::{Session, free_address};
use super::stats::{median, spread};

/// With how many workers `ls` is asked.
const LISTED: usize = 100;
/// With how many workers it is to stay small.
const MANY: usize = 500;
/// How long it is looked at while nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// After a start: buffers are given back a second after they were last used, and servers open their eyes.
const CALM: Duration = Duration::from_secs(5);

/// `runs` times `ls`; all else once.
pub(crate) fn measure(session: &Session, runs: usize) -> Report {
    let mut report = Report::new("manager");
    let found = found(session, runs, &mut report);
    let found = found.inspect_err(|why| report.not_run("the manager", why)).unwrap_or_default();
    report.claim("resident MiB with no app", found.empty, Target::Below(8.0));
    report.claim("resident MiB with 500 workers", found.many, Target::Below(20.0));
    report.claim("tine ls with 100 workers, ms", found.ls, Target::Below(10.0));
    report.claim("CPU in 10 idle seconds, no app, %", found.idle_empty, Target::AtMost(0.1));
    report.claim("CPU in 10 idle seconds, 500 workers, %", found.idle_many, Target::AtMost(1.0));
    report
}

/// What is held against targets.
#[derive(Default)]
struct Found {
    empty: Option<f64>,
    many: Option<f64>,
    ls: Option<f64>,
    idle_empty: Option<f64>,
    idle_many: Option<f64>,
}

fn found(session: &Session, runs: usize, report: &mut Report) -> Result<Found> {
    let daemon = Daemon::start(session)?;
    daemon.ask(&["ls"])?;
    let empty = resident(&daemon, 0, report)?;
    let idle_empty = idle(&daemon, 0, report)?;
    start(session, &daemon)?;
    let ls = list(&daemon, runs, report)?;
    eprintln!("manager: {MANY} workers");
    daemon.ask(&["scale", "hello", &MANY.to_string(), "--silent"])?;
    sleep(CALM);
    let many = resident(&daemon, MANY, report)?;
    let idle_many = idle(&daemon, MANY, report)?;
    list(&daemon, runs, report)?;
    daemon.ask(&["kill"])?;
    Ok(Found { empty, many, ls, idle_empty, idle_many })
}

fn start(session: &Session, daemon: &Daemon) -> Result<()> {
    eprintln!("manager: {LISTED} workers");
    let (program, port) = (session.rust_server(), free_address()?.port());
    let program = program.to_str().context("a path of letters")?;
    let (count, port) = (LISTED.to_string(), format!("PORT={port}"));
    daemon.ask(&["start", program, "--name", "hello", "-i", &count, "--env", &port, "--silent"])?;
    sleep(CALM);
    Ok(())
}

fn resident(daemon: &Daemon, workers: usize, report: &mut Report) -> Result<Option<f64>> {
    let memory = Some(resident_mib(daemon.pid())?);
    report.figure(subject(workers), memory, "MiB", "VmRSS");
    Ok(memory)
}

fn subject(workers: usize) -> String {
    if workers == 0 { "manager, no app".into() } else { format!("manager, {workers} workers") }
}

/// Percent of one processor.
fn idle(daemon: &Daemon, workers: usize, report: &mut Report) -> Result<Option<f64>> {
    let used = used_while_idle(daemon.pid())?;
    #[expect(clippy::cast_precision_loss, reason = "a handful of ticks")]
    let share = Some(used as f64 / ticks_per_second() / IDLE.as_secs_f64() * 100.0);
    let detail = format!("{used} ticks in {} s", IDLE.as_secs());
    report.figure(format!("{}, idle", subject(workers)), share, "% CPU", detail);
    Ok(share)
}

fn used_while_idle(pid: Pid) -> Result<u64> {
    let before = cpu_ticks(pid)?;
    sleep(IDLE);
    Ok(cpu_ticks(pid)?.saturating_sub(before))
}

/// Milliseconds from spawn to end, table and all; the first one, which loads the program, does not count.
fn list(daemon: &Daemon, runs: usize, report: &mut Report) -> Result<Option<f64>> {
    let workers = one_list(daemon)?.0;
    let times: Result<Vec<f64>> = (0..runs).map(|_| Ok(one_list(daemon)?.1)).collect();
    let times = times?;
    let (low, high) = spread(&times).unwrap_or_default();
    let detail = format!("whole process, {low:.1} to {high:.1} in {runs} runs");
    report.figure(format!("tine ls, {workers} workers"), median(&times), "ms", detail);
    Ok(median(&times))
}

/// How many workers it shows, and milliseconds.
fn one_list(daemon: &Daemon) -> Result<(usize, f64)> {
    let mut command = daemon.command(&["ls"]);
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("run tine ls")?;
    let time = began.elapsed().as_secs_f64() * 1000.0;
    ensure!(output.status.success(), "tine ls failed");
    let table = String::from_utf8_lossy(&output.stdout);
    Ok((table.lines().filter(|line| line.contains("online")).count(), time))
}
