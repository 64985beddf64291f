//! Gives an app new workers, with or without changes.

use std::{collections::BTreeSet, time::Duration};

use tine_cluster::{
    core::rollout::Pace,
    id::Instance,
    primary::{Reload, ReloadError, Settings, Stdio},
};

use super::{App, Facts, orders::Single};
use crate::{
    api::apps::Outcome,
    causes::causes,
    daemon::{
        order::{Alter, Which},
        slot::{Reason, Slot},
    },
    spec::{AppSpec, Millis},
    supervise::{
        guard,
        launch::{self, Launch},
    },
};

/// A new worker may take so long where nobody has said anything else.
const UNHURRIED: Duration = Duration::from_secs(30);

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
    /// Finds all that a start needs. Reads files and may ask for users, so not on this thread.
    pub(super) async fn prepare(&mut self, spec: AppSpec) -> Result<Launch, String> {
        let place = std::sync::Arc::clone(&self.shared.place);
        let find = move || {
            let launch = launch::settings(&spec, &place).map_err(|error| causes(&error))?;
            let checked = guard::check(&spec, &launch.settings.program);
            checked.map(|()| launch).map_err(|error| causes(&error))
        };
        let found = self.during(tokio::task::spawn_blocking(find)).await;
        let mut launch = found.map_err(|error| error.to_string())??;
        self.facts = facts(&launch);
        managed(&mut launch.settings);
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
        let Some(runs) = &mut self.runs else { return false };
        if !shares_ground(&runs.settings, &launch.settings) {
            self.stop_all().await;
            return false;
        }
        let (cluster, settings) = (runs.cluster.clone(), launch.settings.clone());
        runs.settings = settings.clone();
        self.configure_logs();
        let configured = async {
            cluster.configure(settings.tuning()).await?;
            cluster.setup(settings.program).await
        };
        self.during(configured).await.is_ok()
    }

    pub(super) async fn restart(&mut self, which: &Which, alter: Alter, reason: Reason) -> Outcome {
        let (launch, recounted) = match self.change(alter).await {
            Ok(changed) => changed,
            Err(error) => return self.failed(error, which),
        };
        let runs = self.adopt(&launch).await;
        let count = launch.settings.instances;
        // They have what is new from the start.
        let added = if recounted { self.resize(count).await } else { BTreeSet::new() };
        let mut instances = BTreeSet::new();
        let concerned = |slot: &&mut Slot| which.has(slot.id) && !added.contains(&slot.instance);
        for slot in self.slots.values_mut().filter(concerned) {
            slot.wants(reason);
            instances.insert(slot.instance);
        }
        self.note(None, "restart", format!("is restarted: {}", reason.word()));
        if runs {
            self.each(&instances, Single::Restart).await;
        } else {
            self.begin(launch.settings);
        }
        self.await_readiness("restarted", which).await
    }

    /// Becomes what it is to be, if that can be had here. Whether the count of instances is another one.
    async fn change(&mut self, alter: Alter) -> Result<(Launch, bool), String> {
        let altered = altered(&self.spec, alter)?;
        let launch = self.prepare(altered.clone()).await?;
        let recounted = altered.instances != self.spec.instances;
        self.spec = altered.into();
        self.publish();
        Ok((launch, recounted))
    }

    pub(super) async fn reload(&mut self, alter: Alter, turn: Turn, reason: Reason) -> Outcome {
        let all = Which::All;
        let altered = match altered(&self.spec, alter) {
            Ok(altered) => altered,
            Err(error) => return self.failed(error, &all),
        };
        let launch = match self.prepare(altered.clone()).await {
            Ok(launch) => launch,
            Err(error) => return self.failed(error, &all),
        };
        let Some(runs) = &self.runs else {
            self.spec = altered.into();
            return self.start(&all).await;
        };
        if !shares_ground(&runs.settings, &launch.settings) {
            let error = "policy, mechanism, addresses and private ports change by `tine restart` only: \
                         workers of before and after cannot share a port";
            return self.failed(error, &all);
        }
        for (instance, slot) in &mut self.slots {
            if turn.only.as_ref().is_none_or(|only| only.contains(&Instance(*instance))) {
                slot.renewal = reason;
            }
        }
        self.roll(altered, launch, turn).await
    }

    async fn roll(&mut self, altered: AppSpec, launch: Launch, turn: Turn) -> Outcome {
        let Some(runs) = &self.runs else { return self.failed("it does not run", &Which::All) };
        let (cluster, before) = (runs.cluster.clone(), runs.settings.tuning());
        let patience = patience(&altered);
        self.note = Some("reloading".to_owned());
        self.note(None, "reload", "is reloaded".to_owned());
        let parallel = turn.parallel.map_or(1, |parallel| parallel as usize);
        let pace = Pace { parallel, patience };
        let settings = launch.settings.clone();
        let reload = Reload { program: Some(launch.settings.program), only: turn.only, pace };
        let work = async {
            cluster.configure(settings.tuning()).await?;
            cluster.reload(reload).await
        };
        match self.during(work).await {
            Ok(_) => self.rolled(altered, settings).await,
            Err(error) => {
                if replaced(&error) == 0 {
                    let _ = self.during(cluster.configure(before)).await;
                } else {
                    self.spec = altered.into();
                }
                self.not_rolled(&error).await
            }
        }
    }

    /// All have new workers; those that are too few or too many are next.
    async fn rolled(&mut self, altered: AppSpec, settings: Settings) -> Outcome {
        self.note = None;
        let count = settings.instances;
        let recounted = altered.instances != self.spec.instances;
        self.spec = altered.into();
        if let Some(runs) = &mut self.runs {
            runs.settings = settings;
        }
        if recounted {
            self.resize(count).await;
        }
        self.await_readiness("reloaded", &Which::All).await
    }

    async fn not_rolled(&mut self, error: &ReloadError) -> Outcome {
        let text = causes(error);
        self.note = Some(format!("the last reload failed: {text}"));
        self.note(None, "reload", format!("failed: {text}"));
        let last_lines = match error {
            ReloadError::EndedEarly { worker, .. } | ReloadError::TooLate { worker, .. } => {
                self.last_lines_of(*worker).await
            }
            _ => Vec::new(),
        };
        Outcome { last_lines, ..self.failed(text, &Which::All) }
    }
}

/// Who gets a new worker, and how many at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// One, when not said.
    pub(super) parallel: Option<u32>,
    /// All, when not said.
    pub(super) only: Option<BTreeSet<Instance>>,
}

fn replaced(error: &ReloadError) -> u32 {
    match error {
        ReloadError::Cancelled { replaced }
        | ReloadError::NotStarted { replaced, .. }
        | ReloadError::EndedEarly { replaced, .. }
        | ReloadError::TooLate { replaced, .. } => *replaced,
        _ => 0,
    }
}

/// The default is short, and meant for those who say that they are ready.
fn patience(spec: &AppSpec) -> Duration {
    let unsaid = spec.listen_timeout == AppSpec::default().listen_timeout && !spec.wait_ready;
    let Millis(said) = spec.listen_timeout;
    if unsaid { UNHURRIED } else { Duration::from_millis(said) }
}

fn facts(launch: &Launch) -> Facts {
    let (exec_path, interpreter) = (launch.exec_path.clone(), launch.interpreter.clone());
    Facts { exec_path, interpreter, args: launch.shell_words.clone() }
}

/// What the manager wants of every cluster.
fn managed(settings: &mut Settings) {
    settings.lives_on = true;
    // There is nobody yet who could take them over.
    settings.workers_die_with_manager = true;
    settings.program.stdio = Stdio::Pipes { input: true };
}

/// Whether workers under the one and under the other can share their ports.
fn shares_ground(one: &Settings, other: &Settings) -> bool {
    one.policy == other.policy
        && one.mechanism == other.mechanism
        && one.private_ports == other.private_ports
        && one.listen == other.listen
}
