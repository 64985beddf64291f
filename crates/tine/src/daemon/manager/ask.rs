//! What each request leads to.

use tokio::{
    sync::{broadcast::error::RecvError, oneshot},
    task::JoinSet,
};

use super::{Manager, apply::Wish, dispatch::Work, start::refuse};
use crate::{
    api::apps::{AppRequest, AppResponse, Change, Detail, Outcome, Target, Targets},
    control::Replies,
    daemon::{
        app::{Action, beside},
        order::{Alter, Query, Scale, Todo, Which},
        slot::Reason,
        targets::{Meant, resolve},
    },
    spec::Millis,
};

impl Manager {
    pub(super) fn answer(&mut self, request: AppRequest, replies: Replies) {
        match request {
            AppRequest::Start(start) => self.start(start, replies),
            AppRequest::Stop(targets) => self.each(&targets, replies, Todo::Stop),
            AppRequest::Delete(targets) => self.each(&targets, replies, |_| Todo::Delete),
            AppRequest::Restart(change) => self.restart(change, replies),
            AppRequest::Reload(change) => self.reload(change, replies),
            AppRequest::Rollback(targets) => self.of_whole(&targets, replies, || Todo::Rollback),
            AppRequest::Promote(targets) => self.of_whole(&targets, replies, || Todo::Promote),
            AppRequest::Scale { target, to, drain_timeout } => {
                self.scale((target, drain_timeout), &to, replies);
            }
            AppRequest::List { detail, targets } => self.list(detail, &targets, replies),
            AppRequest::Reset(targets) => self.simply(&targets, replies, "reset", Query::Reset),
            AppRequest::Signal { targets, signal } => self.signal(&targets, &signal, replies),
            AppRequest::Send { id, line, message } => self.send((id, message), &line, replies),
            AppRequest::Trigger { target, action: name, parameters, wait } => {
                let action = Action { name, parameters, patience: wait.duration() };
                self.trigger(target, &action, replies);
            }
            AppRequest::Watch => self.watch(replies),
            AppRequest::Ports => self.ports(replies),
            AppRequest::Ping => drop(replies.try_send(AppResponse::Pong(self.view()))),
            AppRequest::KillManager => self.end(Some(replies)),
            AppRequest::Save { force, no_env } => self.save((force, no_env), replies),
            AppRequest::Resurrect => self.resurrect(replies),
            AppRequest::ClearDump => self.clear_dump(&replies),
            AppRequest::Apply { apps, inherited, prune, origin, dry_run } => {
                self.apply(Wish { apps, inherited, prune, origin, dry_run }, replies);
            }
            AppRequest::Unwatch(targets) => {
                self.simply(&targets, replies, "not watched", |_, answer| Query::Unwatch(answer));
            }
            AppRequest::Flush(targets) => self.simply(&targets, replies, "flushed", Query::Flush),
            AppRequest::Update { program } => self.update(program, replies),
            AppRequest::ReopenLogs => {
                self.reopen_logs();
                let _ = replies.try_send(AppResponse::Done(Vec::new()));
            }
        }
    }

    fn meant(&self, targets: &[Target]) -> Result<Meant, String> {
        resolve(targets, &self.cards())
    }

    fn each(&self, targets: &Targets, replies: Replies, todo: impl Fn(Which) -> Todo) {
        match self.meant(&targets.targets) {
            Ok(meant) => {
                let works = meant.into_iter().filter_map(|(it, which)| self.work(it, todo(which)));
                let drain_timeout = targets.drain_timeout;
                let works = works.map(|work| Work { drain_timeout, ..work });
                self.dispatch(works.collect(), replies);
            }
            Err(error) => refuse(&replies, error),
        }
    }

    fn restart(&self, change: Change, replies: Replies) {
        let Change { targets, patch, inherited, .. } = change;
        let alter = Alter { patch, whole: false, inherited };
        if let Err(error) = self.check_name(&targets, &alter) {
            return refuse(&replies, error);
        }
        self.each(&Targets::of(targets), replies, |which| Todo::Restart {
            which,
            alter: alter.clone(),
            reason: Reason::Asked,
        });
    }

    fn reload(&self, change: Change, replies: Replies) {
        let Change { targets, patch, inherited, rolling } = change;
        let alter = Alter { patch, whole: false, inherited };
        if let Err(error) = self.check_name(&targets, &alter) {
            return refuse(&replies, error);
        }
        if let Err(error) = beside(&rolling) {
            return refuse(&replies, error);
        }
        if rolling.force
            && let Ok(meant) = self.meant(&targets)
        {
            self.call_off(meant.keys());
        }
        let todo = |which| Todo::Reload { which, alter: alter.clone(), rolling };
        self.each(&Targets::of(targets), replies, todo);
    }

    /// Reloads that run are given up.
    pub(super) fn call_off<'a>(&self, apps: impl Iterator<Item = &'a u32>) {
        for app in apps.filter_map(|number| self.apps.get(number)) {
            let _ = app.queries.try_send(Query::CancelReload);
        }
    }

    /// Versions are of whole apps.
    fn of_whole(&self, targets: &Targets, replies: Replies, todo: impl Fn() -> Todo) {
        match self.meant(&targets.targets) {
            Ok(meant) if meant.values().any(|which| *which != Which::All) => {
                let error =
                    "a version is the whole app's: say its name instead of an id".to_owned();
                refuse(&replies, error);
            }
            Ok(_) => self.each(targets, replies, |_| todo()),
            Err(error) => refuse(&replies, error),
        }
    }

    /// A new name must be free, and can be given to one app only.
    fn check_name(&self, targets: &[Target], alter: &Alter) -> Result<(), String> {
        let Some(name) = alter.patch.get("name").and_then(|name| name.as_str()) else {
            return Ok(());
        };
        let meant = self.meant(targets)?;
        if meant.len() > 1 {
            return Err(format!("only one app can be called `{name}`"));
        }
        let taken = self
            .cards()
            .iter()
            .any(|card| card.spec.name == name && !meant.contains_key(&card.number));
        if taken { Err(format!("another app is called `{name}`")) } else { Ok(()) }
    }

    fn scale(&self, (target, drain_timeout): (Target, Option<Millis>), to: &str, replies: Replies) {
        let Some(scale) = scale_of(to) else {
            let error = format!("`{to}` is no number of instances: write 3, +1 or -1");
            return refuse(&replies, error);
        };
        let targets = Targets { targets: vec![target], drain_timeout };
        self.each(&targets, replies, |_| Todo::Scale(scale));
    }

    /// Of all, if no targets are named.
    fn list(&self, detail: Detail, targets: &[Target], replies: Replies) {
        let all = || self.apps.keys().map(|number| (*number, Which::All)).collect();
        let meant = if targets.is_empty() { Ok(all()) } else { self.meant(targets) };
        let meant: Meant = match meant {
            Ok(meant) => meant,
            Err(error) => return refuse(&replies, error),
        };
        let apps = meant
            .into_iter()
            .filter_map(|(number, which)| Some((self.apps.get(&number)?.queries.clone(), which)));
        let apps: Vec<_> = apps.collect();
        tokio::spawn(async move {
            let mut views = Vec::new();
            for (queries, which) in apps {
                let (answer, view) = oneshot::channel();
                // It was deleted meanwhile. What could not be sent has the answer's other end, and is
                // not to be held while that is waited for.
                if queries.send(Query::View { detail, answer }).await.is_err() {
                    continue;
                }
                let Ok(mut view) = view.await else { continue };
                view.workers.retain(|worker| which.has(worker.id));
                views.push(view);
            }
            let _ = replies.send(AppResponse::Apps(views)).await;
        });
    }

    fn ports(&self, replies: Replies) {
        let apps: Vec<_> = self.apps.values().map(|app| app.queries.clone()).collect();
        tokio::spawn(async move {
            let mut reports = Vec::new();
            for queries in apps {
                let (answer, report) = oneshot::channel();
                if queries.send(Query::Ports(answer)).await.is_ok() {
                    reports.extend(report.await.ok().flatten());
                }
            }
            let _ = replies.send(AppResponse::Ports(reports)).await;
        });
    }

    pub(super) fn reopen_logs(&self) {
        for app in self.apps.values() {
            let _ = app.queries.try_send(Query::ReopenLogs);
        }
    }

    /// Something that cannot fail.
    fn simply(
        &self,
        targets: &Targets,
        replies: Replies,
        word: &'static str,
        query: impl Fn(Which, oneshot::Sender<()>) -> Query,
    ) {
        self.query(&targets.targets, replies, word, |which, answer| {
            let (done, is_done) = oneshot::channel();
            tokio::spawn(async move {
                let _ = answer.send(is_done.await.map_err(|error| error.to_string()));
            });
            query(which, done)
        });
    }

    fn signal(&self, targets: &[Target], signal: &str, replies: Replies) {
        let Some(signal) = tine_linux::process::signal_from_name(signal) else {
            let error = format!("`{signal}` is no signal; write SIGTERM, TERM or 15");
            return refuse(&replies, error);
        };
        let query = |which, answer| Query::Signal { which, signal, answer };
        self.query(targets, replies, "signalled", query);
    }

    fn send(&self, (id, message): (u32, bool), line: &str, replies: Replies) {
        let cards = self.cards();
        let Some(card) = cards.iter().find(|card| card.ids.contains(&id)) else {
            return refuse(&replies, format!("there is no worker `{id}`"));
        };
        let query = |_, answer| Query::Send { id, line: line.to_owned(), message, answer };
        self.query_of([(card.number, Which::All)].into(), replies, "sent", query);
    }

    fn trigger(&self, target: Target, action: &Action, replies: Replies) {
        let meant = match self.meant(&[target]) {
            Ok(meant) => meant,
            Err(error) => return refuse(&replies, error),
        };
        let mut asked = Vec::new();
        for (number, which) in meant {
            let Some(app) = self.apps.get(&number) else { continue };
            let (answer, answered) = oneshot::channel();
            let query = Query::Trigger { which, action: action.clone(), answer };
            asked.push((app.queries.clone(), query, answered));
        }
        tokio::spawn(async move {
            let mut all = JoinSet::new();
            for (queries, query, answered) in asked {
                all.spawn(async move {
                    let _ = queries.send(query).await;
                    // It was deleted meanwhile.
                    answered.await.unwrap_or_default()
                });
            }
            let mut answers = all.join_all().await.concat();
            answers.sort_by_key(|reply| reply.id);
            let _ = replies.send(AppResponse::Replies(answers)).await;
        });
    }

    fn query(
        &self,
        targets: &[Target],
        replies: Replies,
        done: &'static str,
        query: impl Fn(Which, oneshot::Sender<Result<(), String>>) -> Query,
    ) {
        match self.meant(targets) {
            Ok(meant) => self.query_of(meant, replies, done, query),
            Err(error) => refuse(&replies, error),
        }
    }

    fn query_of(
        &self,
        meant: Meant,
        replies: Replies,
        done: &'static str,
        query: impl Fn(Which, oneshot::Sender<Result<(), String>>) -> Query,
    ) {
        let mut all = JoinSet::new();
        for (number, which) in meant {
            let Some(app) = self.apps.get(&number) else { continue };
            let card = app.card.borrow().clone();
            let ids = card.ids.iter().copied().filter(|id| which.has(*id)).collect();
            let (answer, answered) = oneshot::channel();
            let (queries, query) = (app.queries.clone(), query(which, answer));
            all.spawn(async move {
                let _ = queries.send(query).await;
                let error = answered.await.unwrap_or_else(|_| Err("it has gone".to_owned())).err();
                let done = if error.is_some() { "failed" } else { done }.to_owned();
                let app = card.spec.name.clone();
                Outcome { app, ids, done, error, ..Outcome::default() }
            });
        }
        tokio::spawn(async move {
            let mut outcomes = all.join_all().await;
            outcomes.sort_by(|one, other| one.ids.cmp(&other.ids));
            let _ = replies.send(AppResponse::Done(outcomes)).await;
        });
    }

    /// One who is too slow misses events, and goes on with those that follow.
    fn watch(&self, replies: Replies) {
        let mut events = self.shared.watchers.subscribe();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = replies.closed() => return,
                };
                match event {
                    Ok(event) => {
                        if replies.send(AppResponse::Event(event)).await.is_err() {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}

fn scale_of(text: &str) -> Option<Scale> {
    if let Some(more) = text.strip_prefix('+') {
        return more.parse().ok().map(Scale::Up);
    }
    if let Some(fewer) = text.strip_prefix('-') {
        return fewer.parse().ok().map(Scale::Down);
    }
    match text {
        "max" => crate::units::instances(text).ok().map(|all| Scale::To(all.count)),
        number => number.parse().ok().map(Scale::To),
    }
}
