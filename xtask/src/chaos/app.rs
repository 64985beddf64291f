//! What every system is asked to do.

use anyhow::Result;
use compliance::{Load, Version};

use super::line_up::{Entry, System};
use super::scenario::Scenario;
use super::stage::Stage;
use super::{Tools, cluster, gunicorn, pm2, tine};

/// The exit code of the command that did it; `None` where it was a signal.
pub(crate) type Done = Option<i32>;

/// A system that runs an app on a stage.
pub(crate) trait App {
    fn start(&mut self, stage: &Stage) -> Result<()>;
    fn reload(&mut self, stage: &Stage, load: &Load, wanted: Option<&str>) -> Result<Done>;
    fn scale(&mut self, stage: &Stage) -> Result<Done>;
    fn restart(&mut self, stage: &Stage) -> Result<Done>;
    /// One of those that run, but not the same one every time.
    fn kill_worker(&mut self, stage: &mut Stage, load: &Load) -> Result<Done>;
    fn kill_manager(&mut self, stage: &Stage) -> Result<Done>;
    fn update(&mut self, stage: &Stage, load: &Load) -> Result<Done>;

    /// Kills the manager while it carries out the first command, and gives the second one to the next manager.
    /// This and what follows is for tine alone.
    fn kill_amidst(&mut self, _: &Stage, _: [&'static str; 2]) -> Result<Done> {
        Ok(None)
    }

    /// Kills the manager and who watches it, neither of whom is to see the other's end.
    fn kill_both(&mut self, _: &Stage) -> Result<Done> {
        Ok(None)
    }

    fn kill_watchdog(&mut self, _: &Stage) -> Result<Done> {
        Ok(None)
    }
}

/// The system of this entry.
pub(crate) fn of(entry: Entry, tools: &Tools) -> Box<dyn App> {
    match entry.system {
        System::Tine(mechanism) => Box::new(tine::Tine::new(mechanism)),
        System::Pm2 => Box::new(pm2::Pm2::new(&tools.pm2)),
        System::Gunicorn => Box::new(gunicorn::Gunicorn::new(&tools.gunicorn)),
        System::NodeCluster => Box::new(cluster::Cluster::default()),
    }
}

/// Does it once.
pub(crate) fn act(
    app: &mut dyn App,
    scenario: Scenario,
    stage: &mut Stage,
    load: &Load,
) -> Result<Done> {
    match scenario {
        Scenario::Steady => Ok(None),
        Scenario::Reload => {
            let version = stage.renew();
            app.reload(stage, load, Some(&version))
        }
        Scenario::ReloadCrash => broken(app, Version::Crashes, stage, load),
        Scenario::ReloadSilent => broken(app, Version::IsSilent, stage, load),
        Scenario::Scale => app.scale(stage),
        Scenario::Restart => {
            stage.renew();
            app.restart(stage)
        }
        Scenario::KillWorker => app.kill_worker(stage, load),
        Scenario::KillManager => app.kill_manager(stage),
        Scenario::Update => app.update(stage, load),
        Scenario::KillAmidstReload => app.kill_amidst(stage, ["reload app", "reload app"]),
        Scenario::KillAmidstScale => app.kill_amidst(stage, ["scale app +2", "scale app 4"]),
        Scenario::KillAmidstRestart => app.kill_amidst(stage, ["restart app", "restart app"]),
        Scenario::KillBoth => app.kill_both(stage),
        Scenario::KillWatchdog => app.kill_watchdog(stage),
    }
}

/// What is started later is to work again: a system that replaces what it has taken down may recover.
fn broken(app: &mut dyn App, version: Version, stage: &mut Stage, load: &Load) -> Result<Done> {
    stage.become_version(version);
    let done = app.reload(stage, load, None);
    stage.renew();
    done
}
