//! The process table, read at most once a look, for all workers together.
//!
//! Only workers without a cgroup need it. A thousand of them would otherwise read it a thousand times.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tine_linux::tree::{Orphanage, Table};

use super::{
    task::Task,
    worker::{MARK, Worker},
};
use crate::id::{SeatId, WorkerId};

/// An older table is read anew; but where reading takes long, it is not done all the time.
const FRESH: Duration = Duration::from_millis(10);
/// So many times as long as it took to read it, a table is good enough.
const SHARE: u32 = 10;

/// The last table, when it was read, and until when it will do.
#[derive(Debug, Default)]
pub(super) struct Census(Option<Reading>);

#[derive(Debug)]
struct Reading {
    began: Instant,
    until: Instant,
    table: Arc<Table>,
}

impl Task {
    /// What is needed to find the worker's processes: nothing, if it has a cgroup.
    pub(super) fn table_for(&mut self, id: WorkerId) -> Arc<Table> {
        let Some(worker) = self.workers.get(&id) else { return Arc::default() };
        if worker.has_cgroup() {
            return Arc::default();
        }
        let ended = worker.ended;
        self.table_since(ended)
    }

    /// The table, as fresh as need be.
    pub(super) fn table(&mut self) -> Arc<Table> {
        self.table_since(None)
    }

    /// Likewise, and not from before this moment.
    pub(super) fn table_since(&mut self, moment: Option<Instant>) -> Arc<Table> {
        let began = Instant::now();
        if let Some(last) = &self.census.0
            && began < last.until
            && moment.is_none_or(|moment| moment <= last.began)
        {
            return Arc::clone(&last.table);
        }
        // Without /proc nothing is found; what must be found is looked for again.
        let table = Arc::new(Table::read(Some(&self.orphanage())).unwrap_or_default());
        let until = Instant::now() + FRESH.max(began.elapsed() * SHARE);
        self.census.0 = Some(Reading { began, until, table: Arc::clone(&table) });
        table
    }

    /// Whether some process of the worker has the seat's socket open.
    pub(super) fn still_holds(&mut self, id: WorkerId, seat: SeatId) -> bool {
        let table = self.table_for(id);
        let (inode, worker) = (self.seats.inode(seat), self.workers.get(&id));
        inode.zip(worker).is_some_and(|(inode, worker)| worker.holds(inode, &table))
    }

    fn orphanage(&self) -> Orphanage {
        let running = self.workers.values().filter(|worker| worker.exit.is_none());
        Orphanage {
            reaper: rustix::process::getpid(),
            mark: MARK.to_owned(),
            known: running.map(Worker::pid).collect(),
        }
    }
}
