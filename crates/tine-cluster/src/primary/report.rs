//! What the cluster looks like now, for people and for other programs.

use std::time::Instant;

use super::{
    handing::Handing,
    reports::{InstanceReport, ListenerReport, Report, SeatReport, WorkerReport},
    task::Task,
    worker::Worker,
};
use crate::{
    core::{
        instance::{Filling, Place, State},
        registry::{Listener, Seat, SeatState},
    },
    id::{Instance, ListenerId, SeatId, WorkerId},
};

impl Task {
    pub(super) fn report(&self) -> Report {
        let workers = self.workers.values().map(|worker| self.worker(worker));
        let registry = self.seats.registry();
        let listeners = registry.listeners().map(|(id, listener)| self.listener(id, listener));
        let now = Instant::now();
        let instances = (0u32..).zip(&self.places);
        let instances =
            instances.map(|(number, place)| self.place_row(Instance(number), place, now));
        Report {
            listeners: listeners.collect(),
            workers: workers.collect(),
            instances: instances.collect(),
        }
    }

    fn worker(&self, worker: &Worker) -> WorkerReport {
        let instance = worker.instance.filled();
        let place =
            instance.and_then(|instance| self.places.get(usize::try_from(instance.0).ok()?));
        WorkerReport {
            worker: worker.id,
            instance,
            pid: worker.pid().as_raw_pid(),
            started: worker.started_at,
            phase: worker.life.phase(),
            is_ready: worker.ready,
            restarts: place.map_or(0, Place::restarts),
            is_connected: worker.is_connected(),
            is_dead: worker.exit.is_some(),
            exited_after_disconnect: worker.exited_after_disconnect,
        }
    }

    fn place_row(&self, instance: Instance, place: &Place, now: Instant) -> InstanceReport {
        let filling = place.filling();
        let left = match filling {
            Filling::Worker(id) => self.workers.get(&id),
            Filling::Empty | Filling::Waiting { .. } | Filling::Finished | Filling::GivenUp => {
                self.workers.values().find(|worker| worker.occupies(instance))
            }
        };
        let starts_in = match filling {
            Filling::Waiting { until } => Some(until.saturating_duration_since(now)),
            Filling::Empty | Filling::Worker(_) | Filling::Finished | Filling::GivenUp => None,
        };
        InstanceReport {
            instance,
            state: State::of(filling, left.map(|worker| (worker.life.phase(), worker.ready))),
            worker: left.map(|worker| worker.id),
            restarts: place.restarts(),
            early_ends: place.early_ends(),
            starts_in,
        }
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
