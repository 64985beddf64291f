//! A background manager with a home of its own, as a user would start and ask it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

use super::process::{Running, leader};
use super::session::{Session, run};

/// A manager that does not answer by then never will.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// A running manager. Dropping it ends it with its apps.
pub(crate) struct Daemon {
    tine: PathBuf,
    home: PathBuf,
    pid: Pid,
    _running: Running,
}

impl Daemon {
    /// Starts it with an empty home, and returns once it answers.
    pub(crate) fn start(session: &Session) -> Result<Self> {
        let home = session.scratch.join("home");
        if home.exists() {
            fs::remove_dir_all(&home).context("remove the last home")?;
        }
        let mut command = leader(&session.tine);
        command.args(["daemon", "--foreground"]).env("TINE_HOME", &home).stdin(Stdio::null());
        let running = Running::start(&session.guard, command)?;
        let tine = session.tine.clone();
        let started = Instant::now();
        loop {
            let mut ask = Command::new(&tine);
            let answer = ask.arg("pid").env("TINE_HOME", &home).output().context("run tine pid")?;
            let pid = String::from_utf8_lossy(&answer.stdout);
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                return Ok(Self { tine, home, pid, _running: running });
            }
            running.must_be_alive()?;
            ensure!(started.elapsed() < DEADLINE, "the manager does not answer");
            sleep(PAUSE);
        }
    }

    /// The manager itself, whoever started it.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// One command to it, still to be run.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.tine);
        command.args(words).env("TINE_HOME", &self.home);
        command
    }

    /// Runs one command to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command(words))
    }
}
