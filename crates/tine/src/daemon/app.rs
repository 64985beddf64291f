//! The task of one app: it alone has the app's cluster, and carries out orders one by one.

mod actions;
mod change;
mod guarded;
mod heard;
mod orders;
mod output;
mod pid_file;
mod queries;
mod scale;
mod stdin;

pub(super) use actions::Action;
use actions::Programs;
pub(super) use change::altered;
use stdin::Stdins;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tine_cluster::primary::{Cluster, Event, Events, Settings};
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    events::{History, now},
    order::{Order, Query, Todo, Which},
    slot::{Reason, Slot},
    state::SavedWorker,
};
use crate::{
    api::apps::{AppEvent, AppResponse, Outcome, Status},
    control::Replies,
    home::Home,
    logs::LogWriter,
    spec::AppSpec,
    supervise::{
        guard::{Demand, Guard},
        launch::Placement,
        meter::Meter,
    },
};

/// Orders that may wait for an app; more make the manager's helpers wait.
const ORDERS: usize = 16;
const QUERIES: usize = 64;

/// What the manager knows of an app, and nobody has to ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Card {
    pub number: u32,
    pub spec: Arc<AppSpec>,
    /// Its workers', by instance.
    pub ids: Vec<u32>,
    /// Every worker that is wanted is ready.
    pub is_up: bool,
    /// For whoever comes after this manager.
    pub workers: Arc<Vec<SavedWorker>>,
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
}

/// An app that does not run yet.
#[derive(Debug)]
pub(super) struct Plan {
    pub number: u32,
    pub spec: AppSpec,
    pub slots: Vec<Slot>,
}

/// The state of an app.
struct App {
    number: u32,
    spec: Arc<AppSpec>,
    /// By instance.
    slots: BTreeMap<u32, Slot>,
    runs: Option<Runs>,
    guard: Option<Guard>,
    logs: Option<LogWriter>,
    stdins: Stdins,
    programs: Programs,
    /// How many it has had.
    clusters: u32,
    /// The first one that it listens on.
    address: Option<SocketAddr>,
    inputs: Inputs,
    facts: Facts,
    shared: Shared,
    history: History,
    note: Option<String>,
    progress: Option<Replies>,
    interrupted: bool,
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

/// What comes in while no order is taken.
struct Inputs {
    events: Option<Events>,
    queries: mpsc::Receiver<Query>,
    demands: mpsc::UnboundedReceiver<Demand>,
    /// Of the log files. Told once until it is over, so there is little of it.
    troubles: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

enum Input {
    /// `None`: the cluster has ended.
    Event(Option<Event>),
    Query(Query),
    /// With the log files.
    Trouble(String),
}

impl Inputs {
    /// Likewise, or what the guard demands, for which there is time when no order is under way.
    async fn next_or_demand(&mut self) -> Result<Input, Demand> {
        let Self { events, queries, demands, troubles } = self;
        tokio::select! {
            input = next(events, queries, &mut troubles.1) => Ok(input),
            Some(demand) = demands.recv() => Err(demand),
        }
    }

    /// Cancel safe.
    async fn next(&mut self) -> Input {
        next(&mut self.events, &mut self.queries, &mut self.troubles.1).await
    }
}

/// Cancel safe.
async fn next(
    events: &mut Option<Events>,
    queries: &mut mpsc::Receiver<Query>,
    troubles: &mut mpsc::UnboundedReceiver<String>,
) -> Input {
    let event = async {
        match events {
            Some(events) => events.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        event = event => Input::Event(event),
        Some(query) = queries.recv() => Input::Query(query),
        Some(trouble) = troubles.recv() => Input::Trouble(trouble),
    }
}

/// Starts the task of an app. It runs nothing before it is ordered to.
pub(super) fn spawn(plan: Plan, shared: Shared) -> Handle {
    let (orders, todo) = mpsc::channel(ORDERS);
    let (queries, asked) = mpsc::channel(QUERIES);
    let (card, seen) = watch::channel(Card::default());
    let app = App {
        number: plan.number,
        spec: Arc::new(plan.spec),
        slots: plan.slots.into_iter().map(|slot| (slot.instance, slot)).collect(),
        runs: None,
        guard: None,
        logs: None,
        stdins: Stdins::default(),
        programs: Programs::default(),
        clusters: 0,
        address: None,
        inputs: Inputs {
            events: None,
            queries: asked,
            demands: mpsc::unbounded_channel().1,
            troubles: mpsc::unbounded_channel(),
        },
        facts: Facts::default(),
        history: History::new(shared.watchers.clone()),
        shared,
        note: None,
        progress: None,
        interrupted: false,
        card,
    };
    app.publish();
    tokio::spawn(app.run(todo));
    Handle { orders, queries, card: seen }
}

impl Shared {
    /// An id that no worker has had.
    pub(super) fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl App {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
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
        let is_last = matches!(order.todo, Todo::Delete | Todo::End);
        let outcome = match order.todo {
            Todo::Start(which) => self.start(&which).await,
            Todo::Stop(which) => self.stop(&which).await,
            Todo::Restart { which, alter, reason } => self.restart(&which, alter, reason).await,
            Todo::Reload { alter, parallel } => {
                let turn = change::Turn { parallel, only: None };
                self.reload(alter, turn, Reason::Reload).await
            }
            Todo::Scale(to) => self.scale(to).await,
            Todo::Delete => self.delete().await,
            Todo::End => self.stop(&Which::All).await,
        };
        self.progress = None;
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
            Input::Trouble(text) => self.note(None, "log", text),
        }
    }

    /// Nothing is left of the cluster.
    fn ended(&mut self) {
        self.inputs.events = None;
        self.runs = None;
        self.stdins.clear();
        self.programs.clear();
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
            ids: self.slots.values().map(|slot| slot.id).collect(),
            is_up: wanted().count() > 0 && wanted().all(|slot| slot.status() == Status::Online),
            workers: Arc::new(self.slots.values().map(Slot::saved).collect()),
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
        Outcome { app, ids, done: done.to_owned(), error: None, last_lines: Vec::new() }
    }

    fn failed(&self, error: impl std::fmt::Display, which: &Which) -> Outcome {
        Outcome { error: Some(error.to_string()), ..self.done("failed", which) }
    }

    /// So long a worker that is started may take until it serves.
    fn patience(&self) -> Duration {
        let said = self.spec.listen_timeout.duration();
        // Many at once take their time to start at all.
        let many = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let said = said + Duration::from_millis(200) * many;
        said + self.spec.min_uptime.duration() + Duration::from_secs(1)
    }
}
