//! `compliance/servers/cluster.js`: what a careful user writes with Node's own cluster.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use compliance::Load;
use rustix::process::Signal;

use super::app::{App, Done};
use super::pm2::kill_one_that_answers;
use super::stage::{Stage, WORKERS, within};

const DOING: Duration = Duration::from_secs(15);
const LOG: &str = "cluster.log";

#[derive(Default)]
pub(crate) struct Cluster {
    primary: u32,
}

/// How often it has said that a reload is over, and how the last one was.
fn reloads(stage: &Stage) -> (usize, bool) {
    let log = fs::read_to_string(stage.home.folder().join(LOG)).unwrap_or_default();
    let told: Vec<&str> = log.lines().filter(|line| line.starts_with("reload: ")).collect();
    (told.len(), told.last().is_some_and(|line| *line == "reload: done"))
}

impl App for Cluster {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        let mut command = stage.home.command("node");
        command.arg("cluster.js").env("PORT", stage.port.to_string());
        command.env("WORKERS", WORKERS.to_string());
        // It is in a session of its own, so setsid(1) becomes it and the pid stays.
        let primary = stage.home.spawn(&command, LOG).context("start a primary")?;
        self.primary = primary.id();
        Ok(())
    }

    fn reload(&mut self, stage: &Stage, _: &Load, _: Option<&str>) -> Result<Done> {
        let (before, _) = reloads(stage);
        stage.home.signal(self.primary, Signal::HUP);
        within(DOING, || reloads(stage).0 > before);
        let (after, well) = reloads(stage);
        Ok(Some(i32::from(after == before || !well)))
    }

    fn scale(&mut self, stage: &Stage) -> Result<Done> {
        for (signal, times) in [(Signal::USR2, 2), (Signal::WINCH, 4), (Signal::USR2, 2)] {
            for _ in 0..times {
                stage.home.signal(self.primary, signal);
                // Two of a kind at once are one.
                std::thread::sleep(Duration::from_millis(100));
            }
            std::thread::sleep(Duration::from_millis(400));
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
        stage.home.kill(self.primary);
        Ok(None)
    }

    fn update(&mut self, _: &Stage, _: &Load) -> Result<Done> {
        Ok(None)
    }
}
