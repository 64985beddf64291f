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

/// An older table is read anew.
const FRESH: Duration = Duration::from_millis(10);

/// The last table, and when it was read.
#[derive(Debug, Default)]
pub(super) struct Census(Option<(Instant, Arc<Table>)>);

impl Task {
    /// What is needed to find the worker's processes: nothing, if it has a cgroup.
    pub(super) fn table_for(&mut self, id: WorkerId) -> Arc<Table> {
        if self.workers.get(&id).is_none_or(Worker::has_cgroup) {
            return Arc::default();
        }
        self.table()
    }

    /// The table, as fresh as need be.
    pub(super) fn table(&mut self) -> Arc<Table> {
        let now = Instant::now();
        if let Some((read, table)) = &self.census.0
            && now < *read + FRESH
        {
            return Arc::clone(table);
        }
        // Without /proc nothing is found; what must be found is looked for again.
        let table = Arc::new(Table::read(Some(&self.orphanage())).unwrap_or_default());
        // Reading takes long where there are many processes: it is the end of it that counts.
        self.census.0 = Some((Instant::now(), Arc::clone(&table)));
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
