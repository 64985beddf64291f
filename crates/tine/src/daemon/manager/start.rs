//! Starts apps: those that are new, and those that are known already.

use std::collections::{BTreeMap, BTreeSet};

use super::{Manager, Word, dispatch::Work};
use crate::{
    api::apps::{AppResponse, Known, Start},
    causes::causes,
    control::Replies,
    daemon::{
        app::{Card, altered},
        order::{Alter, Todo, Which},
        slot::Reason,
    },
    spec::{AppSpec, Env, Patch},
    supervise::{
        after, guard,
        launch::{self, Placement},
    },
};

/// What is to be done for one patch.
enum Step {
    New(Box<AppSpec>),
    Change(u32, Alter),
}

impl Manager {
    /// Looks first whether everything can be started, for otherwise nothing shall be.
    pub(super) fn start(&mut self, start: Start, replies: Replies) {
        let steps = match steps(&start, &self.cards()) {
            Ok(steps) => steps,
            Err(error) => return refuse(&replies, error),
        };
        let (place, words) = (self.shared.place.clone(), self.words.clone());
        tokio::spawn(async move {
            let check = move || check(&steps, &place);
            let checked = tokio::task::spawn_blocking(check).await;
            match checked.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(()) => drop(words.send(Word::Checked(Box::new(start), replies)).await),
                Err(error) => drop(replies.send(AppResponse::Error(error)).await),
            }
        });
    }

    /// Others may have started the same meanwhile, so it is looked at once more who is known.
    pub(super) fn start_checked(&mut self, start: &Start, replies: Replies) {
        let steps = match steps(start, &self.cards()) {
            Ok(steps) => steps,
            Err(error) => return refuse(&replies, error),
        };
        let works = steps.into_iter().filter_map(|step| self.begin(step, start)).collect();
        let works = self.in_order(works);
        self.dispatch(works, replies);
    }

    fn begin(&mut self, step: Step, start: &Start) -> Option<Work> {
        match step {
            Step::New(spec) => {
                let runs = spec.autostart && !start.idle.contains(&spec.name);
                let which = if runs { Which::All } else { Which::Ids(BTreeSet::new()) };
                let count = launch::count(spec.instances).unwrap_or(1).max(1);
                let number = self.add(*spec, count);
                self.work(number, Todo::Start(which))
            }
            Step::Change(number, alter) if start.known == Known::Reload => {
                self.work(number, Todo::Reload { alter, parallel: None })
            }
            Step::Change(number, alter) => {
                let (which, reason) = (Which::All, Reason::Asked);
                self.work(number, Todo::Restart { which, alter, reason })
            }
        }
    }

    /// Each waits for those that it is to come after.
    pub(super) fn in_order(&self, mut works: Vec<Work>) -> Vec<Work> {
        for work in &mut works {
            let after = work.card.borrow().spec.after.clone();
            let before =
                self.apps.values().filter(|app| after.contains(&app.card.borrow().spec.name));
            work.after = before.map(|app| app.card.clone()).collect();
        }
        works
    }
}

pub(super) fn refuse(replies: &Replies, error: String) {
    let _ = replies.try_send(AppResponse::Error(error));
}

fn steps(start: &Start, cards: &[Card]) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut names = BTreeSet::new();
    for patch in &start.apps {
        let name = name_of(patch)?;
        if !names.insert(name.clone()) && start.known != Known::Double {
            return Err(format!("there are two apps with the name `{name}`"));
        }
        steps.extend(steps_of(&name, patch, (start, cards))?);
    }
    let new = steps.iter().filter_map(|step| match step {
        Step::New(spec) => Some(&**spec),
        Step::Change(..) => None,
    });
    check_after(new, cards)?;
    Ok(steps)
}

fn name_of(patch: &Patch) -> Result<String, String> {
    let name = patch.get("name").and_then(|name| name.as_str()).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| "an app needs a name".to_owned())
}

fn steps_of(
    name: &str,
    patch: &Patch,
    (start, cards): (&Start, &[Card]),
) -> Result<Vec<Step>, String> {
    let known: Vec<&Card> = cards.iter().filter(|card| card.spec.name == name).collect();
    if known.is_empty() || start.known == Known::Double {
        return Ok(vec![Step::New(fresh(patch, &start.inherited)?.into())]);
    }
    if start.known == Known::Refuse {
        return Err(format!(
            "`{name}` is there already: `tine restart {name}` starts it anew, --force makes a second one, \
             --name another one"
        ));
    }
    let alter = Alter {
        patch: patch.clone(),
        whole: start.whole,
        inherited: start.update_env.then(|| start.inherited.clone()),
    };
    let of_card = |card: &&Card| {
        altered(&card.spec, alter.clone())?;
        Ok(Step::Change(card.number, alter.clone()))
    };
    known.iter().map(of_card).collect()
}

/// An app that is not there yet.
pub(super) fn fresh(patch: &Patch, inherited: &Env) -> Result<AppSpec, String> {
    let (patch, inherited) = (patch.clone(), Some(inherited.clone()));
    altered(&AppSpec::default(), Alter { patch, whole: true, inherited })
}

/// Whether all that come after others can.
pub(super) fn check_after<'a>(
    specs: impl Iterator<Item = &'a AppSpec>,
    cards: &[Card],
) -> Result<(), String> {
    let mut all: BTreeMap<&str, &[String]> = BTreeMap::new();
    all.extend(cards.iter().map(|card| (&*card.spec.name, &*card.spec.after)));
    all.extend(specs.map(|spec| (&*spec.name, &*spec.after)));
    let all: Vec<_> = all.into_iter().collect();
    after::steps(&all, &[]).map(drop).map_err(|error| error.to_string())
}

/// Whether this machine has all that the new apps need.
fn check(steps: &[Step], place: &Placement) -> Result<(), String> {
    let new = steps.iter().filter_map(|step| match step {
        Step::New(spec) => Some(&**spec),
        Step::Change(..) => None,
    });
    check_specs(new, place)
}

pub(super) fn check_specs<'a>(
    mut specs: impl Iterator<Item = &'a AppSpec>,
    place: &Placement,
) -> Result<(), String> {
    specs.try_for_each(|spec| {
        let found = launch::settings(spec, place).map_err(|error| causes(&error));
        let checked = found.and_then(|found| {
            guard::check(spec, &found.settings.program).map_err(|error| causes(&error))
        });
        checked.map_err(|error| format!("{}: {error}", spec.name))
    })
}
