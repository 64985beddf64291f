//! What the manager before has left: a list of what is to run again.

use std::os::fd::OwnedFd;

use super::{
    say,
    state::{self, Saved},
};
use crate::{
    home::Home,
    watchdog::{Charge, Item, Store},
};

/// Keys of the manager's own in the watchdog's store.
pub(super) const LOCK: &str = "lock";
pub(super) const CONTROL: &str = "control";
pub(super) const STATE: &str = "state";

/// Everything that is to run again; nothing of it runs any more.
///
/// # Errors
///
/// When nothing is known of it, but there is a list that cannot be used.
pub(super) fn find(home: &Home, charge: &mut Charge) -> anyhow::Result<Option<Saved>> {
    let Some(before) = &charge.before else { return on_disk(home) };
    match kept(&mut charge.store) {
        Ok(saved) => {
            say(&format!("{before}; {} apps are brought back", saved.apps.len()));
            Ok(Some(saved))
        }
        Err(error) => {
            say(&format!("{before}; what it has left cannot be used: {error}"));
            on_disk(home)
        }
    }
}

/// By the watchdog, which has ended all that was left.
fn kept(store: &mut Store) -> Result<Saved, String> {
    let state = store.take(STATE).ok_or("it has left no list of apps")?;
    serde_json::from_slice(&state.value).map_err(|error| error.to_string())
}

/// A manager that came to an end together with its watchdog may have left workers.
fn on_disk(home: &Home) -> anyhow::Result<Option<Saved>> {
    let saved = match state::read(&home.state_file()) {
        Ok(Some(saved)) => saved,
        Ok(None) => return Ok(None),
        // Without it nothing can be known, and apps have to be started by hand.
        Err(error @ state::StateError::Broken { .. }) => {
            say(&error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let killed = state::end_leftovers(&saved);
    say(&format!(
        "the manager before has not ended as it should: {} apps are brought back; {killed} processes \
         were left of them, and were killed",
        saved.apps.len()
    ));
    Ok(Some(saved))
}

/// The one descriptor of a record.
pub(super) fn descriptor(item: Option<Item>) -> Option<OwnedFd> {
    item?.descriptors.into_iter().next()
}
