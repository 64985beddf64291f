//! pm2, with a home of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use compliance::{Load, Serving};

use super::app::{App, Done};
use super::stage::{Stage, WORKERS};

pub(crate) struct Pm2 {
    script: PathBuf,
}

impl Pm2 {
    pub(crate) fn new(script: &Path) -> Self {
        Self { script: script.to_owned() }
    }

    fn pm2(&self, stage: &Stage, words: &str) -> Result<Done> {
        let mut command = stage.home.command("node");
        command.arg(&self.script).args(words.split(' '));
        command.env("PM2_HOME", home(stage)).env("PORT", stage.port.to_string());
        if stage.serving == Serving::NodeHandlers {
            command.env("HANDLERS", "1");
        }
        let output = command.output().context("run pm2")?;
        Ok(Some(output.status.code().unwrap_or(-1)))
    }
}

fn home(stage: &Stage) -> PathBuf {
    stage.home.folder().join(".pm2")
}

impl App for Pm2 {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        ensure!(
            self.script.exists(),
            "no pm2 here: npm install --prefix target/bench pm2, or cargo xtask bench accept"
        );
        let done = self.pm2(stage, &format!("start serve.js --name app -i {WORKERS}"))?;
        ensure!(done == Some(0), "pm2 start failed");
        Ok(())
    }

    fn reload(&mut self, stage: &Stage, _: &Load, _: Option<&str>) -> Result<Done> {
        self.pm2(stage, "reload app")
    }

    fn scale(&mut self, stage: &Stage) -> Result<Done> {
        let mut done = None;
        for words in ["scale app +2", "scale app 2", "scale app +2"] {
            done = done.max(self.pm2(stage, words)?);
        }
        Ok(done)
    }

    fn restart(&mut self, stage: &Stage) -> Result<Done> {
        self.pm2(stage, "restart app")
    }

    fn kill_worker(&mut self, stage: &mut Stage, load: &Load) -> Result<Done> {
        kill_one_that_answers(stage, load);
        Ok(None)
    }

    /// Nobody brings it back.
    fn kill_manager(&mut self, stage: &Stage) -> Result<Done> {
        let pid = fs::read_to_string(home(stage).join("pm2.pid")).context("find pm2's daemon")?;
        stage.home.kill(pid.trim().parse().context("read the daemon's pid")?);
        Ok(None)
    }

    fn update(&mut self, stage: &Stage, _: &Load) -> Result<Done> {
        self.pm2(stage, "update")
    }
}

/// Kills one of those who answer just now, and gives its manager a second to replace it.
pub(crate) fn kill_one_that_answers(stage: &mut Stage, load: &Load) {
    drop(load.look());
    let mut victim = None;
    super::stage::within(Duration::from_secs(5), || {
        victim = load.look().pids.pop_first();
        victim.is_some()
    });
    if let Some(pid) = victim {
        stage.kill_worker(pid, load);
    }
    // The next kill is to meet a full set again; none of them says when it has one.
    std::thread::sleep(Duration::from_secs(1));
}
