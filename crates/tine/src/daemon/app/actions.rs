//! What programs tell of themselves, and the actions that they carry out: the words of `@pm2/io` on a
//! worker's channel.
//!
//! `axm:action` tells of an action, `axm:monitor` of metrics, `axm:option:configuration` of options. The
//! manager sends an action's name, or `{"msg": name, "opts": parameters}`, and `axm:reply` is the answer,
//! which says no more than the action's name: the one who has waited for it longest gets it.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tine_cluster::{id::WorkerId, json::Json, primary::Cluster};
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use super::App;
use crate::{
    api::told::{ActionReply, Told},
    daemon::{left::app_key, order::Which},
    watchdog::Item,
};

/// Actions, and options, that one worker may tell of; more are ignored.
const MOST: usize = 128;
/// Longer news of actions and options are ignored, in bytes.
const SHORT: usize = 4 * 1024;
/// Longer news of metrics are ignored, in bytes.
const METRICS: usize = 64 * 1024;
/// So often one worker may change what it offers and have it known to the next manager.
const CHANGES: u32 = 512;
/// Longer answers are refused, in bytes.
const ANSWER: usize = 1024 * 1024;

/// What a program offers is kept below an app's key with this, and the worker's number.
pub(super) const OFFER: &str = "offer/";

/// What is asked of a program.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Action {
    pub name: String,
    pub parameters: Option<String>,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// The programs of workers that run and have said something.
#[derive(Debug, Default)]
pub(super) struct Programs(BTreeMap<WorkerId, Program>);

#[derive(Debug, Default)]
struct Program {
    told: Told,
    /// How often that was kept for the next manager.
    kept: u32,
    /// Whoever waits for an answer, by the action's name; the first comes first.
    waiting: Vec<(String, oneshot::Sender<Value>)>,
}

/// A message of the protocol. Others are not ours.
#[derive(Deserialize)]
struct News {
    r#type: String,
    #[serde(default)]
    data: Value,
}

impl Programs {
    /// A worker's program says something, as JSON. Gives what is to be kept for the next manager, if that
    /// is different: metrics come again by themselves, the rest is said once.
    pub(super) fn hear(&mut self, worker: WorkerId, text: &str) -> Option<Vec<u8>> {
        if !text.contains("\"axm:") {
            return None;
        }
        let News { r#type, data } = serde_json::from_str(text).ok()?;
        let program = self.0.entry(worker).or_default();
        match &*r#type {
            "axm:action" if text.len() <= SHORT => program.told.action(data),
            "axm:option:configuration" if text.len() <= SHORT => program.told.options(data),
            "axm:monitor" if text.len() <= METRICS => return program.told.metrics(data),
            "axm:reply" => return program.replied(data, text.len()),
            _ => return None,
        }
        program.kept += 1;
        let once = Told { metrics: Map::new(), ..program.told.clone() };
        (program.kept <= CHANGES).then(|| serde_json::to_vec(&once).ok())?
    }

    /// What the manager before has heard.
    fn remember(&mut self, worker: WorkerId, told: &[u8]) {
        if let Ok(told) = serde_json::from_slice(told) {
            self.0.entry(worker).or_default().told = told;
        }
    }

    /// The worker is gone. Whoever waits for its answer waits no longer.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.0.remove(&worker);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn told(&self, worker: WorkerId) -> Option<&Told> {
        Some(&self.0.get(&worker)?.told)
    }

    /// Where the answer to this action will come.
    fn expect(
        &mut self,
        worker: WorkerId,
        action: &str,
    ) -> Result<oneshot::Receiver<Value>, String> {
        let unknown = |known: &str| Err(format!("has no action `{action}`{known}"));
        let Some(program) = self.0.get_mut(&worker) else { return unknown(", and no other") };
        let names: Vec<&str> = program.told.action_names().collect();
        if !names.contains(&action) {
            return unknown(&match &*names {
                [] => ", and no other".to_owned(),
                names => format!("; it has {}", names.join(", ")),
            });
        }
        program.waiting.retain(|(_, answer)| !answer.is_closed());
        let (answer, answered) = oneshot::channel();
        program.waiting.push((action.to_owned(), answer));
        Ok(answered)
    }
}

impl Told {
    /// One of the same name takes the place of the one before.
    fn action(&mut self, data: Value) {
        let Some(name) = data.get("action_name").filter(|name| name.is_string()) else { return };
        let known = self.actions.iter().position(|known| known.get("action_name") == Some(name));
        match known {
            Some(known) => self.actions[known] = data,
            None if self.actions.len() < MOST => self.actions.push(data),
            None => {}
        }
    }

    fn options(&mut self, data: Value) {
        let Value::Object(data) = data else { return };
        for (name, value) in data {
            if self.options.len() < MOST || self.options.contains_key(&name) {
                self.options.insert(name, value);
            }
        }
    }

    fn metrics<T>(&mut self, data: Value) -> Option<T> {
        if let Value::Object(data) = data {
            self.metrics = data;
        }
        None
    }
}

impl Program {
    fn replied<T>(&mut self, mut data: Value, bytes: usize) -> Option<T> {
        let name = data.get("action_name").and_then(Value::as_str)?;
        self.waiting.retain(|(_, answer)| !answer.is_closed());
        let place = self.waiting.iter().position(|(action, _)| action == name)?;
        let (_, answer) = self.waiting.remove(place);
        if bytes <= ANSWER {
            let _ = answer.send(data.get_mut("return").map(Value::take).unwrap_or_default());
        }
        None
    }
}

impl App {
    /// A worker's program says something.
    pub(super) fn program_says(&mut self, worker: WorkerId, text: &str) {
        if let Some(offer) = self.programs.hear(worker, text) {
            self.shared.keeper.put(&self.offer_key(worker), &offer, &[]);
        }
    }

    /// A worker is gone.
    pub(super) fn program_ended(&mut self, worker: WorkerId) {
        self.programs.remove(worker);
        self.shared.keeper.forget(&self.offer_key(worker));
    }

    /// Goes on with what programs had told the manager before, of workers that live.
    pub(super) fn remember_programs(&mut self, offers: Vec<(String, Item)>) {
        for (key, item) in offers {
            let worker = key.strip_prefix(OFFER).and_then(|id| id.parse().ok()).map(WorkerId);
            match worker.filter(|worker| self.processes.contains_key(worker)) {
                Some(worker) => self.programs.remember(worker, &item.value),
                None => self.shared.keeper.forget(&format!("{}{key}", app_key(self.number))),
            }
        }
    }

    fn offer_key(&self, worker: WorkerId) -> String {
        format!("{}{OFFER}{}", app_key(self.number), worker.0)
    }

    /// Has the workers carry out an action, and gathers what they answer, in the order of their ids.
    pub(super) fn trigger(
        &mut self,
        which: &Which,
        action: &Action,
        answer: oneshot::Sender<Vec<ActionReply>>,
    ) {
        let slots = self.slots.values().filter(|slot| which.has(slot.id));
        let workers: Vec<_> =
            slots.map(|slot| (slot.id, slot.current.map(|it| it.worker))).collect();
        let mut all = JoinSet::new();
        for (id, worker) in workers {
            let app = self.spec.name.clone();
            let asked = self.ask(worker, action);
            all.spawn(async move {
                let (reply, error) = match asked {
                    Ok(asked) => split(asked.await),
                    Err(error) => (None, Some(error)),
                };
                ActionReply { app, id, reply, error }
            });
        }
        tokio::spawn(async move {
            let mut replies = all.join_all().await;
            replies.sort_by_key(|reply| reply.id);
            let _ = answer.send(replies);
        });
    }

    /// What is to be awaited for an answer.
    fn ask(
        &mut self,
        worker: Option<WorkerId>,
        action: &Action,
    ) -> Result<impl Future<Output = Result<Value, String>> + Send + use<>, String> {
        let (Some(worker), Some(runs)) = (worker, &self.runs) else {
            return Err("does not run".to_owned());
        };
        let answered = self.programs.expect(worker, &action.name)?;
        let (cluster, message) = (runs.cluster.clone(), message(action));
        let patience = action.patience;
        Ok(async move {
            let talk = converse(cluster, (worker, message), answered);
            timeout(patience, talk).await.unwrap_or_else(|_| {
                Err(format!("has not answered within {}", crate::units::spoken(patience)))
            })
        })
    }
}

/// pm2's form: a mere name, if there are no parameters.
fn message(action: &Action) -> Value {
    match &action.parameters {
        None => json!(action.name),
        Some(parameters) => json!({"msg": action.name, "opts": parameters}),
    }
}

async fn converse(
    cluster: Cluster,
    (worker, message): (WorkerId, Value),
    answered: oneshot::Receiver<Value>,
) -> Result<Value, String> {
    let message = Json::of(&message).map_err(|error| error.to_string())?;
    cluster.send(worker, &message).await.map_err(|error| error.to_string())?;
    answered.await.map_err(|_| format!("has ended, or its answer is longer than {ANSWER} bytes"))
}

fn split(asked: Result<Value, String>) -> (Option<Value>, Option<String>) {
    match asked {
        Ok(reply) => (Some(reply), None),
        Err(error) => (None, Some(error)),
    }
}

/// Nothing is a program that has said nothing.
pub(super) fn shown(told: Option<&Told>) -> Option<Box<Told>> {
    told.filter(|told| !told.is_nothing()).cloned().map(Box::new)
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
