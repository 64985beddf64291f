//! Tells the owner what happens, in the order in which a person would.

use std::io;

use super::{
    event::{Event, What},
    task::Task,
    worker::Output,
};
use crate::{
    address::Transport,
    core::worker::Event as LifeEvent,
    id::{Instance, SeatId, WorkerId},
    policy::NotToBeHad,
};

impl Task {
    /// The worker listens on one more address.
    pub(super) fn worker_listens(&mut self, id: WorkerId, seat: SeatId) {
        if !self.told_listening.insert((id, seat)) {
            return;
        }
        let Some((listener_id, listener)) = self.seats.listener_of(seat) else { return };
        let what = What::Listening {
            key: listener.key.clone(),
            choice: listener.choice,
            acquisition: listener.acquisition,
        };
        let tcp = listener.key.transport == Transport::Tcp;
        let port = tcp.then(|| listener.key.endpoint.port()).flatten();
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.listened = true;
            worker.ports.extend(port);
        }
        self.join_handing(id, listener_id);
        self.step(id, LifeEvent::Listening);
        self.tell(id, what);
    }

    pub(super) fn instance_of(&self, id: WorkerId) -> Instance {
        self.workers.get(&id).map(|worker| worker.instance).unwrap_or_default()
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn tell(&self, id: WorkerId, what: What) {
        let instance = self.workers.get(&id).map(|worker| worker.instance).unwrap_or_default();
        self.tell_of(id, instance, what);
    }

    pub(super) fn tell_of(&self, worker: WorkerId, instance: Instance, what: What) {
        // Nobody wants to know: the cluster goes on.
        let _ = self.tell.send(Event { worker, instance, what });
    }

    pub(super) fn trouble(&self, id: WorkerId, doing: &'static str, error: io::Error) {
        self.tell(id, What::Trouble { doing, error });
    }

    pub(super) fn unfit(&self, id: WorkerId, reason: NotToBeHad) {
        self.tell(id, What::Unfit { reason });
    }

    /// Told when the worker's last words were.
    pub(super) fn tell_after_output(&mut self, id: WorkerId, what: What) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &mut worker.output {
            Output::Flowing(later) => later.push(what),
            Output::Ended(last) => {
                let what = with_last_lines(what, last);
                self.tell(id, what);
            }
        }
    }

    pub(super) fn output_ended(&mut self, id: WorkerId, last: &[Vec<u8>]) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut worker.output, Output::Ended(last.to_vec()));
        if let Output::Flowing(later) = before {
            for what in later {
                self.tell(id, with_last_lines(what, last));
            }
        }
    }
}

fn with_last_lines(what: What, last: &[Vec<u8>]) -> What {
    match what {
        What::GivenUp { early_ends, exit, .. } => {
            What::GivenUp { early_ends, exit, last_lines: last.to_vec() }
        }
        other => other,
    }
}
