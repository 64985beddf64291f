//! Loads the eBPF programs beside everything else, so that no worker waits for the kernel's verifier.

use std::{io, thread};

use super::{
    balance,
    input::{Loaded, News},
    task::Task,
};
use crate::{
    id::{ListenerId, WorkerId},
    policy::{NotToBeHad, Policy},
};

impl Task {
    /// Begins to load the program of a listener.
    pub(super) fn load_program(&mut self, listener: ListenerId, policy: Policy) {
        let (tell, known) = (self.news.clone(), self.offsets);
        let work = move || {
            let result = balance::load(policy, known);
            // The cluster may have ended meanwhile.
            let _ = tell.blocking_send(News::Loaded(listener, Box::new(result)));
        };
        let started = thread::Builder::new().name("load-program".into()).spawn(work);
        if let Err(error) = started {
            self.do_without_program(listener, error);
        }
    }

    pub(super) fn program_loaded(&mut self, listener: ListenerId, result: Loaded) {
        match result {
            Ok((balancer, offsets)) => {
                self.offsets = self.offsets.or(offsets);
                if let Err(error) = self.seats.loaded(listener, balancer) {
                    self.trouble(WorkerId(0), "give a group its program", io::Error::other(error));
                }
            }
            Err(error) => self.do_without_program(listener, io::Error::other(error)),
        }
        self.announce(listener);
    }

    /// The next best, unless eBPF was asked for by name.
    fn do_without_program(&mut self, listener: ListenerId, error: io::Error) {
        self.trouble(WorkerId(0), "load the balancing program", error);
        if self.settings.mechanism.is_some() {
            self.unfit(WorkerId(0), NotToBeHad::NoEbpf);
        }
        self.settings.abilities.ebpf = false;
        let Some(info) = self.seats.registry().listener(listener) else { return };
        let (transport, by) = (info.key.transport, crate::policy::Acquisition::BindTrap);
        // Sockets are bound already, each worker's its own: what needs a channel comes too late.
        let Ok(choice) = self.choose(transport, by) else { return };
        if let Err(error) = self.seats.do_without(listener, choice) {
            self.trouble(WorkerId(0), "give a group its program", io::Error::other(error));
        }
    }

    /// The worker closes what it listened on, or ends: that it listened is told before.
    pub(super) fn announce_of(&mut self, worker: WorkerId) {
        let (ready, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unannounced).into_iter().partition(|(id, _)| *id == worker);
        self.unannounced = later;
        for (worker, seat) in ready {
            self.worker_listens(worker, seat);
        }
    }

    /// What was held back is told: the policy has taken hold.
    fn announce(&mut self, listener: ListenerId) {
        let of = |seat| self.seats.listener_of(seat).map(|(id, _)| id) == Some(listener);
        let (ready, later) =
            std::mem::take(&mut self.unannounced).into_iter().partition(|(_, seat)| of(*seat));
        self.unannounced = later;
        let ready: Vec<_> = ready;
        for (worker, seat) in ready {
            self.worker_listens(worker, seat);
        }
    }
}
