//! What an app's cluster tells.

use std::{io, time::Duration};

use tine_cluster::primary::{Event, What};
use tine_linux::{cgroup::Controller, process::Exit};

use super::{App, Slot, pid_file, succession::Found};
use crate::{causes::causes, daemon::slot::Empty, units::spoken};

impl App {
    pub(super) fn heard(&mut self, event: Event) {
        let Some(instance) = event.instance else { return self.heard_of_all(&event.what) };
        let worker = event.worker;
        if let What::Adopted { pid, lived, ready, in_place, output } = event.what {
            self.adopted((instance.0, worker), Found { pid, lived, ready, in_place, output });
            return self.publish();
        }
        let Some(slot) = self.slots.get_mut(&instance.0) else { return };
        let id = slot.id;
        match event.what {
            What::Started { pid, output } => {
                slot.started(worker, pid);
                let mark = slot.mark_of(worker);
                self.capture(id, worker, output);
                let path = pid_file::path(&self.spec, id, &self.shared.home);
                pid_file::write(&path, pid.as_raw_pid());
                self.processes.extend(mark.map(|mark| (worker, mark)));
                self.begin_trial(worker, pid);
                self.note(Some(id), "start", format!("started with pid {pid}"));
            }
            What::NotStarted { error } => self.trouble(instance.0, "error", causes(&error)),
            What::Ready => {
                slot.is_ready(worker);
                self.note(Some(id), "online", "is ready".to_owned());
            }
            What::Listening { key, .. } => self.listens(&key.endpoint),
            What::NotReady { after } => {
                slot.explained = Some(worker);
                let text = format!("was not ready within {}, and is stopped", spoken(after));
                self.trouble(instance.0, "not-ready", text);
            }
            What::Refused { key, errno } => {
                // Its end is of that.
                slot.explained = Some(worker);
                self.refused(instance.0, key, errno);
            }
            What::Unfit { reason } => self.trouble(instance.0, "error", reason.to_string()),
            What::Misbehaved { error } => self.trouble(instance.0, "error", error),
            // Told every second by some, and of no interest to those who are told of changes.
            What::Message { message, .. } => return self.program_says(worker, message.get()),
            What::Kept => slot.is_kept(worker),
            What::Returned => {
                if let Some(pid) = slot.is_back(worker) {
                    pid_file::write(&pid_file::path(&self.spec, id, &self.shared.home), pid);
                }
            }
            What::Draining => {
                slot.leaves(worker);
                self.losses.leavers.insert(worker);
            }
            What::Cut { connections } => {
                let count = u64::try_from(connections).unwrap_or(u64::MAX);
                slot.cut += count;
                self.losses.cut_ever += count;
                *self.losses.cut.entry(id).or_default() += count;
                let text = match connections {
                    1 => "1 connection did not end in time and was cut".to_owned(),
                    more => format!("{more} connections did not end in time and were cut"),
                };
                self.note(Some(id), "cut", text);
            }
            What::Exited { exit, lived, asked, .. } => {
                self.losses.leavers.remove(&worker);
                self.exited((instance.0, worker), exit, (lived, asked));
            }
            What::Restarting { after } => {
                slot.waits(after);
                self.note(Some(id), "restart", format!("starts again after {}", spoken(after)));
            }
            What::Unlimited { controller, error } => self.unlimited(id, controller, &error),
            What::Finished => slot.empty = Empty::Stopped,
            What::GivenUp { early_ends, .. } => self.given_up(instance.0, early_ends),
            What::Trouble { doing, error } => {
                self.note(Some(id), "trouble", format!("{doing}: {error}"));
            }
            // What is of interest to Node's programs alone, or comes with one of the others.
            _ => {}
        }
        self.publish();
    }

    fn heard_of_all(&mut self, what: &What) {
        match what {
            What::Trouble { doing, error } => {
                self.note(None, "trouble", format!("{doing}: {error}"));
            }
            What::Promoted => self.promoted(),
            // What concerns single workers.
            _ => {}
        }
    }

    /// A limit was asked for that this machine does not keep. Better said than believed.
    fn unlimited(&mut self, id: u32, controller: Controller, error: &io::Error) {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "cgroup v2 has no such controller here".to_owned(),
            _ => error.to_string(),
        };
        let text = format!("runs without its limit of {controller}: {why}");
        self.tell(&format!("{id} {text}"));
        self.note(Some(id), "trouble", text);
    }

    /// Something went wrong that explains what comes next.
    pub(super) fn trouble(&mut self, instance: u32, what: &str, text: String) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        slot.failure = Some(text.clone());
        let id = slot.id;
        self.tell(&format!("{id} {text}"));
        self.note(Some(id), what, text);
    }

    fn exited(
        &mut self,
        (instance, worker): (u32, tine_cluster::id::WorkerId),
        exit: Exit,
        (lived, asked): (Duration, bool),
    ) {
        self.processes.remove(&worker);
        self.program_ended(worker);
        let early = lived < self.spec.min_uptime.duration();
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let asked = asked || !slot.wanted || slot.due.is_some();
        let in_place = slot.ended(worker, exit, (!asked).then_some(early));
        let text = format!("{exit} after {}", spoken(lived));
        if in_place && !asked && slot.explained != Some(worker) {
            slot.failure = Some(text.clone());
        }
        let id = slot.id;
        self.stdins.remove(worker);
        if slot.current.is_none() {
            pid_file::remove(&pid_file::path(&self.spec, id, &self.shared.home));
        }
        if !asked {
            self.tell(&format!("{id} {text}"));
        }
        self.note(Some(id), if asked { "stop" } else { "exit" }, text);
    }

    fn given_up(&mut self, instance: u32, early_ends: u32) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        slot.empty = Empty::GivenUp;
        let last = slot.failure.take().unwrap_or_default();
        let text = match early_ends {
            0 | 1 => format!("given up: it {last}"),
            more => {
                format!("given up: it ended too early {more} times in a row; the last one {last}")
            }
        };
        self.trouble(instance, "given-up", text);
    }
}

impl Slot {
    /// Why it does not serve.
    pub(super) fn complaint(&self) -> String {
        let failure = self.failure.clone().unwrap_or_else(|| "is not ready in time".to_owned());
        // Of one that fails nobody thinks that it has done its work.
        let is_job = self.early_ends > 0 && self.exit_code == Some(0);
        let hint = if is_job { "; autorestart = false lets it end" } else { "" };
        match self.early_ends {
            0 | 1 => format!("worker {} {failure}{hint}", self.id),
            more => {
                format!("worker {} ended {more} times at once, lately: {failure}{hint}", self.id)
            }
        }
    }
}
