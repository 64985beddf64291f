//! Gives an app new workers, with or without changes.

use std::collections::BTreeSet;

use tine_cluster::{
    core::{generations::Beside, rollout::Pace},
    id::Instance,
    policy::Policy,
    primary::{Reload, Settings},
};
use tokio::task::{JoinError, JoinHandle};

use super::{
    App, Facts,
    failure::replaced,
    versions::{Kept, beside},
};
use crate::{
    api::{apps::Outcome, reload::Rolling},
    causes::causes,
    daemon::{
        order::{Alter, Todo, Which},
        slot::{Reason, Slot},
    },
    spec::AppSpec,
    supervise::{
        guard,
        launch::{self, Launch},
    },
};

/// For all that a start needs.
type Search = JoinHandle<Result<Launch, String>>;

/// The app that comes of the change.
///
/// # Errors
///
/// When it would be none, as a sentence.
pub(in crate::daemon) fn altered(spec: &AppSpec, alter: Alter) -> Result<AppSpec, String> {
    let whole = alter.whole;
    let altered = if whole { alter.patch.apply_to_default() } else { alter.patch.apply_to(spec) };
    let mut altered = altered.map_err(|error| error.to_string())?;
    if altered.name.is_empty() {
        altered.name.clone_from(&spec.name);
    }
    match alter.inherited {
        Some(inherited) => altered.inherited = inherited,
        None if whole => altered.inherited.clone_from(&spec.inherited),
        None => {}
    }
    Ok(altered)
}

impl App {
    /// Finds all that a start needs.
    pub(super) async fn prepare(&mut self, spec: AppSpec) -> Result<Launch, String> {
        let found = self.search(spec);
        let found = self.during(found).await;
        self.found(found)
    }

    /// Reads files and may ask for users, so not on this thread.
    pub(super) fn search(&self, spec: AppSpec) -> Search {
        let place = std::sync::Arc::clone(&self.shared.place);
        tokio::task::spawn_blocking(move || {
            let launch = launch::settings(&spec, &place).map_err(|error| causes(&error))?;
            let checked = guard::check(&spec, &launch.settings.program);
            checked.map(|()| launch).map_err(|error| causes(&error))
        })
    }

    pub(super) fn found(
        &mut self,
        found: Result<Result<Launch, String>, JoinError>,
    ) -> Result<Launch, String> {
        let mut launch = found.map_err(|error| error.to_string())??;
        self.facts = facts(&launch);
        self.manage(&mut launch.settings);
        self.number(&mut launch.settings);
        Ok(launch)
    }

    /// Has each worker know its id.
    pub(super) fn number(&self, settings: &mut Settings) {
        let id = |slot: &Slot| vec![("pm_id".into(), slot.id.to_string().into())];
        let ids = self.slots.values().map(|slot| (Instance(slot.instance), id(slot)));
        settings.program.instance_env = ids.collect();
    }

    /// Has the cluster that runs go on with other settings; `false`: it cannot, or there is none. Then
    /// there is none afterwards.
    pub(super) async fn adopt(&mut self, launch: &Launch) -> bool {
        if self.shares_ground_with(&launch.settings).await.is_err() {
            self.stop_all().await;
            return false;
        }
        let Some(runs) = &mut self.runs else { return false };
        let before = runs.settings.policy;
        let (cluster, settings) = (runs.cluster.clone(), launch.settings.clone());
        runs.settings = settings.clone();
        self.configure_logs();
        let policy = settings.policy;
        let configured = async {
            cluster.configure(settings.tuning()).await?;
            cluster.setup(settings.program).await
        };
        let is_configured = self.during(configured).await.is_ok();
        self.follow_policy(before, policy).await;
        is_configured
    }

    pub(super) async fn restart(&mut self, which: &Which, alter: Alter, reason: Reason) -> Outcome {
        match altered(&self.spec, alter) {
            Ok(altered) => self.restart_to(which, altered, reason).await,
            Err(error) => self.failed(error, which),
        }
    }

    /// Becomes this, by stopping and starting.
    pub(super) async fn restart_to(
        &mut self,
        which: &Which,
        altered: AppSpec,
        reason: Reason,
    ) -> Outcome {
        if let Err(error) = self.settle_versions(false).await {
            return self.failed(error, which);
        }
        let (launch, recounted) = match self.change(altered).await {
            Ok(changed) => changed,
            Err(error) => return self.failed(error, which),
        };
        self.note = None;
        let runs = self.adopt(&launch).await;
        let count = launch.settings.instances;
        // They have what is new from the start.
        let added = if recounted { self.resize(count).await } else { BTreeSet::new() };
        self.note(None, "restart", format!("is restarted: {}", reason.word()));
        let concerned = |slot: &&mut Slot| which.has(slot.id) && !added.contains(&slot.instance);
        let concerned = self.slots.values_mut().filter(concerned);
        if runs {
            let instances = concerned.map(|slot| slot.instance).collect();
            return self.restart_each(&instances, (which, reason)).await;
        }
        concerned.for_each(|slot| slot.wants(reason));
        self.begin(launch.settings);
        self.await_readiness("restarted", which).await
    }

    /// Becomes what it is to be, if that can be had here. Whether the count of instances is another one.
    async fn change(&mut self, altered: AppSpec) -> Result<(Launch, bool), String> {
        let launch = self.prepare(altered.clone()).await?;
        let recounted = altered.instances != self.spec.instances;
        self.becomes(altered);
        self.publish();
        Ok((launch, recounted))
    }

    /// As somebody asked for it.
    pub(super) async fn reload(&mut self, which: &Which, alter: Alter, how: &Rolling) -> Outcome {
        let altered = altered(&self.spec, alter);
        let turn = altered.and_then(|altered| Ok((self.turn(which, &altered, how)?, altered)));
        match turn {
            Err(error) => self.failed(error, which),
            Ok((Some(turn), altered)) => self.reload_to(altered, turn, Reason::Reload).await,
            // There is nothing that could be replaced.
            Ok((None, altered)) => {
                self.becomes(altered);
                self.start(which).await
            }
        }
    }

    /// `None`: none of them runs.
    fn turn(
        &self,
        which: &Which,
        altered: &AppSpec,
        how: &Rolling,
    ) -> Result<Option<Turn>, String> {
        let beside = beside(how)?;
        let chosen = || self.slots.values().filter(|slot| which.has(slot.id));
        let runs = self.runs.is_some() && chosen().any(|slot| slot.wanted && !slot.is_over());
        let whole = self.slots.values().all(|slot| which.has(slot.id));
        match beside {
            Some(_) if !runs => {
                return Err("it does not run: there is nothing to be kept beside".to_owned());
            }
            Some(_) if !whole => {
                return Err(
                    "old workers are kept of whole apps: say its name instead of an id".to_owned()
                );
            }
            Some(_) if altered.instances != self.spec.instances => {
                return Err("the number of instances cannot change while old workers are kept: \
                            `tine scale` changes it before or after"
                    .to_owned());
            }
            Some(_) if altered.policy != self.spec.policy => {
                return Err("the policy cannot change while old workers are kept".to_owned());
            }
            Some(_) | None => {}
        }
        let only = (!whole).then(|| chosen().map(|slot| Instance(slot.instance)).collect());
        let Rolling { parallel, force, .. } = *how;
        Ok(runs.then_some(Turn { parallel, only, beside, force }))
    }

    /// Becomes this, with new workers before the old ones leave.
    pub(super) async fn reload_to(
        &mut self,
        altered: AppSpec,
        turn: Turn,
        reason: Reason,
    ) -> Outcome {
        let all = turn.which(self);
        if let Err(error) = self.settle_versions(turn.force).await {
            return self.failed(error, &all);
        }
        let launch = match self.prepare(altered.clone()).await {
            Ok(launch) => launch,
            Err(error) => return self.failed(error, &all),
        };
        if self.runs.is_none() {
            self.becomes(altered);
            return self.start(&all).await;
        }
        if let Err(error) = self.shares_ground_with(&launch.settings).await {
            return self.failed(error, &all);
        }
        for slot in self.slots.values_mut().filter(|slot| all.has(slot.id)) {
            slot.renewal = reason;
        }
        self.roll((altered, launch), turn, reason).await
    }

    async fn roll(
        &mut self,
        (altered, launch): (AppSpec, Launch),
        turn: Turn,
        reason: Reason,
    ) -> Outcome {
        let which = turn.which(self);
        let Some(runs) = &self.runs else { return self.failed("it does not run", &which) };
        let (cluster, before) = (runs.cluster.clone(), runs.settings.tuning());
        let policy_before = runs.settings.policy;
        let patience = altered.reload_patience();
        if self.reloading == Reloading::CalledOff {
            return self.failed("it was called off before it began", &which);
        }
        self.note = Some("reloading".to_owned());
        self.note(None, "reload", "is being reloaded".to_owned());
        let Turn { parallel, only, beside, .. } = turn;
        let pace = Pace { parallel: parallel.map_or(1, |parallel| parallel as usize), patience };
        let settings = launch.settings.clone();
        // Who is replaced because it is ill is not kept for want of one that is well.
        let is_cure = reason == Reason::Health;
        let approval = !is_cure && self.hold_trials(&altered, &launch.settings.program);
        let program = Some(launch.settings.program);
        let reload = Reload { program, only, pace, beside, approval };
        let work = async {
            cluster.configure(settings.tuning()).await?;
            cluster.reload(reload).await
        };
        let done = self.during(work).await;
        let unwell = self.end_trials();
        match done {
            Ok(_) => {
                self.follow_policy(policy_before, settings.policy).await;
                self.kept = beside.and_then(|beside| Kept::of(self, beside));
                if self.kept.is_some() {
                    self.hear_who_is_kept().await;
                }
                self.rolled(altered, settings, &which).await
            }
            Err(error) => {
                if replaced(&error) == 0 {
                    let _ = self.during(cluster.configure(before)).await;
                } else {
                    self.becomes(altered);
                }
                self.not_rolled((&error, unwell), &which).await
            }
        }
    }

    /// Whether workers under these settings can share ports with those that run.
    pub(super) async fn shares_ground_with(&mut self, settings: &Settings) -> Result<(), String> {
        let Some(runs) = &self.runs else { return Ok(()) };
        if !shares_ground(&runs.settings, settings) {
            return Err("mechanism, addresses and private ports change by `tine restart` only: \
                        workers of before and after cannot share a port"
                .to_owned());
        }
        if runs.settings.policy == settings.policy {
            return Ok(());
        }
        let (cluster, policy) = (runs.cluster.clone(), settings.policy);
        let checked = self.during(async move { cluster.check_policy(policy).await }).await;
        checked.map_err(|error| format!("{}: `tine restart` changes it", causes(&error)))
    }

    /// The app's listeners have another policy from now on.
    async fn follow_policy(&mut self, before: Policy, policy: Policy) {
        let Some(runs) = self.runs.as_ref().filter(|_| before != policy) else { return };
        let cluster = runs.cluster.clone();
        let changed = self.during(async move { cluster.set_policy(policy).await }).await;
        if let Err(error) = changed {
            self.note(None, "trouble", causes(&error));
        }
    }

    /// All have new workers; those that are too few or too many are next.
    async fn rolled(&mut self, altered: AppSpec, settings: Settings, which: &Which) -> Outcome {
        self.note = None;
        let count = settings.instances;
        let recounted = altered.instances != self.spec.instances;
        self.becomes(altered);
        if let Some(runs) = &mut self.runs {
            runs.settings = settings;
        }
        if recounted {
            self.resize(count).await;
        }
        let outcome = self.await_readiness("reloaded", which).await;
        if outcome.error.is_none() {
            self.note(None, "reload", "is done: new workers serve".to_owned());
        }
        outcome
    }
}

/// Whether the order under way is a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reloading {
    No,
    Yes,
    /// It has begun, and is to end.
    CalledOff,
}

impl Reloading {
    pub(super) fn of(todo: &Todo) -> Self {
        if matches!(todo, Todo::Reload { .. }) { Self::Yes } else { Self::No }
    }
}

/// Who gets a new worker, and how many at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// One, when not said.
    pub(super) parallel: Option<u32>,
    /// All, when not said.
    pub(super) only: Option<BTreeSet<Instance>>,
    /// What becomes of the old ones; they leave, when not said.
    pub(super) beside: Option<Beside>,
    /// A canary that is tried is given up for it.
    pub(super) force: bool,
}

impl Turn {
    fn which(&self, app: &App) -> Which {
        let Some(only) = &self.only else { return Which::All };
        let chosen = app.slots.values().filter(|slot| only.contains(&Instance(slot.instance)));
        Which::Ids(chosen.map(|slot| slot.id).collect())
    }
}

fn facts(launch: &Launch) -> Facts {
    let (exec_path, interpreter) = (launch.exec_path.clone(), launch.interpreter.clone());
    Facts { exec_path, interpreter, args: launch.shell_words.clone() }
}

/// Whether workers under the one and under the other can share their ports.
fn shares_ground(one: &Settings, other: &Settings) -> bool {
    one.mechanism == other.mechanism
        && one.private_ports == other.private_ports
        && one.listen == other.listen
}
