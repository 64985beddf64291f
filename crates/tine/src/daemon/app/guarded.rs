//! What an app's guard demands, and what it is told of the app.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tine_cluster::{
    address::{Endpoint, ListenKey, Transport},
    core::rollout::Pace,
    id::{Instance, WorkerId},
    primary::Reload,
};
use tokio::sync::{mpsc, oneshot};

use super::{App, change::patience, heard::causes};
use crate::{
    api::apps::Outcome,
    daemon::{
        order::{Alter, Order, Todo, Which},
        slot::{Reason, Slot},
    },
    spec::{Action, AppSpec},
    supervise::{
        guard::{Demand, Guard, GuardError, Why},
        health::{Subject, Subjects},
    },
};

/// The guard of an app, and what goes between the two.
pub(super) struct Guarded {
    guard: Option<Guard>,
    /// What the guard was made for, and whether that ran.
    made_for: Option<(Arc<AppSpec>, bool)>,
    tell: mpsc::UnboundedSender<Demand>,
    /// The app's own orders; not kept open by this.
    orders: mpsc::WeakSender<Order>,
    /// Demands whose orders wait to be carried out.
    waiting: Vec<(Why, Which)>,
    /// The first address of the worker that began to listen last.
    address: Option<(WorkerId, SocketAddr)>,
}

impl Guarded {
    pub(super) fn new(orders: &mpsc::Sender<Order>) -> (Self, mpsc::UnboundedReceiver<Demand>) {
        // A guard that nobody hears demands nothing new for long.
        let (tell, demands) = mpsc::unbounded_channel();
        let (guard, made_for, waiting, address) = (None, None, Vec::new(), None);
        let orders = orders.downgrade();
        (Self { guard, made_for, tell, orders, waiting, address }, demands)
    }

    /// Whether files are watched.
    pub(super) fn watches(&self) -> bool {
        self.made_for.as_ref().is_some_and(|(spec, runs)| *runs && spec.watch.is_some())
    }

    /// A worker listens.
    pub(super) fn listens(&mut self, worker: WorkerId, key: &ListenKey) {
        let (Transport::Tcp, Endpoint::Inet { address, .. }) = (key.transport, &key.endpoint)
        else {
            return;
        };
        if self.address.is_none_or(|(known, _)| known != worker) {
            self.address = Some((worker, *address));
        }
    }

    fn is_for(&self, spec: &AppSpec, runs: bool) -> bool {
        self.made_for.as_ref().is_some_and(|(known, ran)| **known == *spec && *ran == runs)
    }

    /// Gives the app an order of its own.
    fn order(&mut self, key: (Why, Which), todo: Todo) {
        if self.waiting.contains(&key) {
            return;
        }
        let Some(orders) = self.orders.upgrade() else { return };
        let (answer, _) = oneshot::channel();
        // One with so much to do will be asked again.
        if orders.try_send(Order { todo, progress: None, answer }).is_ok() {
            self.waiting.push(key);
        }
    }
}

impl App {
    /// Has the guard that fits: from the start, and after each order.
    pub(super) fn guard(&mut self) {
        let runs = self.slots.values().any(|slot| slot.wanted);
        if !runs {
            self.guarded.address = None;
        }
        if self.guarded.is_for(&self.spec, runs) {
            return;
        }
        // The old one first: it holds watches that the new one needs.
        self.guarded.guard = None;
        self.guarded.made_for = Some((Arc::clone(&self.spec), runs));
        if !Guard::is_needed(&self.spec, runs) {
            return;
        }
        match self.new_guard(runs) {
            Ok(guard) => self.guarded.guard = Some(guard),
            Err(error) => self.note(None, "trouble", causes(&error)),
        }
    }

    fn new_guard(&self, runs: bool) -> Result<Guard, GuardError> {
        let (spec, tell) = (&self.spec, self.guarded.tell.clone());
        match self.runs.as_ref().filter(|_| runs) {
            Some(it) => Guard::of_running(spec, &it.settings.program, &self.shared.meter, tell),
            None => Guard::of_stopped(spec, tell),
        }
    }

    /// Tells who there is to be watched over.
    pub(super) fn watch_over(&self) {
        let running = self.slots.values().filter_map(|slot| Some((slot.id, slot.current?)));
        let all = running.clone().map(|(id, it)| (id, it.pid)).collect();
        self.shared.meter.workers(self.number, all, self.spec.max_memory_restart.is_some());
        let Some(guard) = &self.guarded.guard else { return };
        let serving = running.filter(|(_, it)| it.ready && !it.leaving);
        let workers = serving.map(|(id, it)| Subject { id, pid: it.pid, since: it.since });
        let address = self.guarded.address.map(|(_, address)| address);
        guard.watch_over(Subjects { workers: workers.collect(), address });
    }

    /// It may be busy: the demand takes its turn among the orders.
    pub(super) fn demanded(&mut self, demand: Demand) {
        let asked = Instant::now();
        let (which, why, todo) = match demand {
            Demand::Note { what, text, worker } => return self.note(worker, what, text),
            Demand::Renew { how, why, text } => {
                self.note(None, why.word(), text);
                let (which, reason) = (Which::All, Reason::Guard(why));
                let todo = match how {
                    Action::Restart => {
                        Todo::Restart { which: which.clone(), alter: Alter::default(), reason }
                    }
                    Action::Reload => Todo::Replace { which: which.clone(), why, asked },
                };
                (which, why, todo)
            }
            Demand::Replace { workers, why, text } => {
                for worker in &workers {
                    self.note(Some(*worker), why.word(), text.clone());
                }
                let which = Which::Ids(workers);
                (which.clone(), why, Todo::Replace { which, why, asked })
            }
        };
        self.guarded.order((why, which), todo);
    }

    /// Gives new workers to instances whose workers were there when it was asked for, each before the
    /// old one goes.
    pub(super) async fn replace(&mut self, which: &Which, why: Why, asked: Instant) -> Outcome {
        let Some(runs) = &self.runs else { return self.done("unchanged", which) };
        let cluster = runs.cluster.clone();
        let meant = |slot: &&mut Slot| {
            which.has(slot.id) && slot.current.is_some_and(|it| it.since <= asked && !it.leaving)
        };
        let mut only = std::collections::BTreeSet::new();
        for slot in self.slots.values_mut().filter(meant) {
            slot.due = Some(Reason::Guard(why));
            only.insert(Instance(slot.instance));
        }
        if only.is_empty() {
            return self.done("unchanged", which);
        }
        let pace = Pace { parallel: 1, patience: patience(&self.spec) };
        let reload = Reload { program: None, only: Some(only), pace };
        let rolled = self.during(async move { cluster.reload(reload).await }).await;
        match rolled {
            // Who has gone and who is in place now is told by events, some of which may be on their way.
            Ok(_) => self.await_readiness("replaced", which).await,
            Err(error) => {
                for slot in self.slots.values_mut().filter(meant) {
                    slot.due = None;
                }
                let text = causes(&error);
                self.note(None, why.word(), format!("no new worker: {text}"));
                self.failed(text, which)
            }
        }
    }

    /// An order is about to be carried out: the same may be demanded again from now on.
    pub(super) fn takes_up(&mut self, todo: &Todo) {
        let (meant, reason) = match todo {
            Todo::Restart { which, reason: Reason::Guard(why), .. } => (which, why),
            Todo::Replace { which, why, .. } => (which, why),
            Todo::Restart { .. }
            | Todo::Start(_)
            | Todo::Stop(_)
            | Todo::Reload { .. }
            | Todo::Scale(_)
            | Todo::Delete
            | Todo::End => return,
        };
        self.guarded.waiting.retain(|(why, which)| (why, which) != (reason, meant));
    }
}
