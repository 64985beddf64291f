//! Keeps the instances filled: what starts, what starts again, what is given up.

use std::{sync::Arc, time::Instant};

use tine_linux::spawn::SpawnError;

use super::{event::What, task::Task};
use crate::{
    core::instance::{Next, Place},
    id::{Instance, WorkerId},
};

impl Task {
    pub(super) fn fill(&mut self, instance: Instance) {
        let program = Arc::clone(self.program_that_works());
        match self.start_worker(Some(instance), &program) {
            Ok(id) => self.filled(instance, id),
            Err(error) => self.not_started(instance, error),
        }
    }

    fn filled(&mut self, instance: Instance, id: WorkerId) {
        if let Some(place) = self.place(instance) {
            place.filled(id);
        }
        self.filled_beside_the_reload(instance, id);
        self.runs(id);
        self.instance_filled(instance);
    }

    /// The worker runs.
    pub(super) fn runs(&mut self, id: WorkerId) {
        self.ever_ran = true;
        self.publish();
        if let Some(worker) = self.workers.get_mut(&id) {
            let (pid, output) = (worker.pid(), worker.pipes.take());
            let unlimited = std::mem::take(&mut worker.unlimited);
            self.tell(id, What::Started { pid, output });
            for (controller, error) in unlimited {
                self.tell(id, What::Unlimited { controller, error });
            }
        }
        self.await_ready(id);
        self.open_declared(id);
    }

    fn not_started(&mut self, instance: Instance, error: SpawnError) {
        let worker = WorkerId(self.last_worker);
        self.instance_not_started(instance, &error);
        self.tell_of(worker, instance, What::NotStarted { error });
        let rules = self.settings.rules();
        // What cannot be executed at the very first try is a mistake that waiting does not mend.
        let next = if self.ever_ran {
            self.place(instance).map(|p| p.failed(Instant::now(), &rules))
        } else {
            self.place(instance).map(Place::give_up)
        };
        match next {
            Some(Next::Restart(after)) => {
                self.tell_of(worker, instance, What::Restarting { after });
            }
            Some(Next::GiveUp { early_ends }) => {
                let what = What::GivenUp { early_ends, exit: None, last_lines: Vec::new() };
                self.tell_of(worker, instance, what);
            }
            Some(Next::Rest) | None => {}
        }
    }

    pub(super) fn place(&mut self, instance: Instance) -> Option<&mut Place> {
        self.keeping.places = true;
        self.places.get_mut(usize::try_from(instance.0).ok()?)
    }

    pub(super) fn next_worker(&mut self) -> WorkerId {
        self.last_worker += 1;
        WorkerId(self.last_worker)
    }
}
