//! Starts apps: those that are new, and those that are known already.

use std::collections::{BTreeMap, BTreeSet};

use super::{Manager, Word, dispatch::Work};
use crate::{
    api::apps::{AppResponse, Known, Start},
    control::Replies,
    daemon::{
        app::{Card, altered},
        order::{Alter, Todo, Which},
        slot::Reason,
    },
    spec::{AppSpec, Env, Patch},
    supervise::launch::{self, Placement},
};

/// What is to be done for one patch.
enum Step {
    New(AppSpec),
    Change(u32, Alter),
}

impl Manager {
    /// Looks first whether everything can be started, for otherwise nothing shall be.
    pub(super) fn start(&mut self, start: Start, replies: Replies) {
        let steps = match steps(&start, &self.cards()) {
            Ok(steps) => steps,
            Err(error) => return refuse(replies, error),
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
    pub(super) fn start_checked(&mut self, start: Start, replies: Replies) {
        let steps = match steps(&start, &self.cards()) {
            Ok(steps) => steps,
            Err(error) => return refuse(replies, error),
        };
        let works = steps.into_iter().filter_map(|step| self.begin(step, start.known)).collect();
        let works = self.in_order(works);
        self.dispatch(works, replies);
    }

    fn begin(&mut self, step: Step, known: Known) -> Option<Work> {
        match step {
            Step::New(spec) => {
                let which = if spec.autostart { Which::All } else { Which::Ids(BTreeSet::new()) };
                let count = launch::count(spec.instances).unwrap_or(1).max(1);
                let number = self.add(spec, count);
                self.work(number, Todo::Start(which))
            }
            Step::Change(number, alter) if known == Known::Reload => {
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

pub(super) fn refuse(replies: Replies, error: String) {
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
    check_order(&steps, cards)?;
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
        return Ok(vec![Step::New(fresh(patch, &start.inherited)?)]);
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
fn check_order(steps: &[Step], cards: &[Card]) -> Result<(), String> {
    let mut after: BTreeMap<&str, &[String]> = BTreeMap::new();
    after.extend(cards.iter().map(|card| (&*card.spec.name, &*card.spec.after)));
    let new = steps.iter().filter_map(|step| match step {
        Step::New(spec) => Some((&*spec.name, &*spec.after)),
        Step::Change(..) => None,
    });
    after.extend(new);
    for (name, before) in &after {
        if let Some(missing) = before.iter().find(|name| !after.contains_key(name.as_str())) {
            return Err(format!("`{name}` is to come after `{missing}`, which there is not"));
        }
        if leads_to(name, name, &after, after.len()) {
            return Err(format!("`{name}` is to come after itself, by way of `{}`", before[0]));
        }
    }
    Ok(())
}

/// Whether one waits for the other, by so many steps at most.
fn leads_to(from: &str, to: &str, after: &BTreeMap<&str, &[String]>, steps: usize) -> bool {
    let before = after.get(from).copied().unwrap_or_default();
    steps > 0 && before.iter().any(|name| name == to || leads_to(name, to, after, steps - 1))
}

/// Whether this machine has all that the new apps need.
fn check(steps: &[Step], place: &Placement) -> Result<(), String> {
    for step in steps {
        if let Step::New(spec) = step {
            let found = launch::settings(spec, place);
            found.map_err(|error| {
                format!("{}: {}", spec.name, crate::daemon::app::causes(&error))
            })?;
        }
    }
    Ok(())
}
