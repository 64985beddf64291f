//! What is to be so afterwards.

use std::collections::BTreeSet;
use std::fs;

use compliance::{Home, eventually};

use crate::loaded::{Loaded, WORKERS};

/// An app beside the one under load, whose workers may be killed: nobody asks them anything.
pub(crate) fn start_other(home: &Home) -> BTreeSet<u32> {
    home.write("other.sh", "#!/bin/sh\necho other\nexec sleep 1000\n");
    let started = home.tine(["start", "--name", "other", "-i", "2", "other.sh"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    pids(home, "other")
}

/// The pids of the workers of this app that are online.
pub(crate) fn pids(home: &Home, app: &str) -> BTreeSet<u32> {
    let listed = home.tine(["jlist"]);
    let list: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let workers = list.as_array().cloned().unwrap_or_default();
    let online =
        workers.iter().filter(|it| it["name"] == app && it["pm2_env"]["status"] == "online");
    online.filter_map(|it| it["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())).collect()
}

/// A worker of the other app is killed.
pub(crate) fn kill_one(home: &Home, others: &BTreeSet<u32>) -> u32 {
    let killed = *others.first().expect("it has two");
    home.kill(killed);
    killed
}

/// By and by there is one in its place, and the other one is untouched.
pub(crate) fn is_followed(home: &Home, others: &BTreeSet<u32>, killed: u32) {
    eventually("the killed worker is followed", || {
        let now = pids(home, "other");
        now.len() == others.len() && !now.contains(&killed) && !now.is_disjoint(others)
    });
}

/// Waits for a manager that is not this one.
pub(crate) fn followed(home: &Home, manager: u32) -> u32 {
    let next = || home.manager().filter(|next| *next != manager);
    eventually("the manager is followed by another one", || next().is_some());
    next().expect("it lives")
}

/// The workers were not touched, and whatever a manager does is done: nothing is lost by that either.
pub(crate) fn goes_on(app: Loaded) {
    assert_eq!(app.servers(WORKERS), app.before, "the workers are the same");
    app.must("reload app");
    let after = app.servers(WORKERS);
    assert!(after.is_disjoint(&app.before), "{after:?} {:?}", app.before);
    app.must("scale app 4");
    app.servers(4);
    app.must("scale app 3");
    assert!(app.must("logs app --nostream --lines 5").code == Some(0));
    let state = app.home.folder().join(".tine/state.json");
    eventually("the list is written", || {
        fs::read_to_string(&state).is_ok_and(|it| it.contains("app"))
    });
    app.nothing_was_lost();
}
