//! Writes the list of apps, and brings it back.

use std::{collections::BTreeMap, path::PathBuf, sync::atomic::Ordering, time::Duration};

use super::{Manager, Word, dispatch::Work, leaving::Leaving, start::refuse};
use crate::{
    api::apps::{AppResponse, Outcome},
    causes::causes,
    control::Replies,
    daemon::{
        app::{self, Plan},
        left::{self, Left},
        order::{Todo, Which},
        say,
        slot::Slot,
        state::{self, Saved, SavedApp},
    },
};

/// A list that could not be written is tried again after so long.
const NOTE_AGAIN: Duration = Duration::from_secs(2);

impl Manager {
    /// It is kept at once, and written down by and by.
    pub(super) fn state_changed(&mut self) {
        if self.leaving.as_ref().is_some_and(Leaving::is_settled) {
            return;
        }
        self.keep_state();
        if self.noting {
            self.stale = true;
        } else {
            self.note_state();
        }
    }

    /// For a manager that takes over.
    pub(super) fn keep_state(&self) {
        match serde_json::to_vec(&self.saved()) {
            Ok(state) => self.keeper.put(left::STATE, &state, &[]),
            Err(error) => say(&format!("the list of apps cannot be kept: {error}")),
        }
    }

    /// Writes down what is known now. Once more afterwards, if something has changed meanwhile.
    fn note_state(&mut self) {
        self.noting = true;
        let (path, saved) = (self.shared.home.state_file(), self.saved());
        let words = self.words.clone();
        tokio::spawn(async move {
            let written = tokio::task::spawn_blocking(move || state::replace(&path, &saved)).await;
            let error = match written {
                Ok(written) => written.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let _ = words.send(Word::Noted(error)).await;
        });
    }

    /// What cannot be written is said once, and tried until it can be written again.
    pub(super) fn noted(&mut self, error: Option<String>) {
        self.noting = false;
        let file = self.shared.home.state_file();
        match (&self.note_failed, &error) {
            (None, Some(error)) => say(&format!("{} cannot be written: {error}", file.display())),
            (Some(_), None) => say(&format!("{} is written again", file.display())),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let failed = error.is_some();
        self.note_failed = error;
        if self.leaving.is_some() {
            return;
        }
        if std::mem::take(&mut self.stale) && !failed {
            self.note_state();
        } else if failed {
            self.note_later();
        }
    }

    fn note_later(&mut self) {
        if std::mem::replace(&mut self.note_due, true) {
            return;
        }
        let words = self.words.clone();
        tokio::spawn(async move {
            tokio::time::sleep(NOTE_AGAIN).await;
            let _ = words.send(Word::NoteAgain).await;
        });
    }

    /// Some time has gone by since it could not be written. It may have been meanwhile.
    pub(super) fn note_again(&mut self) {
        self.note_due = false;
        if self.note_failed.is_some() && !self.noting && self.leaving.is_none() {
            self.note_state();
        }
    }

    fn saved(&self) -> Saved {
        Saved::of(&self.cards(), self.shared.ids.load(Ordering::Relaxed), self.watchdog)
    }

    pub(super) fn save(&self, (force, no_env): (bool, bool), replies: Replies) {
        if self.apps.is_empty() && !force {
            let error = "there is no app to save; with --force an empty list is saved".to_owned();
            return refuse(&replies, error);
        }
        let home = self.shared.home.clone();
        let mut saved = self.saved();
        if no_env {
            saved.strip();
        }
        tokio::task::spawn_blocking(move || {
            let (path, old) = (home.dump_file(), home.dump_backup());
            let answer = match state::replace_keeping(&path, &old, &saved) {
                Ok(()) => AppResponse::Done(saved.apps.iter().map(outcome).collect()),
                Err(error) => AppResponse::Error(format!("write {}: {error}", path.display())),
            };
            let _ = replies.blocking_send(answer);
        });
    }

    pub(super) fn clear_dump(&self, replies: &Replies) {
        let home = &self.shared.home;
        let cleared = [home.dump_file(), home.dump_backup()].iter().try_for_each(|path| {
            state::remove(path).map_err(|error| format!("remove {}: {error}", path.display()))?;
            Ok(())
        });
        let answer = match cleared {
            Ok(()) => AppResponse::Done(Vec::new()),
            Err(error) => AppResponse::Error(error),
        };
        let _ = replies.try_send(answer);
    }

    /// Starts what was saved and is not there.
    pub(super) fn resurrect(&mut self, replies: Replies) {
        let home = &self.shared.home;
        let (saved, complaints) = first_readable([home.dump_file(), home.dump_backup()]);
        for complaint in &complaints {
            let _ = replies.try_send(AppResponse::Progress(complaint.clone()));
        }
        let Some(saved) = saved else {
            let nothing = || "there is no saved list; `tine save` makes one".to_owned();
            return refuse(&replies, complaints.into_iter().next().unwrap_or_else(nothing));
        };
        let known = self.there_already(&saved);
        let works = self.bring_back(saved);
        self.dispatch_with(works, known, replies);
    }

    /// What was saved and need not be brought back. Of one name there may be several.
    fn there_already(&self, saved: &Saved) -> Vec<Outcome> {
        let mut cards = self.cards();
        let mut outcomes = Vec::new();
        for app in &saved.apps {
            let place = cards.iter().position(|card| card.spec.name == app.spec.name);
            let Some(card) = place.map(|place| cards.remove(place)) else { continue };
            let done = "is there already".to_owned();
            outcomes.push(Outcome { ids: card.ids, done, ..outcome(app) });
        }
        outcomes
    }

    /// What ran when the manager before came to its end runs again, and what was saved if that is wanted.
    /// Whoever started the manager is told when all of it was tried.
    pub(super) fn set_out(&mut self, left: Left, resurrect: bool) {
        let mut works = match left {
            Left::Nothing => Vec::new(),
            Left::Ended(left) => self.bring_back(left),
            Left::Alive(alive) => {
                self.take_over(alive);
                Vec::new()
            }
        };
        if resurrect {
            works.extend(self.bring_back_saved());
        }
        let heard = self.words.clone();
        tokio::spawn(async move {
            for outcome in super::dispatch::carry_out(works, None, heard).await {
                if let Some(error) = outcome.error {
                    say(&format!("{} does not run: {error}", outcome.app));
                }
            }
            if let Err(error) = crate::boot::ready() {
                say(&format!("whoever started this manager cannot be told that it runs: {error}"));
            }
        });
    }

    /// As at a boot: nobody is there to be answered.
    fn bring_back_saved(&mut self) -> Vec<Work> {
        let home = &self.shared.home;
        let (saved, complaints) = first_readable([home.dump_file(), home.dump_backup()]);
        for complaint in &complaints {
            say(complaint);
        }
        if saved.is_none() && complaints.is_empty() {
            say("there is no saved list; `tine save` makes one");
        }
        saved.map(|saved| self.bring_back(saved)).unwrap_or_default()
    }

    /// The apps are there again, as they were; those that ran are to be started.
    pub(super) fn bring_back(&mut self, saved: Saved) -> Vec<Work> {
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        for card in self.cards() {
            *there.entry(card.spec.name.clone()).or_default() += 1;
        }
        let was_empty = self.apps.is_empty();
        if was_empty {
            self.shared.ids.store(saved.next_id, Ordering::Relaxed);
        }
        let mut works = Vec::new();
        for app in saved.apps {
            match there.get_mut(&app.spec.name) {
                Some(count) if *count > 0 => *count -= 1,
                _ => works.extend(self.bring_back_one(app, was_empty)),
            }
        }
        self.in_order(works)
    }

    fn bring_back_one(&mut self, app: SavedApp, same_numbers: bool) -> Option<Work> {
        let (mut spec, mut previous) = (app.spec, app.previous);
        if app.no_env {
            for spec in std::iter::once(&mut spec).chain(&mut previous) {
                spec.inherited = std::env::vars().collect();
            }
        }
        let wanted = app.workers.iter().filter(|worker| worker.wanted);
        let mut ids = std::collections::BTreeSet::new();
        let wanted: Vec<u32> = wanted.map(|worker| worker.instance).collect();
        let slots = app.workers.into_iter().map(|worker| {
            let id = if same_numbers { worker.id } else { self.shared.next_id() };
            if wanted.contains(&worker.instance) {
                ids.insert(id);
            }
            let slot = Slot::new(id, worker.instance);
            Slot { counts: worker.restarts, created_at: worker.created_at, ..slot }
        });
        let slots = slots.collect();
        let number = if same_numbers { app.number } else { self.next_number };
        self.next_number = self.next_number.max(number + 1);
        let plan = Plan { number, spec, previous, slots, left: None };
        self.apps.insert(number, app::spawn(plan, self.shared.clone()));
        self.work(number, Todo::Start(Which::Ids(ids)))
    }
}

/// The first list that can be used, and what was wrong with those before it.
fn first_readable(paths: [PathBuf; 2]) -> (Option<Saved>, Vec<String>) {
    let mut complaints = Vec::new();
    for path in paths {
        match state::read(&path) {
            Ok(Some(saved)) => return (Some(saved), complaints),
            Ok(None) => {}
            Err(error) => complaints.push(causes(&error)),
        }
    }
    (None, complaints)
}

fn outcome(app: &SavedApp) -> Outcome {
    Outcome {
        app: app.spec.name.clone(),
        ids: app.workers.iter().map(|worker| worker.id).collect(),
        done: "saved".to_owned(),
        ..Outcome::default()
    }
}
