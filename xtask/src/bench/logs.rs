//! `logs`: how much a second one worker can write that does nothing else, lines of 100 bytes, until all of it is in the
//! file. Beside it `cat >file` on the same pipe, and pm2; and the program with nothing in between, which is all that a
//! file takes.
//!
//! tine is there twice: the manager with all that it does, and its log writer by itself (`examples/logwriter.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

use super::contender::pid_in_file;
use super::daemon::Daemon;
use super::process::Running;
use super::procfs::resident_mib;
use super::report::{Report, Target};
use super::session::{Session, run};
use super::stats::{median, ratio, spread};

/// Written in one round, by each. Much more would measure the disk.
const BYTES: u64 = 128 << 20;
/// For pm2 to have written them: now and then it loses some when its program ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// One contender's rounds.
#[derive(Default)]
struct Rates {
    /// Megabytes a second.
    speeds: Vec<f64>,
    /// Of the process in between, at its peak, in MiB.
    memory: Vec<f64>,
    failure: Option<anyhow::Error>,
}

/// Rate and memory of a round.
type Round = (f64, Option<f64>);

pub(crate) fn measure(session: &Session, rounds: usize) -> Report {
    let [mut straight, mut cat, mut daemon, mut plain, mut rotated, mut pm2] =
        [(); 6].map(|()| Rates::default());
    for round in 1..=rounds {
        eprintln!("logs: round {round} of {rounds}");
        straight.add(through_nothing(session));
        cat.add(through_cat(session));
        daemon.add(through_daemon(session));
        plain.add(through_tine(session, false));
        rotated.add(through_tine(session, true));
        pm2.add(through_pm2(session));
    }
    let mut report = Report::new("logs");
    straight.tell("straight into the file", &mut report);
    cat.tell("cat >file", &mut report);
    daemon.tell("tine", &mut report);
    plain.tell("tine's log writer alone", &mut report);
    rotated.tell("the same, setting aside and compressing", &mut report);
    pm2.tell("pm2", &mut report);
    let limit = ratio(&daemon.speeds, &straight.speeds);
    report.claim("tine / straight into the file", limit, Target::Above(0.5));
    report.claim("tine / cat", ratio(&daemon.speeds, &cat.speeds), Target::Above(0.5));
    report.claim("tine / pm2", ratio(&daemon.speeds, &pm2.speeds), Target::Above(10.0));
    let rotated_rate = ratio(&rotated.speeds, &pm2.speeds);
    report.claim("log writer, setting aside / pm2", rotated_rate, Target::Above(10.0));
    report.claim("tine's memory, MiB", median(&daemon.memory), Target::Below(16.0));
    report
}

impl Rates {
    fn add(&mut self, round: Result<Round>) {
        match round {
            Ok((rate, memory)) => {
                self.speeds.push(rate);
                self.memory.extend(memory);
            }
            Err(error) => self.failure = Some(error),
        }
    }

    fn tell(&self, subject: &str, report: &mut Report) {
        if let Some(why) = &self.failure {
            report.not_run(subject, why);
        }
        let (low, high) = spread(&self.speeds).unwrap_or_default();
        let memory = median(&self.memory).map(|mib| format!(", {mib:.1} MiB"));
        let detail = format!("{low:.0} to {high:.0}{}", memory.unwrap_or_default());
        report.figure(subject, median(&self.speeds), "MB/s", detail);
    }
}

/// An empty folder for one round.
fn folder(session: &Session) -> Result<PathBuf> {
    let folder = session.scratch.join("logs");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove the last round")?;
    }
    fs::create_dir_all(&folder).context("make a folder for a round")?;
    Ok(folder)
}

fn chatter<'a>(command: &'a mut Command, folder: &Path, bytes: u64) -> &'a mut Command {
    command.env("STARTED", folder.join("started")).env("BYTES", bytes.to_string())
}

/// What has been written since the program began, in MB/s.
fn rate(folder: &Path, bytes: u64, ended: SystemTime) -> Result<f64> {
    let began = fs::read_to_string(folder.join("started")).context("read when it began")?;
    let began = UNIX_EPOCH + Duration::from_micros(began.parse().context("read when it began")?);
    let time = ended.duration_since(began).context("a clock that went back")?;
    #[expect(clippy::cast_precision_loss, reason = "megabytes are enough")]
    Ok(bytes as f64 / 1e6 / time.as_secs_f64())
}

fn through_nothing(session: &Session) -> Result<Round> {
    let folder = folder(session)?;
    let out = fs::File::create(folder.join("out.log")).context("make a file")?;
    let mut command = Command::new(session.chatter());
    let command = chatter(&mut command, &folder, BYTES).stdin(Stdio::null());
    let status = command.stdout(out).status().context("start a program")?;
    let ended = SystemTime::now();
    ensure!(status.success(), "the program failed");
    ensure!(written(&folder) >= BYTES - BYTES % 8000, "something was lost");
    Ok((rate(&folder, BYTES, ended)?, None))
}

fn through_cat(session: &Session) -> Result<Round> {
    let folder = folder(session)?;
    let out = fs::File::create(folder.join("out.log")).context("make a file")?;
    let mut command = Command::new(session.chatter());
    let command = chatter(&mut command, &folder, BYTES).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().context("start a program")?;
    let pipe = child.stdout.take().context("its pipe")?;
    let cat = Command::new("cat").stdin(pipe).stdout(out).status().context("run cat")?;
    let ended = SystemTime::now();
    ensure!(cat.success() && child.wait()?.success(), "a program failed");
    ensure!(written(&folder) >= BYTES - BYTES % 8000, "something was lost");
    Ok((rate(&folder, BYTES, ended)?, None))
}

fn through_tine(session: &Session, rotate: bool) -> Result<Round> {
    let folder = folder(session)?;
    let mut command = Command::new(session.log_writer());
    let command = chatter(&mut command, &folder, BYTES).stdin(Stdio::null());
    command.env("PROGRAM", session.chatter()).env("OUT", folder.join("out.log"));
    if rotate {
        command.env("ROTATE", "1");
    }
    let output = command.output().context("run the log writer")?;
    let ended = SystemTime::now();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaint.is_empty(), "it failed: {}", complaint.trim());
    ensure!(rotate || written(&folder) >= BYTES - BYTES % 8000, "something was lost");
    let peak = said.trim().strip_prefix("peak ").and_then(|kib| kib.parse::<f64>().ok());
    Ok((rate(&folder, BYTES, ended)?, peak.map(|kib| kib / 1024.0)))
}

/// `tine start` of the same program: the manager with a home of its own.
fn through_daemon(session: &Session) -> Result<Round> {
    let folder = folder(session)?;
    let daemon = Daemon::start(session)?;
    let file = folder.join("app.json");
    let app = serde_json::json!({
        "name": "chatter", "script": session.chatter(), "interpreter": "none", "autorestart": false,
        "out_file": folder.join("out.log"), "log_rotation": false,
        "env": { "STARTED": folder.join("started"), "BYTES": BYTES.to_string() },
    });
    fs::write(&file, app.to_string()).context("write the app's file")?;
    // The command waits until the app is ready or has ended; that is not to be measured.
    let mut start = daemon.command(&["start"]);
    let mut start = start.arg(&file).arg("--silent").stdin(Stdio::null()).spawn()?;
    let round = all_written(&folder, daemon.pid(), "tine");
    start.wait()?;
    daemon.ask(&["kill"])?;
    round
}

/// `pm2 start` of the same program, with a home of its own.
fn through_pm2(session: &Session) -> Result<Round> {
    let folder = folder(session)?;
    let home = folder.join("pm2");
    let mut command = Command::new("node");
    let command = chatter(command.arg(session.pm2()?), &folder, BYTES);
    command.arg("start").arg(session.chatter()).args(["--interpreter", "none"]);
    command.args(["--no-autorestart", "--merge-logs", "--output"]).arg(folder.join("out.log"));
    let outcome = run(command.env("PM2_HOME", &home));
    // The daemon may be there although the command failed, so it is taken charge of first.
    let daemon = Running::adopt(&session.guard, pid_in_file(&home.join("pm2.pid"))?)?;
    outcome?;
    all_written(&folder, daemon.pid(), "pm2")
}

/// Waits until all of it is in the file, and looks at the memory of `through` meanwhile.
fn all_written(folder: &Path, through: Pid, named: &str) -> Result<Round> {
    let (began, mut peak) = (Instant::now(), 0.0_f64);
    while written(folder) < BYTES - BYTES % 8000 {
        let so_far = written(folder);
        ensure!(began.elapsed() < PATIENCE, "{named} wrote {so_far} of {BYTES} bytes");
        peak = peak.max(resident_mib(through)?);
        // How often it is looked; there is nothing to wait on.
        thread::sleep(Duration::from_millis(2));
    }
    Ok((rate(folder, BYTES, SystemTime::now())?, Some(peak)))
}

fn written(folder: &Path) -> u64 {
    fs::metadata(folder.join("out.log")).map_or(0, |metadata| metadata.len())
}
