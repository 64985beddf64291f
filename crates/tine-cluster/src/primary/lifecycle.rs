//! Carries out what a worker's life demands, step by step.

use std::{io, time::Instant};

use rustix::process::Signal;
use tine_linux::{process::Exit, tree};

use super::{event::What, task::Task, watch};
use crate::{
    core::{
        instance::{End, Filling, Next},
        worker::{Action, Event as LifeEvent, Life},
    },
    id::{Instance, SeatId, WorkerId},
};

impl Task {
    /// One step of a worker's life, with what follows from it.
    pub(super) fn step(&mut self, id: WorkerId, event: LifeEvent) {
        let patience = self.settings.patience;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (life, action) = worker.life.step(event, Instant::now(), &patience);
        worker.life = life;
        match action {
            Action::None => {}
            Action::Drain => self.begin_drain(id),
            Action::Terminate => self.terminate(id),
            Action::Kill => self.kill_worker(id),
            Action::Release => self.release(id),
        }
    }

    fn begin_drain(&mut self, id: WorkerId) {
        self.tell(id, What::Draining);
        if let Err(error) = self.seats.drain(id) {
            self.trouble(id, "take a seat out of rotation", io::Error::other(error));
        }
        // When all leave, what was accepted is handed out first.
        if !self.stopping {
            self.leave_handing(id);
        }
    }

    pub(super) fn terminate(&mut self, id: WorkerId) {
        self.tell_cut(id);
        if self.is_told_by_message(id) && self.says_shutdown(id) {
            return;
        }
        let (signal, whole) = (self.settings.stop_signal, self.settings.stop_tree);
        let table = self.table_for(id);
        let Some(worker) = self.workers.get(&id) else { return };
        let alive = worker.exit.is_none();
        let sent = if alive { worker.terminate_first(signal) } else { Ok(()) };
        // At the latest when it has gone itself, leaving them behind.
        if whole || !alive {
            worker.terminate_rest(signal, &table);
        }
        if let Err(error) = sent {
            self.trouble(id, "send the stop signal", error);
        }
    }

    /// A drain that did not come to its end cuts connections.
    fn tell_cut(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let connections = std::mem::take(&mut worker.open_connections);
        if connections > 0 && worker.exit.is_none() {
            self.tell(id, What::Cut { connections });
        }
    }

    fn kill_worker(&mut self, id: WorkerId) {
        let table = self.table_for(id);
        let Some(worker) = self.workers.get(&id) else { return };
        if let Err(error) = worker.kill(&table) {
            self.trouble(id, "kill a worker", error);
        }
    }

    /// The first process ended: its instance gets a successor, if it is to have one.
    pub(super) fn exited(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let exit = match worker.process.try_wait() {
            Ok(Some(exit)) => exit,
            Ok(None) => return watch::exit_again(id, self.news.clone()),
            Err(_) => return,
        };
        worker.exit = Some(exit);
        worker.ended = Some(Instant::now());
        self.announce_of(id);
        let Some(worker) = self.workers.get(&id) else { return };
        let (instance, end) = (worker.instance, worker.end(exit));
        let exited_after_disconnect = worker.exited_after_disconnect;
        match &worker.channel {
            Some(channel) => channel.read_to_end(),
            None => self.channel_closed(id),
        }
        if !end.asked && !end.clean {
            self.last_failure = Some(exit);
        }
        let (lived, asked) = (end.lived, end.asked);
        let what = What::Exited { exit, lived, asked, exited_after_disconnect };
        self.tell_after_output(id, what);
        self.ended_on_trial(id);
        let next = self.what_follows(id, instance, (end, exit));
        self.tell_next(id, next, exit);
        if let Err(error) = self.seats.drain(id) {
            self.trouble(id, "take a seat out of rotation", io::Error::other(error));
        }
        self.step(id, LifeEvent::Exited);
        self.look_at(id);
    }

    /// `None`: its instance was given away meanwhile, or it never had one.
    fn what_follows(
        &mut self,
        id: WorkerId,
        instance: Instance,
        (end, exit): (End, Exit),
    ) -> Option<Next> {
        let (stopping, rules) = (self.stopping, self.settings.rules());
        let is_late = self.workers.get(&id).is_some_and(|worker| worker.is_late) && !end.asked;
        let code = match exit {
            Exit::Code(code) => Some(code.into()),
            Exit::Signal(_) => None,
        };
        let now = Instant::now();
        let place = self.place(instance)?;
        if place.filling() != Filling::Worker(id) {
            return None;
        }
        Some(match (stopping, is_late) {
            (true, _) => place.rest(),
            (false, true) => place.failed(now, &rules),
            (false, false) => place.followed((end, code), now, &rules),
        })
    }

    fn tell_next(&mut self, id: WorkerId, next: Option<Next>, exit: Exit) {
        match next {
            Some(Next::Restart(after)) => self.tell_after_output(id, What::Restarting { after }),
            Some(Next::GiveUp { early_ends }) => {
                let exit = Some(exit);
                let what = What::GivenUp { early_ends, exit, last_lines: Vec::new() };
                self.tell_after_output(id, what);
            }
            Some(Next::Rest) if self.has_finished(id) => self.tell_after_output(id, What::Finished),
            Some(Next::Rest) | None => {}
        }
    }

    fn has_finished(&mut self, id: WorkerId) -> bool {
        let instance = self.instance_of(id);
        self.place(instance).is_some_and(|place| place.filling() == Filling::Finished)
    }

    /// Nothing of it is left: its seats go to others, or wait for its successor.
    fn release(&mut self, id: WorkerId) {
        for seat in self.seats.registry().held_by(id) {
            self.let_go(seat, id);
        }
        self.forget_given(id);
        self.declared.remove(&id);
        self.restore_paths();
        self.gone_from_the_reload(id);
        self.gone(id);
    }

    pub(super) fn let_go(&mut self, seat: SeatId, id: WorkerId) {
        if let Err(error) = self.seats.let_go(seat, id) {
            self.trouble(id, "give a seat to the others", io::Error::other(error));
        }
    }

    /// Those that are leaving: is there anything left of them, or of their connections?
    pub(super) fn look_at_the_leaving(&mut self) {
        for id in self.leaving(|life| !life.serves()) {
            self.look_at(id);
        }
        if self.workers.values().any(|worker| worker.life == Life::Killed) {
            self.kill_strays();
        }
        self.workers.retain(|_, worker| worker.life != Life::Gone || worker.last_words().is_none());
    }

    pub(super) fn look_at(&mut self, id: WorkerId) {
        let Some(life) = self.workers.get(&id).map(|worker| worker.life) else { return };
        match life {
            Life::Draining { .. } => {
                if self.is_drained(id) {
                    self.step(id, LifeEvent::Drained);
                }
            }
            Life::Ended { .. } | Life::Killed | Life::Stopping { .. } if self.is_gone(id) => {
                self.step(id, LifeEvent::TreeGone);
            }
            Life::Killed => self.kill_again(id),
            Life::Starting
            | Life::Online
            | Life::Stopping { .. }
            | Life::Ended { .. }
            | Life::Gone => {}
        }
    }

    fn is_gone(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&id) else { return false };
        if let Some(gone) = worker.says_gone() {
            return gone;
        }
        let table = self.table_for(id);
        self.workers.get(&id).is_some_and(|worker| worker.lists_none(&table))
    }

    /// Something survived: forked in the moment of the kill, or hidden.
    fn kill_again(&mut self, id: WorkerId) {
        self.kill_worker(id);
        if !self.kills_strays() {
            self.give_up_the_hidden(id);
        }
    }

    /// Whether every child of this process that is no worker may be killed: all are going, and nobody
    /// else has children here.
    fn kills_strays(&self) -> bool {
        self.settings.owns_all_children && !self.workers.values().any(|w| w.life.serves())
    }

    /// What hides from the process table's ancestry is a child of this subreaper by now.
    fn kill_strays(&mut self) {
        if !self.kills_strays() {
            return;
        }
        self.reap_orphans();
        let (own, table) = (rustix::process::getpid(), self.table());
        let strays = table.entries().iter().filter(|entry| {
            entry.parent == Some(own) && !entry.zombie && !self.is_leader(entry.pid)
        });
        for stray in strays {
            // What is forked meanwhile is found at the next look.
            tree::signal_all(&table.members(Some(stray.pid), None), Signal::KILL);
        }
    }

    /// What is left of the worker hides from the process table, and cannot be told from what others
    /// have started: its instance does not wait for it. It ends with the app.
    fn give_up_the_hidden(&mut self, id: WorkerId) {
        let table = self.table_for(id);
        if self.workers.get(&id).is_some_and(|worker| worker.has_nothing_in_sight(&table)) {
            self.step(id, LifeEvent::TreeGone);
        }
    }

    fn is_leader(&self, pid: rustix::process::Pid) -> bool {
        self.workers.values().any(|worker| worker.exit.is_none() && worker.pid() == pid)
    }

    pub(super) fn reap_orphans(&mut self) {
        // Without /proc there are no orphans to be found.
        let _ = tree::reap_orphans(|pid| self.is_leader(pid));
    }

    /// It said something wrong on its channel: it is ended, and its successor may do better.
    pub(super) fn misbehaved(&mut self, id: WorkerId, error: String) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.misbehaved = true;
        }
        self.tell(id, What::Misbehaved { error });
        self.step(id, LifeEvent::Kill);
    }
}
