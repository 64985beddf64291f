//! The message that takes the place of the stop signal.

use tokio::sync::oneshot;

use super::{
    letters::{Form, Letter},
    settings::ProgramKind,
    task::Task,
};
use crate::{id::WorkerId, json::Json};

/// What pm2's users have their programs listen for.
const SHUTDOWN: &str = "shutdown";

impl Task {
    /// Whether the worker hears of its end by a message. One that its owner disconnects is told so in
    /// Node's own way.
    pub(super) fn is_told_by_message(&self, id: WorkerId) -> bool {
        let hears = |worker: &super::worker::Worker| {
            let alive = worker.exit.is_none() && worker.channel.is_some();
            alive && worker.kind == ProgramKind::Node && !worker.disconnecting
        };
        self.settings.stop_by_message && self.workers.get(&id).is_some_and(hears)
    }

    /// Whether the message is on its way; not where so many wait that one more finds no room.
    pub(super) fn says_shutdown(&self, id: WorkerId) -> bool {
        let channel = self.workers.get(&id).and_then(|worker| worker.channel.as_ref());
        let Some((channel, message)) = channel.zip(Json::of(&SHUTDOWN).ok()) else { return false };
        // Nobody waits for what becomes of it: patience has its end in any case.
        let (outcome, _) = oneshot::channel();
        let letter = Box::new(Letter { message, form: Form::Plain, outcome });
        channel.mailbox(id).post.try_send(letter).is_ok()
    }
}
