//! The background manager of tine.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use compliance::{Exit, Load};
use rustix::process::Signal;

use super::app::{App, Done};
use super::line_up::Mechanism;
use super::scenario::AMIDST;
use super::stage::{Stage, WORKERS, within};

/// A manager that was killed is back by then, or never.
const BACK: Duration = Duration::from_secs(10);

pub(crate) struct Tine {
    mechanism: Mechanism,
    killed: usize,
}

impl Tine {
    pub(crate) fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, killed: 0 }
    }
}

fn tine(stage: &Stage, words: &str) -> Exit {
    stage.home.tine(words.split(' '))
}

/// Only the command itself knows whether it has done what it was told.
fn code(stage: &Stage, words: &str) -> i32 {
    tine(stage, words).code.unwrap_or(-1)
}

/// One of each worker.
fn pid_files(stage: &Stage) -> Result<Vec<PathBuf>> {
    let folder = stage.home.folder().join(".tine/pids");
    let entries = fs::read_dir(&folder).context("look for workers' pids")?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// Waits for another manager that answers.
fn follows(stage: &Stage, manager: u32) {
    within(BACK, || {
        stage.home.manager().is_some_and(|pid| pid != manager)
            && tine(stage, "ping").code == Some(0)
    });
}

impl App for Tine {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        let (mechanism, policy) = (self.mechanism.name(), self.mechanism.policy());
        let mut options = vec!["--mechanism", mechanism, "--policy", policy];
        options.extend(["--listen-timeout", "4s"]);
        let place = stage.place();
        options.extend(place.iter().flat_map(|variable| ["--env", variable]));
        let exit = stage.home.tine(stage.serving.start(stage.port, WORKERS, &options));
        ensure!(exit.code == Some(0), "tine start: {}{}", exit.stdout, exit.stderr);
        Ok(())
    }

    fn reload(&mut self, stage: &Stage, _: &Load, _: Option<&str>) -> Result<Done> {
        Ok(Some(code(stage, "reload app")))
    }

    fn scale(&mut self, stage: &Stage) -> Result<Done> {
        let codes = ["scale app +2", "scale app -4", "scale app +2"].map(|it| code(stage, it));
        Ok(codes.into_iter().max())
    }

    fn restart(&mut self, stage: &Stage) -> Result<Done> {
        Ok(Some(code(stage, "restart app")))
    }

    /// Each instance in its turn, so that none ends too early again and again.
    fn kill_worker(&mut self, stage: &mut Stage, load: &Load) -> Result<Done> {
        let files = pid_files(stage)?;
        let Some(file) = files.get(self.killed % files.len().max(1)) else { return Ok(None) };
        let pid = || fs::read_to_string(file).ok()?.trim().parse::<u32>().ok();
        self.killed += 1;
        let Some(victim) = pid() else { return Ok(None) };
        stage.kill_worker(victim, load);
        within(BACK, || pid().is_some_and(|pid| pid != victim && compliance::is_alive(pid)));
        Ok(None)
    }

    /// Over when there is a manager that answers again.
    fn kill_manager(&mut self, stage: &Stage) -> Result<Done> {
        let Some(manager) = stage.home.manager() else { return Ok(None) };
        stage.home.kill(manager);
        follows(stage, manager);
        Ok(None)
    }

    fn update(&mut self, stage: &Stage, _: &Load) -> Result<Done> {
        Ok(Some(code(stage, "update")))
    }

    /// What the first command says is left alone: nobody knows what becomes of it.
    fn kill_amidst(&mut self, stage: &Stage, [first, second]: [&'static str; 2]) -> Result<Done> {
        let Some(manager) = stage.home.manager() else { return Ok(None) };
        let desk = stage.home.desk();
        let asked = thread::spawn(move || desk.ask(first.split(' ')));
        thread::sleep(Duration::from_millis(AMIDST[self.killed % AMIDST.len()]));
        self.killed += 1;
        stage.home.kill(manager);
        asked.join().map_err(|_| anyhow!("`tine {first}` has not ended"))?;
        follows(stage, manager);
        Ok(Some(code(stage, second)))
    }

    fn kill_both(&mut self, stage: &Stage) -> Result<Done> {
        let both = stage.home.watchdog().zip(stage.home.manager());
        let Some((watchdog, manager)) = both else { return Ok(None) };
        stage.home.signal(watchdog, Signal::STOP);
        stage.home.signal(manager, Signal::STOP);
        stage.home.kill(manager);
        stage.home.kill(watchdog);
        Ok(Some(code(stage, "ls")))
    }

    fn kill_watchdog(&mut self, stage: &Stage) -> Result<Done> {
        let both = stage.home.watchdog().zip(stage.home.manager());
        let Some((watchdog, manager)) = both else { return Ok(None) };
        stage.home.kill(watchdog);
        follows(stage, manager);
        Ok(None)
    }
}
