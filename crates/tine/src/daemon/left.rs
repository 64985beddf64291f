//! What the manager before has left: workers that live on, or a list of what is to run again.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use rustix::process::Pid;
use tine_linux::process::Exit;

use super::{
    say,
    state::{self, Saved},
    survivors,
};
use crate::{
    home::{Home, RunDir},
    watchdog::{Charge, Item, Keeper, Store, read_journal},
};

/// Keys of the manager's own in the watchdog's store.
pub(super) const LOCK: &str = "lock";
pub(super) const CONTROL: &str = "control";
pub(super) const STATE: &str = "state";

/// What there was before.
#[derive(Debug)]
pub(super) enum Left {
    /// Nothing, or all of it has ended as it should.
    Nothing,
    /// Nothing of it runs any more, and it is to run again.
    Ended(Saved),
    /// Workers live on.
    Alive(Alive),
}

/// Apps whose manager was killed, or has gone on purpose.
#[derive(Debug)]
pub(super) struct Alive {
    pub saved: Saved,
    /// Their clusters, below [`app_key`].
    pub store: Store,
    /// How workers ended that nobody had for a child but the watchdog.
    pub ends: Vec<(Pid, Exit)>,
    /// After what it is taken over.
    pub before: String,
    /// Of apps by their numbers: what cannot be taken over, and why.
    pub lost: BTreeMap<u32, String>,
    /// The watchdog does not have it yet.
    pub unkept: bool,
}

impl Alive {
    /// Has the watchdog keep what it does not have yet.
    pub(super) fn keep(&self, keeper: &Keeper) {
        for (key, item) in self.store.items().filter(|_| self.unkept) {
            keeper.put(key, &item.value, &item.lent());
        }
    }
}

/// Where an app's cluster keeps what it needs.
pub(super) fn app_key(number: u32) -> String {
    format!("app/{number}/")
}

/// Takes out of the store what belongs to apps.
///
/// # Errors
///
/// When nothing is known of it, but there is a list that cannot be used.
pub(super) fn find(home: &Home, directory: &RunDir, charge: &mut Charge) -> anyhow::Result<Left> {
    let store = std::mem::take(&mut charge.store);
    let Some(before) = charge.before.take() else { return killed(home, directory) };
    match alive(store, before) {
        Ok(alive) => Ok(Left::Alive(alive)),
        Err(error) => {
            say(&format!("what the manager before has left cannot be taken over: {error}"));
            ended(home)
        }
    }
}

/// Whether this tine can go on with this list.
pub(super) fn check(saved: &Saved) -> Result<(), String> {
    if saved.version > state::VERSION {
        return Err(format!("its list has version {}", saved.version));
    }
    Ok(())
}

fn alive(mut store: Store, before: String) -> Result<Alive, String> {
    let state = store.take(STATE).ok_or("it has left no list of apps")?;
    let saved: Saved = serde_json::from_slice(&state.value).map_err(|error| error.to_string())?;
    check(&saved)?;
    let ends = store.take_ended();
    say(&format!("taken over after {before}: {} apps", saved.apps.len()));
    let (lost, unkept) = (BTreeMap::new(), false);
    Ok(Alive { saved, store, ends, before, lost, unkept })
}

/// A manager that came to an end together with its watchdog. Its workers live on, if they could.
fn killed(home: &Home, directory: &RunDir) -> anyhow::Result<Left> {
    let journal = directory.journal();
    let found = read_journal(&journal).map_err(|error| error.to_string());
    match found.and_then(|values| values.map(survivors::find).transpose()) {
        Ok(Some(alive)) => Ok(Left::Alive(alive)),
        Ok(None) => ended(home),
        Err(error) => {
            say(&format!("{} cannot be used: {error}", journal.display()));
            ended(home)
        }
    }
}

/// Likewise, and nothing of it is to run any more.
fn ended(home: &Home) -> anyhow::Result<Left> {
    let saved = match state::read(&home.state_file()) {
        Ok(Some(saved)) => saved,
        Ok(None) => return Ok(Left::Nothing),
        // Without it nothing can be known, and apps have to be started by hand.
        Err(error @ state::StateError::Broken { .. }) => {
            say(&error.to_string());
            return Ok(Left::Nothing);
        }
        Err(error) => return Err(error.into()),
    };
    let killed = state::end_leftovers(&saved);
    say(&format!(
        "the manager before has not ended as it should: {} apps are brought back; {killed} processes \
         were left of them, and were killed",
        saved.apps.len()
    ));
    Ok(Left::Ended(saved))
}

/// The one descriptor of a record.
pub(super) fn descriptor(item: Option<Item>) -> Option<OwnedFd> {
    item?.descriptors.into_iter().next()
}
