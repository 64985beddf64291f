//! Makes the list of apps what a file says.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Map, Value};

use super::{
    Manager, Word,
    dispatch::Work,
    start::{check_specs, fresh, refuse},
};
use crate::{
    api::{
        apps::{AppResponse, Outcome},
        reload::Rolling,
    },
    control::Replies,
    daemon::{
        app::Card,
        order::{Alter, Scale, Todo, Which},
        slot::Reason,
    },
    spec::{AppSpec, Env, Instances, Patch},
    supervise::launch,
};

/// What a file asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub apps: Vec<Patch>,
    pub inherited: Env,
    pub prune: bool,
    pub origin: PathBuf,
    pub dry_run: bool,
}

/// What is to be done for one app.
enum Step {
    Start(Box<AppSpec>),
    /// The app's number, what it becomes, what is different.
    Change(u32, Box<AppSpec>, Vec<String>),
    /// It stands still, and is what it is to be.
    Run(u32, String),
    Leave(u32, String),
    Delete(u32, String),
}

/// Keys that workers of before and after have to have in common.
const GROUND: [&str; 4] = ["policy", "mechanism", "listen", "private_ports"];

impl Manager {
    /// Looks first whether all of it can be had here.
    pub(super) fn apply(&self, wish: Wish, replies: Replies) {
        let specs = match self.steps(&wish) {
            Ok(steps) => steps.into_iter().filter_map(Step::wanted).collect::<Vec<_>>(),
            Err(error) => return refuse(&replies, error),
        };
        let (place, words) = (self.shared.place.clone(), self.words.clone());
        tokio::spawn(async move {
            let check = move || check_specs(specs.iter(), &place);
            let checked = tokio::task::spawn_blocking(check).await;
            match checked.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(()) => drop(words.send(Word::Applicable(Box::new(wish), replies)).await),
                Err(error) => drop(replies.send(AppResponse::Error(error)).await),
            }
        });
    }

    pub(super) fn apply_checked(&mut self, wish: &Wish, replies: Replies) {
        let steps = match self.steps(wish) {
            Ok(steps) => steps,
            Err(error) => return refuse(&replies, error),
        };
        for line in steps.iter().flat_map(Step::told) {
            let _ = replies.try_send(AppResponse::Progress(line));
        }
        if wish.dry_run {
            let outcomes = steps.iter().map(|step| self.outcome(step)).collect();
            let _ = replies.try_send(AppResponse::Done(outcomes));
            return;
        }
        let (untouched, steps): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| matches!(step, Step::Leave(..)));
        let untouched = untouched.iter().map(|step| self.outcome(step)).collect();
        let works = steps.into_iter().filter_map(|step| self.take_step(step)).collect();
        let works = self.in_order(works);
        self.dispatch_with(works, untouched, replies);
    }

    fn steps(&self, wish: &Wish) -> Result<Vec<Step>, String> {
        let cards = self.cards();
        let mut names = BTreeSet::new();
        let mut steps = Vec::new();
        for patch in &wish.apps {
            let mut spec = fresh(patch, &wish.inherited)?;
            spec.origin.get_or_insert_with(|| wish.origin.clone());
            if spec.name.is_empty() || !names.insert(spec.name.clone()) {
                return Err(format!("`{}`: every app needs a name of its own", spec.name));
            }
            steps.push(step(spec, &cards));
        }
        let stale = |card: &&Card| {
            let from_here = card.spec.origin.as_ref() == Some(&wish.origin);
            from_here && !names.contains(&card.spec.name)
        };
        if wish.prune {
            let gone = cards.iter().filter(stale);
            steps.extend(gone.map(|card| Step::Delete(card.number, card.spec.name.clone())));
        }
        super::start::check_after(steps.iter().filter_map(Step::named), &cards)?;
        Ok(steps)
    }

    fn take_step(&mut self, step: Step) -> Option<Work> {
        match step {
            Step::Start(spec) => {
                let which = if spec.autostart { Which::All } else { Which::Ids(BTreeSet::new()) };
                let count = launch::count(spec.instances).unwrap_or(1).max(1);
                let number = self.add(*spec, count);
                self.work(number, Todo::Start(which))
            }
            Step::Change(number, spec, changed) => self.work(number, converge(&spec, &changed)),
            Step::Run(number, _) => self.work(number, Todo::Start(Which::All)),
            Step::Leave(..) => None,
            Step::Delete(number, _) => self.work(number, Todo::Delete),
        }
    }

    fn outcome(&self, step: &Step) -> Outcome {
        let (number, app, done) = match step {
            Step::Start(spec) => (None, spec.name.clone(), "would be started"),
            Step::Change(number, spec, _) => (Some(number), spec.name.clone(), "would be changed"),
            Step::Run(number, name) => (Some(number), name.clone(), "would be started"),
            Step::Leave(number, name) => (Some(number), name.clone(), "unchanged"),
            Step::Delete(number, name) => (Some(number), name.clone(), "would be deleted"),
        };
        let app_there = number.and_then(|number| self.apps.get(number));
        let ids = app_there.map(|app| app.card.borrow().ids.clone()).unwrap_or_default();
        Outcome { app, ids, done: done.to_owned(), ..Outcome::default() }
    }
}

impl Step {
    /// What is to be had on this machine for it.
    fn wanted(self) -> Option<AppSpec> {
        match self {
            Self::Start(spec) | Self::Change(_, spec, _) => Some(*spec),
            Self::Run(..) | Self::Leave(..) | Self::Delete(..) => None,
        }
    }

    fn named(&self) -> Option<&AppSpec> {
        match self {
            Self::Start(spec) | Self::Change(_, spec, _) => Some(spec),
            Self::Run(..) | Self::Leave(..) | Self::Delete(..) => None,
        }
    }

    /// What it does, for people.
    fn told(&self) -> Vec<String> {
        match self {
            Self::Start(spec) => vec![format!("{}: new", spec.name)],
            Self::Change(_, spec, changed) => {
                changed.iter().map(|line| format!("{}: {line}", spec.name)).collect()
            }
            Self::Run(_, name) => vec![format!("{name}: does not run")],
            Self::Leave(..) => Vec::new(),
            Self::Delete(_, name) => vec![format!("{name}: no longer in the file")],
        }
    }
}

fn step(spec: AppSpec, cards: &[Card]) -> Step {
    let Some(card) = cards.iter().find(|card| card.spec.name == spec.name) else {
        return Step::Start(spec.into());
    };
    let changed = differences(&card.spec, &spec);
    if !changed.is_empty() {
        return Step::Change(card.number, spec.into(), changed);
    }
    let stands_still = spec.autostart && card.workers.iter().all(|worker| !worker.wanted);
    if stands_still {
        Step::Run(card.number, spec.name)
    } else {
        Step::Leave(card.number, spec.name)
    }
}

/// A new count alone needs no new workers in place of the old ones.
fn converge(spec: &AppSpec, changed: &[String]) -> Todo {
    let only = |key: &str| changed.len() == 1 && changed[0].starts_with(&format!("{key} "));
    if let (true, Instances::Count(count)) = (only("instances"), spec.instances) {
        return Todo::Scale(Scale::To(count.max(1)));
    }
    let mut patch = Patch::new();
    if let Ok(Value::Object(keys)) = serde_json::to_value(spec) {
        keys.into_iter().filter(|(key, _)| key != "inherited").for_each(|(key, value)| {
            patch.set(&key, value);
        });
    }
    let alter = Alter { patch, whole: true, inherited: Some(spec.inherited.clone()) };
    let on_ground = |line: &String| GROUND.iter().any(|key| line.starts_with(&format!("{key} ")));
    if changed.iter().any(on_ground) {
        return Todo::Restart { which: Which::All, alter, reason: Reason::Asked };
    }
    Todo::Reload { which: Which::All, alter, rolling: Rolling::default() }
}

/// The keys that are different, as `key old → new`. Whose shell it was started from is no difference.
fn differences(old: &AppSpec, new: &AppSpec) -> Vec<String> {
    let keys = |spec: &AppSpec| match serde_json::to_value(spec) {
        Ok(Value::Object(keys)) => keys,
        Ok(_) | Err(_) => Map::new(),
    };
    let (old, new) = (keys(old), keys(new));
    let different = new.iter().filter(|(key, value)| {
        !["inherited", "origin"].contains(&key.as_str()) && old.get(*key) != Some(value)
    });
    let shown = |key: &str, value: Option<&Value>| match (key, value) {
        // Others may look over one's shoulder.
        ("env", _) | (_, None) => "…".to_owned(),
        (_, Some(value)) => value.to_string(),
    };
    different
        .map(|(key, value)| {
            format!("{key} {} → {}", shown(key, old.get(key)), shown(key, Some(value)))
        })
        .collect()
}
