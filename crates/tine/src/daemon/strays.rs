//! Workers that nobody knows of.
//!
//! A manager that is killed after it has started a worker, and before it has had that kept, leaves one that
//! the next manager would start a second time.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tine_linux::{foreign::start_variable, tree};

use crate::watchdog::Store;

/// The variable that tells whose process one is.
const MARK: &str = "TINE_WORKER_ID";
/// What a cluster keeps of each worker has this in its key.
const WORKER: &str = "/worker/";

#[derive(Deserialize)]
struct Worker {
    mark: String,
}

/// Kills those of the watchdog's children that carry the mark of no worker that was kept, with all that
/// descends from them; gives how many processes that were.
pub(super) fn end(store: &Store, watchdog: Pid) -> usize {
    let known = marks(store);
    let table = tree::Table::read(None).unwrap_or_default();
    let is_stray = |pid: Pid| {
        let mark = start_variable(pid, MARK);
        mark.is_some_and(|mark| !known.contains(&*mark.to_string_lossy()))
    };
    let children = table.entries().iter().filter(|it| it.parent == Some(watchdog) && !it.zombie);
    let strays: Vec<Pid> = children.map(|it| it.pid).filter(|pid| is_stray(*pid)).collect();
    let mut killed = 0;
    for stray in strays {
        let members = table.members(Some(stray), None);
        tree::signal_all(&members, Signal::KILL);
        killed += members.len();
    }
    killed
}

fn marks(store: &Store) -> BTreeSet<String> {
    let workers = store.items().filter(|(key, _)| key.contains(WORKER));
    let read = workers.filter_map(|(_, item)| serde_json::from_slice::<Worker>(&item.value).ok());
    read.map(|worker| worker.mark).collect()
}
