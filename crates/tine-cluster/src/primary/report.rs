//! What the cluster looks like now, for people and for other programs.

use super::{
    event::{ListenerReport, Report, SeatReport, WorkerReport},
    handing::Handing,
    task::Task,
};
use crate::{
    core::registry::{Listener, Seat, SeatState},
    id::{ListenerId, SeatId, WorkerId},
};

impl Task {
    pub(super) fn report(&self) -> Report {
        let workers = self.workers.values().map(|worker| WorkerReport {
            worker: worker.id,
            instance: worker.instance.filled(),
            pid: worker.pid().as_raw_pid(),
            phase: worker.life.phase(),
            is_connected: worker.is_connected(),
            is_dead: worker.exit.is_some(),
            exited_after_disconnect: worker.exited_after_disconnect,
        });
        let registry = self.seats.registry();
        let listeners = registry.listeners().map(|(id, listener)| self.listener(id, listener));
        Report { listeners: listeners.collect(), workers: workers.collect() }
    }

    fn listener(&self, id: ListenerId, listener: &Listener) -> ListenerReport {
        let seats = self.seats.registry().seats_of(id);
        let mut seats: Vec<SeatReport> = match self.handing.get(&id) {
            Some(handing) => self.handed(id, handing),
            None => seats.flat_map(|(seat, info)| self.seat(seat, info)).collect(),
        };
        seats.sort_by_key(|seat| (seat.instance, seat.worker));
        ListenerReport {
            address: listener.key.to_string(),
            kind: listener.key.transport.word().to_owned(),
            choice: listener.choice,
            acquisition: listener.acquisition,
            seats,
        }
    }

    fn seat(&self, id: SeatId, seat: &Seat) -> Vec<SeatReport> {
        let row = |worker: Option<WorkerId>| SeatReport {
            worker,
            instance: worker.map_or(seat.instance, |worker| self.instance_of(worker)).filled(),
            pid: worker.and_then(|worker| self.pid_of(worker)),
            connections: self.seats.taken(id),
            queue: self.seats.queue(id),
            state: seat.state,
        };
        if seat.holders.is_empty() {
            return vec![row(None)];
        }
        seat.holders.iter().map(|worker| row(Some(*worker))).collect()
    }

    /// Under hand-over nobody but the primary has a seat; what counts is who takes connections.
    fn handed(&self, id: ListenerId, handing: &Handing) -> Vec<SeatReport> {
        let seats = self.seats.registry().seats_of(id);
        let in_kernel: u32 = seats.filter_map(|(seat, _)| self.seats.queue(seat)).sum();
        let waiting = u32::try_from(handing.waiting()).ok().map(|here| here + in_kernel);
        let row = |worker: WorkerId| SeatReport {
            worker: Some(worker),
            instance: self.instance_of(worker).filled(),
            pid: self.pid_of(worker),
            connections: Some(handing.taken(worker)),
            queue: waiting,
            state: SeatState::InRotation,
        };
        handing.workers().map(row).collect()
    }

    fn pid_of(&self, worker: WorkerId) -> Option<i32> {
        self.workers.get(&worker).map(|worker| worker.pid().as_raw_pid())
    }
}
