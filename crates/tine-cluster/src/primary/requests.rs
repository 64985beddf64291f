//! Carries out what the owner asks for, or passes it on to who does.

use super::{input::Command, restarting::InstanceError, task::Task};
use crate::{
    core::{instance::Place, worker::Event as LifeEvent},
    id::WorkerId,
};
use rustix::process::Signal;

impl Task {
    /// Whoever asked may have given up when the answer comes.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Stop => self.stop(),
            Command::Kill => self.kill(),
            Command::Signal(signal) => self.signal(signal),
            Command::SignalOne(worker, signal, done) => {
                let _ = done.send(self.signal_one(worker, signal));
            }
            Command::Fork(fork, answer) => {
                let _ = answer.send(self.fork(*fork));
            }
            Command::Setup(program) => self.setup(*program),
            Command::Reload(reload, done) => self.reload(*reload, done),
            Command::Policy(policy, intent, done) => self.change_policy((policy, intent), done),
            Command::Promote(done) => self.promote(done),
            Command::Revert(done) => self.revert(done),
            Command::CancelReload => self.cancel_reload(),
            Command::Approve(worker) => self.approve(worker),
            Command::Disconnect(who, gone) => self.disconnect(who, gone),
            Command::Scale(instances, done) => self.scale(instances, done),
            Command::StopInstance(instance, done) => self.stop_instance(instance, done),
            Command::StartInstance(instance, done) => self.start_instance(instance, done),
            Command::Restart(which, done) => self.restart(which, done),
            Command::Configure(tuning) => self.settings.tune(*tuning),
            Command::ReapOrphans => self.reap_wanted = true,
            Command::ChildEnded(pid, exit) => self.child_ended(pid, exit),
            Command::Leave(done) => self.leaving = Some(done),
            Command::Report(answer) => {
                let _ = answer.send(self.report());
            }
        }
    }

    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.abandon_reload();
        self.kept = None;
        self.abandon_restarts(|_| true, |_| InstanceError::Stopping);
        self.places.iter_mut().for_each(Place::cancel);
        self.close_gates();
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.ask_to_go(worker);
        }
        self.fill_sinks();
    }

    pub(super) fn ask_to_go(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.asked = true;
        }
        self.step(id, LifeEvent::Stop);
    }

    fn kill(&mut self) {
        self.stop();
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.step(worker, LifeEvent::Kill);
        }
    }

    fn signal(&mut self, signal: Signal) {
        for worker in self.workers.values() {
            // One that has ended needs no signal.
            let _ = worker.process.signal(signal);
        }
    }
}
