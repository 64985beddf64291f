//! From one manager to the next: an app leaves its workers alone, and another one takes them over.

use std::collections::BTreeSet;

use rustix::process::Pid;
use tine_cluster::primary::{Settings, Stdio};
use tine_linux::process::Exit;

use super::{App, Left};
use crate::{
    api::apps::Outcome,
    causes::causes,
    daemon::{
        left::app_key,
        order::{Departure, Which},
        slot::Empty,
        state::end_processes,
    },
};

impl App {
    /// What the manager wants of every cluster.
    pub(super) fn manage(&self, settings: &mut Settings) {
        settings.lives_on = true;
        settings.program.stdio = Stdio::Pipes;
        settings.workers_die_with_manager = false;
    }

    /// Waits until all apps are here, and then knows its workers no longer.
    pub(super) async fn leave(&mut self, departure: Departure) -> Outcome {
        let Departure { here, mut go } = departure;
        drop(here);
        // If nobody says it any more, it is time as well.
        let _ = self.during(async move { go.wait_for(|go| *go).await.map(|_| ()) }).await;
        self.guard = None;
        self.leaving = true;
        self.done("handed over", &Which::All)
    }

    /// Goes on with what the manager before has left. What cannot be taken over is ended, and started
    /// anew.
    pub(super) async fn take_over(&mut self, left: Left) {
        self.start_anew(&left, None).await;
    }

    async fn start_anew(&mut self, left: &Left, error: Option<std::io::Error>) {
        let processes = left.processes.clone();
        let ended = tokio::task::spawn_blocking(move || end_processes(&processes));
        let killed = self.during(ended).await.unwrap_or(0);
        self.shared.keeper.forget_below(&app_key(self.number));
        if let Some(error) = error {
            let text = format!(
                "could not be taken over after {}, and is started anew; {killed} processes were \
                 killed: {}",
                left.before,
                causes(&error)
            );
            crate::daemon::say(&format!("{}: {text}", self.spec.name));
            self.note(None, "trouble", text);
        }
        let wanted = self.slots.values().filter(|slot| slot.wanted && slot.empty != Empty::GivenUp);
        let wanted: BTreeSet<u32> = wanted.map(|slot| slot.id).collect();
        if wanted.is_empty() {
            return self.guard_stopped();
        }
        let outcome = self.start(&Which::Ids(wanted)).await;
        self.told(outcome);
    }

    /// The watchdog had this process for a child.
    pub(super) fn child_ended(&mut self, pid: Pid, exit: Exit) {
        self.ends.push((pid, exit));
    }
}
