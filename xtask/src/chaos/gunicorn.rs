//! gunicorn, with threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use compliance::Load;
use rustix::process::Signal;

use super::app::{App, Done};
use super::pm2::kill_one_that_answers;
use super::stage::{Stage, WORKERS, within};

/// It tells nobody when it has done what a signal wants; so long it may take.
const DOING: Duration = Duration::from_secs(8);

pub(crate) struct Gunicorn {
    script: PathBuf,
}

impl Gunicorn {
    pub(crate) fn new(script: &Path) -> Self {
        Self { script: script.to_owned() }
    }
}

fn master(stage: &Stage) -> Result<u32> {
    let text = fs::read_to_string(stage.home.folder().join("gunicorn.pid"));
    text.context("find gunicorn's master")?.trim().parse().context("read the master's pid")
}

impl App for Gunicorn {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        ensure!(self.script.exists(), "no gunicorn in target/venv");
        let address = format!("127.0.0.1:{}", stage.port);
        let mut command = stage.home.command(&self.script);
        command.args(["-w", &WORKERS.to_string(), "-k", "gthread", "--threads", "8"]);
        command.args(["--keep-alive", "5", "-b", &address, "--pid", "gunicorn.pid"]);
        command.arg("serve_wsgi:app");
        stage.home.spawn(&command, "gunicorn.log").context("start gunicorn")?;
        Ok(())
    }

    fn reload(&mut self, stage: &Stage, load: &Load, wanted: Option<&str>) -> Result<Done> {
        stage.home.signal(master(stage)?, Signal::HUP);
        drop(load.look());
        let replaced = || {
            let versions = load.look().versions;
            wanted.is_some_and(|wanted| versions.len() == 1 && versions.contains(wanted))
        };
        within(if wanted.is_some() { DOING } else { DOING / 2 }, replaced);
        Ok(None)
    }

    fn scale(&mut self, stage: &Stage) -> Result<Done> {
        for (signal, times) in [(Signal::TTIN, 2), (Signal::TTOU, 4), (Signal::TTIN, 2)] {
            for _ in 0..times {
                stage.home.signal(master(stage)?, signal);
            }
            // It takes them up one by one, and says nothing.
            std::thread::sleep(Duration::from_millis(700));
        }
        Ok(None)
    }

    fn restart(&mut self, _: &Stage) -> Result<Done> {
        Ok(None)
    }

    fn kill_worker(&mut self, stage: &mut Stage, load: &Load) -> Result<Done> {
        kill_one_that_answers(stage, load);
        Ok(None)
    }

    /// Nobody brings it back.
    fn kill_manager(&mut self, stage: &Stage) -> Result<Done> {
        stage.home.kill(master(stage)?);
        Ok(None)
    }

    /// A second master beside the first; when its workers serve, the first is told to go.
    fn update(&mut self, stage: &Stage, load: &Load) -> Result<Done> {
        let old = master(stage)?;
        let before = load.look().pids;
        stage.home.signal(old, Signal::USR2);
        let mut new = std::collections::BTreeSet::new();
        within(DOING, || {
            new.extend(load.look().pids.difference(&before).copied());
            new.len() >= WORKERS
        });
        stage.home.signal(old, Signal::TERM);
        within(DOING, || !compliance::is_alive(old));
        within(DOING, || master(stage).is_ok_and(|pid| pid != old));
        Ok(None)
    }
}
