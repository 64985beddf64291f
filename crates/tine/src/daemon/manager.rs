//! The list of apps, and the manager's own loop.

mod apply;
mod ask;
mod dispatch;
mod ending;
mod keep;
mod start;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU32},
};

use anyhow::Context;
use tokio::sync::{broadcast, mpsc};

use super::{
    Ready,
    app::{self, Card, Handle, Plan, Shared},
    events::now,
    lock::Lock,
    signals::{Inbox, Sent},
    state::Saved,
};
use crate::{
    api::apps::{AppRequest, ManagerView, Start},
    control::{AppQuestion, ControlSocket, Replies, serve_apps},
    home::{Home, RunDir},
    supervise::{ground::Ground, launch::Placement, meter::Meter},
    watchdog::Signals,
};
use apply::Wish;
use ending::Ending;

/// Requests that may wait for the manager.
const QUESTIONS: usize = 64;
/// Events that may wait for who watches; one who is slower misses some.
const EVENTS: usize = 1024;
/// Words of the manager's helpers that may wait.
const WORDS: usize = 256;

/// What a manager has before it answers.
#[derive(Debug)]
pub(super) struct Begun {
    pub home: Home,
    pub directory: RunDir,
    /// Held to the end.
    pub lock: Lock,
    /// What was running when the manager before came to its end.
    pub left: Option<Saved>,
    /// The saved apps are to be started as well.
    pub resurrect: bool,
}

/// What the manager's helpers tell it.
#[derive(Debug)]
enum Word {
    /// The app's task has ended after it was deleted, or with the manager.
    Gone(u32),
    /// All that is to be started can be started.
    Checked(Box<Start>, Replies),
    /// All that a file asks for can be had.
    Applicable(Box<Wish>, Replies),
    /// The state was written, or why not.
    Noted(Option<String>),
}

struct Manager {
    apps: BTreeMap<u32, Handle>,
    next_number: u32,
    shared: Shared,
    started_at: u64,
    words: mpsc::Sender<Word>,
    ending: Option<Ending>,
    /// The state is being written.
    noting: bool,
    note_failed: Option<String>,
}

/// Manages until it is told to end.
pub(super) async fn manage(begun: Begun, held: Signals, ready: Ready) -> anyhow::Result<ExitCode> {
    let opened = open(&begun, held);
    let (mut signals, mut questions, server) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            ready.failed(&error);
            return Err(error);
        }
    };
    let (words, mut heard) = mpsc::channel(WORDS);
    let mut manager = Manager::new(&begun.home, words)?;
    manager.set_out(begun.left, begun.resurrect);
    let changed = manager.shared.changed.clone();
    ready.answers();
    while !manager.is_over() {
        tokio::select! {
            // What a client is told to be so shall be so at its next request.
            biased;
            Some(word) = heard.recv() => manager.hear(word),
            sent = signals.next() => manager.signalled(sent),
            () = changed.notified(), if !manager.noting => manager.note_state(),
            Some(question) = questions.recv() => manager.asked(question),
        }
    }
    manager.forget_state(&mut heard).await;
    manager.farewell().await;
    drop(questions);
    let _ = server.await;
    drop(begun.lock);
    Ok(ExitCode::SUCCESS)
}

type Opened = (Inbox, mpsc::Receiver<AppQuestion>, tokio::task::JoinHandle<()>);

fn open(begun: &Begun, held: Signals) -> anyhow::Result<Opened> {
    let signals = Inbox::open()?;
    held.release()?;
    let socket = ControlSocket::open_daemon(&begun.directory).context("listen for commands")?;
    let (ask, questions) = mpsc::channel(QUESTIONS);
    Ok((signals, questions, tokio::spawn(serve_apps(socket, ask))))
}

impl Manager {
    fn new(home: &Home, words: mpsc::Sender<Word>) -> anyhow::Result<Self> {
        let place = Placement { ground: Ground::prepare(), home: home.root().to_owned() };
        let shared = Shared {
            home: home.clone(),
            place: Arc::new(place),
            ids: Arc::new(AtomicU32::new(0)),
            watchers: broadcast::channel(EVENTS).0,
            meter: Meter::start().context("measure workers")?,
            changed: Arc::default(),
        };
        Ok(Self {
            apps: BTreeMap::new(),
            next_number: 0,
            shared,
            started_at: now(),
            words,
            ending: None,
            noting: false,
            note_failed: None,
        })
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Gone(number) => self.forget(number),
            Word::Noted(error) => self.noted(error),
            // Dropped replies tell that the manager is stopping.
            Word::Checked(..) | Word::Applicable(..) if self.ending.is_some() => {}
            Word::Checked(start, replies) => self.start_checked(&start, replies),
            Word::Applicable(wish, replies) => self.apply_checked(&wish, replies),
        }
    }

    fn signalled(&mut self, sent: Sent) {
        match sent {
            Sent::Stop => self.end(None),
            Sent::ReopenLogs => self.reopen_logs(),
        }
    }

    fn asked(&mut self, question: AppQuestion) {
        let AppQuestion { request, replies } = question;
        match (&self.ending, request) {
            (_, AppRequest::KillManager) => self.end(Some(replies)),
            // Dropped replies tell that the manager is stopping.
            (Some(_), _) => {}
            (None, request) => self.answer(request, replies),
        }
    }

    /// An app is there from now on, and does not run.
    fn add(&mut self, spec: crate::spec::AppSpec, count: u32) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        let slots = (0..count).map(|it| super::slot::Slot::new(self.shared.next_id(), it));
        let plan = Plan { number, spec, slots: slots.collect() };
        self.apps.insert(number, app::spawn(plan, self.shared.clone()));
        number
    }

    fn forget(&mut self, number: u32) {
        self.apps.remove(&number);
        self.shared.changed.notify_one();
        if self.apps.is_empty() {
            self.next_number = 0;
            self.shared.ids.store(0, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// What is known of every app, in the order of their numbers.
    fn cards(&self) -> Vec<Card> {
        self.apps.values().map(|app| app.card.borrow().clone()).collect()
    }

    fn view(&self) -> ManagerView {
        ManagerView {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            home: self.shared.home.root().to_owned(),
            apps: u32::try_from(self.apps.len()).unwrap_or(u32::MAX),
        }
    }
}
