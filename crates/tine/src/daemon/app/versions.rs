//! The version that ran before: kept beside the new one for a while, and remembered for longer.
//!
//! ```text
//!             reload --keep-old, --canary                 promote, time is up
//!   one ──────────────────────────────────▶ two at a time ──────────────────▶ one, the new one
//!                                                  │ rollback
//!                                                  ▼
//!                                           one, the old one: as if nothing had been
//! ```
//! With one at a time, `rollback` makes the configuration before the last change into the next change.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tine_cluster::{
    core::generations::{Beside, Percent},
    id::Instance,
    primary::{GenerationError, Settings},
};

use super::{App, change::Turn};
use crate::{
    api::{
        apps::Outcome,
        reload::{OldVersion, Rolling},
    },
    daemon::{
        events::now,
        order::Which,
        slot::{Reason, Slot},
    },
    spec::AppSpec,
    units::spoken,
};

/// What is kept beside.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What the app was, and was before that.
    spec: Arc<AppSpec>,
    previous: Option<Arc<AppSpec>>,
    settings: Settings,
    canary: Option<u8>,
    /// When it ends by itself, by both clocks.
    until: Option<(Instant, u64)>,
}

impl Kept {
    /// What is kept when a reload of this kind has come to its end.
    pub(super) fn of(app: &App, beside: Beside) -> Option<Self> {
        let runs = app.runs.as_ref()?;
        let (canary, until) = match beside {
            Beside::Canary(part) => (Some(part.get()), None),
            Beside::Aside(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                (None, Some((Instant::now() + time, now().saturating_add(millis))))
            }
        };
        let (spec, previous) = (Arc::clone(&app.spec), app.previous.clone());
        Some(Self { spec, previous, settings: runs.settings.clone(), canary, until })
    }
}

/// What a reload is to do with old workers.
///
/// # Errors
///
/// When it cannot be meant, as a sentence.
pub(in crate::daemon) fn beside(rolling: &Rolling) -> Result<Option<Beside>, String> {
    match (rolling.keep_old, rolling.canary) {
        (None, None) => Ok(None),
        (Some(time), None) => Ok(Some(Beside::Aside(time.duration()))),
        (None, Some(part)) => match Percent::new(part) {
            Some(part) => Ok(Some(Beside::Canary(part))),
            None => Err(format!("a canary has 1 to 99 percent of the connections, not {part}")),
        },
        (Some(_), Some(_)) => {
            Err("a canary keeps its old workers anyhow: say either a part or a time".to_owned())
        }
    }
}

impl App {
    /// The app is this from now on; what it was is what a rollback returns to.
    pub(super) fn becomes(&mut self, spec: AppSpec) {
        if *self.spec != spec {
            self.previous = Some(std::mem::replace(&mut self.spec, spec.into()));
        }
    }

    /// Back to what ran before.
    pub(super) async fn rollback(&mut self) -> Outcome {
        let all = Which::All;
        if self.kept.is_some() {
            return match self.go_back().await {
                Ok(back) => self.replace_the_rest(&back).await,
                Err(error) => self.failed(error, &all),
            };
        }
        let Some(previous) = &self.previous else {
            let error = "there is nothing to go back to: its configuration has not changed yet";
            return self.failed(error, &all);
        };
        let spec = AppSpec { name: self.spec.name.clone(), ..AppSpec::clone(previous) };
        self.note(None, "rollback", "goes back to the configuration before".to_owned());
        let outcome = if self.can_share_ground_with(&spec).await {
            self.reload_to(spec, Turn::default(), Reason::Reload).await
        } else {
            self.restart_to(&all, spec, Reason::Asked).await
        };
        Outcome { done: renamed(outcome.done, "rolled back"), ..outcome }
    }

    /// Whether workers before and after can share a port, so that a reload is enough.
    async fn can_share_ground_with(&mut self, spec: &AppSpec) -> bool {
        // What cannot be started at all is told by the reload.
        let Ok(launch) = self.prepare(spec.clone()).await else { return true };
        self.shares_ground_with(&launch.settings).await.is_ok()
    }

    /// The old workers serve again, and the new ones leave. Gives the places where that could be.
    async fn go_back(&mut self) -> Result<BTreeSet<Instance>, String> {
        let (Some(kept), Some(runs)) = (self.kept.take(), &mut self.runs) else {
            return Err("it does not run".to_owned());
        };
        let (cluster, before) = (runs.cluster.clone(), runs.settings.clone());
        runs.settings = kept.settings.clone();
        let work = async {
            let back = cluster.revert().await?;
            cluster.configure(kept.settings.tuning()).await?;
            Ok::<_, GenerationError>(back)
        };
        let back = match self.during(work).await {
            Ok(back) => back,
            Err(error) => {
                self.runs.iter_mut().for_each(|runs| runs.settings = before.clone());
                return Err(error.to_string());
            }
        };
        self.spec = Arc::clone(&kept.spec);
        self.previous = kept.previous;
        self.note = None;
        self.note(None, "rollback", "the old version serves again".to_owned());
        // The cluster's word comes by events, which may be behind its answer.
        let is_back =
            |slot: &Slot| slot.aside.is_none() || !back.contains(&Instance(slot.instance));
        self.until(told_by(), |app| app.slots.values().all(is_back)).await;
        self.publish();
        Ok(back)
    }

    /// A reload has kept old workers: until that is heard of all of them.
    pub(super) async fn hear_who_is_kept(&mut self) {
        let is_in_place = |slot: &Slot| slot.incoming.is_none();
        self.until(told_by(), |app| app.slots.values().all(is_in_place)).await;
    }

    /// Places whose old worker had ended meanwhile get another one, new before old.
    async fn replace_the_rest(&mut self, back: &BTreeSet<Instance>) -> Outcome {
        let wanted = self.slots.values().filter(|slot| slot.wanted);
        let rest: BTreeSet<Instance> = wanted.map(|slot| Instance(slot.instance)).collect();
        let rest: BTreeSet<Instance> = rest.difference(back).copied().collect();
        if rest.is_empty() {
            return self.await_readiness("rolled back", &Which::All).await;
        }
        let turn = Turn { only: Some(rest), ..Turn::default() };
        let outcome = self.reload_to(AppSpec::clone(&self.spec), turn, Reason::Reload).await;
        Outcome { done: renamed(outcome.done, "rolled back"), ..outcome }
    }

    /// The old version leaves.
    pub(super) async fn promote(&mut self) -> Outcome {
        if self.kept.is_none() {
            let error = "no old version is kept beside it: there is nothing to promote";
            return self.failed(error, &Which::All);
        }
        match self.let_the_old_go().await {
            Ok(()) => self.done("promoted", &Which::All),
            Err(error) => self.failed(error, &Which::All),
        }
    }

    async fn let_the_old_go(&mut self) -> Result<(), String> {
        let (Some(_), Some(runs)) = (self.kept.take(), &self.runs) else { return Ok(()) };
        let cluster = runs.cluster.clone();
        let promoted = self.during(cluster.promote()).await;
        promoted.map_err(|error| error.to_string())
    }

    /// Something else is to become of the app: there is one version afterwards. A canary is for whoever
    /// tries it to decide about.
    pub(super) async fn settle_versions(&mut self, force: bool) -> Result<(), String> {
        let Some(kept) = &self.kept else { return Ok(()) };
        if kept.canary.is_none() {
            return self.let_the_old_go().await;
        }
        if force {
            return self.go_back().await.map(drop);
        }
        let name = &self.spec.name;
        Err(format!(
            "a canary is under way: `tine promote {name}` or `tine rollback {name}` ends it"
        ))
    }

    /// The old version has left.
    pub(super) fn promoted(&mut self) {
        self.kept = None;
        self.note(None, "promote", "the old version leaves".to_owned());
    }

    /// What stands beside the new version.
    pub(super) fn old_version(&self) -> Option<OldVersion> {
        let kept = self.kept.as_ref()?;
        let aside = self.slots.values().filter_map(|slot| slot.aside);
        Some(OldVersion {
            canary: kept.canary,
            until: kept.until.map(|(_, until)| until),
            pids: aside.map(|running| running.pid.as_raw_pid()).collect(),
        })
    }

    /// What goes on with the whole app, for people.
    pub(super) fn state_note(&self) -> Option<String> {
        let (Some(kept), None) = (&self.kept, &self.note) else { return self.note.clone() };
        let name = &self.spec.name;
        if let Some(part) = kept.canary {
            return Some(format!(
                "canary: the new version gets {part} % of the connections, until `tine promote {name}` or \
                 `tine rollback {name}`"
            ));
        }
        let left = kept.until.map(|(until, _)| until.saturating_duration_since(Instant::now()));
        // To the second, as nobody reads more of it.
        let left = Duration::from_secs(left.unwrap_or_default().as_secs());
        Some(format!(
            "the old version is kept for {}: `tine rollback {name}` returns to it",
            spoken(left)
        ))
    }
}

/// Events are never so late.
fn told_by() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(10)
}

/// What failed is left as it is.
fn renamed(done: String, word: &str) -> String {
    if done == "failed" { done } else { word.to_owned() }
}

impl Slot {
    /// The worker stays beside, and the one that was to replace it is in place.
    pub(super) fn is_kept(&mut self, worker: tine_cluster::id::WorkerId) {
        let is_current = self.current.is_some_and(|running| running.worker == worker);
        if is_current && self.incoming.is_some() {
            self.aside = self.current;
            self.replace();
        }
    }

    /// The worker that was kept is in place again. Its pid, if that is news.
    pub(super) fn is_back(&mut self, worker: tine_cluster::id::WorkerId) -> Option<i32> {
        let running = self.aside.take_if(|running| running.worker == worker)?;
        self.incoming = None;
        self.due = None;
        self.failure = None;
        self.place(running);
        Some(running.pid.as_raw_pid())
    }
}
