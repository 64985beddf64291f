//! The task of one app: it alone has the app's cluster, and carries out orders one by one.

mod actions;
mod change;
mod failure;
mod guarded;
mod heard;
mod inputs;
mod orders;
mod output;
mod pid_file;
mod queries;
mod refused;
mod scale;
mod stdin;
mod succession;
mod trials;
mod verified;
mod versions;
mod waves;

pub(super) use actions::Action;
use actions::Programs;
pub(super) use change::altered;
use inputs::{Input, Inputs};
use refused::Sought;
use stdin::Stdins;
pub(super) use succession::Left;
use trials::Trials;
use verified::Losses;
pub(super) use versions::beside;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::Pid;
use tine_cluster::{
    id::WorkerId,
    primary::{Cluster, Settings},
};
use tine_linux::process::Exit;
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    events::{History, now},
    left::app_key,
    order::{Order, Query, Todo, Which},
    slot::Slot,
    state::{Mark, SavedWorker},
};
use crate::{
    api::apps::{AppEvent, AppResponse, Outcome, Status},
    control::Replies,
    home::Home,
    logs::LogWriter,
    spec::AppSpec,
    supervise::{guard::Guard, launch::Placement, meter::Meter},
    watchdog::Keeper,
};

/// Orders that may wait for an app; more make the manager's helpers wait.
const ORDERS: usize = 16;
const QUERIES: usize = 64;

/// What the manager knows of an app, and nobody has to ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Card {
    pub number: u32,
    pub spec: Arc<AppSpec>,
    /// What it was before the last change.
    pub previous: Option<Arc<AppSpec>>,
    /// Its workers', by instance.
    pub ids: Vec<u32>,
    /// Every worker that is wanted is ready.
    pub is_up: bool,
    /// Other work waits for a reload.
    pub reloads: bool,
    /// For whoever comes after this manager.
    pub workers: Arc<Vec<SavedWorker>>,
    /// All processes that are workers of it.
    pub processes: Arc<Vec<Mark>>,
}

/// How the manager reaches an app.
#[derive(Debug)]
pub(super) struct Handle {
    pub orders: mpsc::Sender<Order>,
    pub queries: mpsc::Sender<Query>,
    pub card: watch::Receiver<Card>,
}

/// What all apps have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub home: Home,
    pub place: Arc<Placement>,
    /// The next worker's id.
    pub ids: Arc<AtomicU32>,
    pub watchers: broadcast::Sender<AppEvent>,
    pub meter: Meter,
    /// What is to be written down is different.
    pub changed: Arc<Notify>,
    pub keeper: Keeper,
    pub watchdog: Pid,
}

/// An app that does not run yet.
#[derive(Debug)]
pub(super) struct Plan {
    pub number: u32,
    pub spec: AppSpec,
    pub previous: Option<AppSpec>,
    pub slots: Vec<Slot>,
    /// Of it under the manager before.
    pub left: Option<Left>,
}

/// The state of an app.
struct App {
    number: u32,
    spec: Arc<AppSpec>,
    previous: Option<Arc<AppSpec>>,
    kept: Option<versions::Kept>,
    /// By instance.
    slots: BTreeMap<u32, Slot>,
    runs: Option<Runs>,
    guard: Option<Guard>,
    logs: Option<LogWriter>,
    stdins: Stdins,
    programs: Programs,
    /// How many it has had.
    clusters: u32,
    losses: Losses,
    /// The first one that it listens on.
    address: Option<SocketAddr>,
    inputs: Inputs,
    facts: Facts,
    shared: Shared,
    history: History,
    note: Option<String>,
    progress: Option<Replies>,
    interrupted: bool,
    /// Its workers are no longer its own.
    leaving: bool,
    /// All that live, also those that leave.
    processes: BTreeMap<WorkerId, Mark>,
    /// Processes that have ended while it was being taken over.
    ends: Vec<(Pid, Exit)>,
    /// What those have to pass whom a reload begins.
    trials: Option<Trials>,
    /// Addresses that workers were refused, while it is looked for who holds them.
    sought: BTreeSet<Sought>,
    reloading: change::Reloading,
    card: watch::Sender<Card>,
}

/// A cluster, and what it was started with.
struct Runs {
    cluster: Cluster,
    settings: Settings,
}

/// What is known of the program since it was last looked for.
#[derive(Clone, Debug, Default)]
struct Facts {
    exec_path: PathBuf,
    interpreter: String,
    /// Where they are not the spec's.
    args: Option<Vec<String>>,
}

/// Starts the task of an app. It runs nothing before it is ordered to.
pub(super) fn spawn(plan: Plan, shared: Shared) -> Handle {
    let (orders, todo) = mpsc::channel(ORDERS);
    let (queries, asked) = mpsc::channel(QUERIES);
    let (card, seen) = watch::channel(Card::default());
    let app = App {
        number: plan.number,
        spec: Arc::new(plan.spec),
        previous: plan.previous.map(Arc::new),
        kept: None,
        slots: plan.slots.into_iter().map(|slot| (slot.instance, slot)).collect(),
        runs: None,
        guard: None,
        logs: None,
        stdins: Stdins::default(),
        programs: Programs::default(),
        clusters: 0,
        losses: Losses::default(),
        address: None,
        inputs: Inputs {
            events: None,
            queries: asked,
            demands: mpsc::unbounded_channel().1,
            holders: mpsc::unbounded_channel(),
            troubles: mpsc::unbounded_channel(),
        },
        facts: Facts::default(),
        history: History::new(shared.watchers.clone()),
        shared,
        note: None,
        progress: None,
        interrupted: false,
        leaving: false,
        processes: BTreeMap::new(),
        ends: Vec::new(),
        trials: None,
        sought: BTreeSet::new(),
        reloading: change::Reloading::No,
        card,
    };
    app.publish();
    tokio::spawn(app.run(todo, plan.left));
    Handle { orders, queries, card: seen }
}

impl Shared {
    /// An id that no worker has had.
    pub(super) fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl App {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, left: Option<Left>) {
        if let Some(left) = left {
            self.take_over(left).await;
        }
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    if self.carry_out(order).await {
                        return;
                    }
                }
                input = self.inputs.next_or_demand() => match input {
                    Ok(input) => self.handle(input),
                    Err(demand) => self.meet(demand).await,
                },
            }
        }
    }

    /// Whether it was the last one.
    async fn carry_out(&mut self, order: Order) -> bool {
        self.progress = order.progress;
        self.interrupted = false;
        self.losses.cut.clear();
        self.reloading = change::Reloading::of(&order.todo);
        self.publish();
        self.drain_within(order.drain_timeout).await;
        let is_last = matches!(order.todo, Todo::Delete | Todo::End | Todo::Leave(_));
        let outcome = match order.todo {
            Todo::Start(which) => self.start(&which).await,
            Todo::Stop(which) => self.stop(&which).await,
            Todo::Restart { which, alter, reason } => self.restart(&which, alter, reason).await,
            Todo::Reload { which, alter, rolling } if rolling.verify => {
                self.reload_verified(&which, alter, &rolling).await
            }
            Todo::Reload { which, alter, rolling } => self.reload(&which, alter, &rolling).await,
            Todo::Rollback => self.rollback().await,
            Todo::Promote => self.promote().await,
            Todo::Scale(to) => self.scale(to).await,
            Todo::Delete => self.delete().await,
            Todo::End => self.stop(&Which::All).await,
            Todo::Leave(departure) => self.leave(departure).await,
        };
        self.progress = None;
        self.reloading = change::Reloading::No;
        self.settle_leavers().await;
        let outcome = Outcome { cut: self.losses.cut.values().sum(), ..outcome };
        if order.drain_timeout.is_some() {
            self.drain_as_ever().await;
        }
        if is_last {
            self.close_logs().await;
        }
        self.publish();
        // Whoever asked may have gone.
        let _ = order.answer.send(outcome);
        is_last
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Event(Some(event)) => self.heard(event),
            Input::Event(None) => self.ended(),
            Input::Query(query) => self.answer(query),
            Input::Taken(taken) => self.is_taken(taken),
            Input::Trouble(text) => self.note(None, "log", text),
        }
    }

    /// Nothing is left of the cluster.
    fn ended(&mut self) {
        self.inputs.events = None;
        if self.leaving {
            return;
        }
        self.runs = None;
        self.losses.leavers.clear();
        self.stdins.clear();
        self.programs.clear();
        self.processes.clear();
        self.shared.keeper.forget_below(&app_key(self.number));
        self.kept = None;
        self.slots.values_mut().for_each(Slot::abandoned);
        self.publish();
    }

    /// Waits for some work, and sees to everything else meanwhile.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let input = tokio::select! {
                done = &mut work => return done,
                input = self.inputs.next() => input,
            };
            self.handle(input);
        }
    }

    /// Waits until something is so; `false`: it is not yet, and somebody wants something else, or it is
    /// too late.
    async fn until(&mut self, deadline: Instant, is_so: impl Fn(&Self) -> bool) -> bool {
        while !is_so(self) && !self.interrupted {
            let input = tokio::select! {
                () = sleep_until(deadline) => return false,
                input = self.inputs.next() => input,
            };
            self.handle(input);
        }
        is_so(self)
    }

    /// Waits until nothing is left of the cluster. That takes no longer than the patience with workers.
    async fn until_ended(&mut self) {
        while self.inputs.events.is_some() {
            let input = self.inputs.next().await;
            self.handle(input);
        }
    }

    fn publish(&self) {
        let wanted = || self.slots.values().filter(|slot| slot.wanted);
        self.card.send_replace(Card {
            number: self.number,
            spec: Arc::clone(&self.spec),
            previous: self.previous.clone(),
            ids: self.slots.values().map(|slot| slot.id).collect(),
            is_up: wanted().count() > 0 && wanted().all(|slot| slot.status() == Status::Online),
            reloads: self.reloading == change::Reloading::Yes,
            workers: Arc::new(self.slots.values().map(Slot::saved).collect()),
            processes: Arc::new(self.processes.values().copied().collect()),
        });
        self.shared.changed.notify_one();
        self.show_workers();
    }

    /// Keeps and tells what happened.
    fn note(&mut self, id: Option<u32>, what: &str, text: String) {
        let app = self.spec.name.clone();
        self.history.add(AppEvent { at: now(), app, id, what: what.to_owned(), text });
    }

    /// For whoever waits; one who does not read misses it.
    fn tell(&self, text: &str) {
        if let Some(progress) = &self.progress {
            let text = format!("{}: {text}", self.spec.name);
            let _ = progress.try_send(AppResponse::Progress(text));
        }
    }

    fn done(&self, done: &str, which: &Which) -> Outcome {
        let ids = self.slots.values().map(|slot| slot.id).filter(|id| which.has(*id)).collect();
        let app = self.spec.name.clone();
        Outcome { app, ids, done: done.to_owned(), ..Outcome::default() }
    }

    fn failed(&self, error: impl std::fmt::Display, which: &Which) -> Outcome {
        Outcome { error: Some(error.to_string()), ..self.done("failed", which) }
    }
}
