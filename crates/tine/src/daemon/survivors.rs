//! Workers that outlived their manager and its watchdog: what of them can be taken over is found out, and
//! the others are ended.

use std::{collections::BTreeMap, time::Duration, time::Instant};

use rustix::process::Signal;
use tine_cluster::primary::{Lost, Recovered, WhyLost, recover};
use tine_linux::process::signal_from_name;

use super::{
    left::{Alive, STATE, app_key, check},
    say,
    state::{Mark, Saved, SavedApp, end_processes},
};
use crate::{
    causes::causes,
    watchdog::{Item, Store},
};

/// After what they are taken over.
const BEFORE: &str = "the manager was killed together with its watchdog";
/// What would have allowed it.
const RIGHTS: &str = "root can, as can their user where kernel.yama.ptrace_scope is 0";
/// No worker that is to be replaced gets longer to end by itself.
const LONGEST: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is there of all that was written down.
///
/// # Errors
///
/// When the list of apps is not there, or cannot be used.
pub(super) fn find(mut values: BTreeMap<String, Vec<u8>>) -> Result<Alive, String> {
    let state = values.remove(STATE).ok_or("it has no list of apps")?;
    let saved: Saved = serde_json::from_slice(&state).map_err(|error| error.to_string())?;
    check(&saved)?;
    let (mut store, mut lost) = (Store::default(), BTreeMap::new());
    for app in &saved.apps {
        let prefix = app_key(app.number);
        let found = recover(below(&mut values, &prefix));
        if let Some(why) = end_the_lost(app, &found) {
            say(&format!("{}: {why}", app.spec.name));
            lost.insert(app.number, why);
        }
        for kept in found.kept {
            let item = Item { value: kept.value, descriptors: kept.descriptors };
            store.put(&format!("{prefix}{}", kept.key), item);
        }
    }
    say(&format!("taken over after {BEFORE}: {} apps", saved.apps.len()));
    let before = BEFORE.to_owned();
    Ok(Alive { saved, store, ends: Vec::new(), before, lost, unkept: true })
}

fn below(values: &mut BTreeMap<String, Vec<u8>>, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let below = values.extract_if(.., |key, _| key.starts_with(prefix));
    below.map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
}

/// Ends all workers of the app that are not taken over. Why that is so, if there were any.
fn end_the_lost(app: &SavedApp, found: &Recovered) -> Option<String> {
    let (signal, patience) = (&app.spec.kill_signal, app.spec.kill_timeout.duration());
    let signal = signal_from_name(signal).unwrap_or(Signal::INT);
    found.lost.iter().for_each(|lost| lost.signal(signal));
    let marks: Vec<Mark> = found.lost.iter().map(mark_of).collect();
    let until = Instant::now() + patience.min(LONGEST);
    while marks.iter().any(Mark::is_there) && Instant::now() < until {
        std::thread::sleep(LOOK_AGAIN);
    }
    found.lost.iter().for_each(Lost::kill);
    let is_taken = |mark: &Mark| found.workers.iter().any(|pid| pid.as_raw_pid() == mark.pid);
    let others: Vec<Mark> = app.marks().filter(|mark| !is_taken(mark)).chain(marks).collect();
    end_processes(&others);
    why(found)
}

fn why(found: &Recovered) -> Option<String> {
    let first = found.lost.first()?;
    if let Some(error) = &found.error {
        return Some(causes(error));
    }
    let why = format!("process {}: {}", first.pid(), causes(&first.why));
    Some(match &first.why {
        WhyLost::Refused(_) => format!("{why}; {RIGHTS}"),
        _ => why,
    })
}

fn mark_of(lost: &Lost) -> Mark {
    Mark { pid: lost.pid().as_raw_pid(), started: lost.started() }
}

impl Mark {
    /// Whether this very process runs.
    fn is_there(&self) -> bool {
        let pid = rustix::process::Pid::from_raw(self.pid);
        let entry = pid.and_then(|pid| tine_linux::tree::entry(pid).ok());
        entry.is_some_and(|entry| entry.started == self.started && !entry.zombie)
    }
}
