//! The list of apps, and the manager's own loop.

mod apply;
mod ask;
mod dispatch;
mod ending;
mod keep;
mod leaving;
mod start;
mod update;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU32},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{fs::Mode, process::Pid};
use tokio::sync::{broadcast, mpsc};

use super::{
    Ready,
    app::{self, Card, Handle, Plan, Shared},
    events::{began, now},
    left::{self, Left},
    lock::Lock,
    signals::{Inbox, Sent},
    state::Mark,
};
use crate::{
    api::apps::{AppRequest, ManagerView, Start},
    control::{AppQuestion, ControlSocket, Replies, serve_apps},
    home::{Home, RunDir},
    supervise::{
        ground::Ground,
        launch::Placement,
        meter::{Meter, until},
    },
    watchdog::{Keeper, Line, Signals},
};
use apply::Wish;
use ending::Ending;
use leaving::Leaving;

/// Requests that may wait for the manager.
const QUESTIONS: usize = 64;
/// Events that may wait for who watches; one who is slower misses some.
const EVENTS: usize = 1024;
/// So long after a change what was needed for it is given back.
const TIDYING: Duration = Duration::from_secs(2);
/// Words of the manager's helpers that may wait.
const WORDS: usize = 256;

/// What a manager has before it answers.
#[derive(Debug)]
pub(super) struct Begun {
    pub home: Home,
    pub directory: RunDir,
    /// Held to the end.
    pub lock: Lock,
    /// Where the manager before listened.
    pub control: Option<OwnedFd>,
    /// What was running when the manager before came to its end.
    pub left: Left,
    pub keeper: Keeper,
    pub watchdog: Pid,
    /// The saved apps are to be started as well.
    pub resurrect: bool,
    /// The mask that the manager was started with.
    pub mask: Mode,
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
    /// The state could not be written a while ago.
    NoteAgain,
    /// This program can take over, or why not.
    Adoptable(Result<PathBuf, String>, Replies),
}

struct Manager {
    apps: BTreeMap<u32, Handle>,
    next_number: u32,
    shared: Shared,
    started_at: u64,
    words: mpsc::Sender<Word>,
    ending: Option<Ending>,
    leaving: Option<Leaving>,
    keeper: Keeper,
    watchdog: Option<Mark>,
    /// After what it has taken over, if it has.
    before: Option<String>,
    /// The state is being written.
    noting: bool,
    /// It is different again.
    stale: bool,
    note_failed: Option<String>,
    /// It will be tried again.
    note_due: bool,
    /// When memory is given back that the last changes needed.
    tidy_at: Option<Instant>,
}

/// Manages until it is told to end.
pub(super) async fn manage(
    mut begun: Begun,
    held: Signals,
    ready: Ready,
) -> anyhow::Result<ExitCode> {
    let opened = open(&mut begun, held);
    let mut ways = match opened {
        Ok(opened) => opened,
        Err(error) => {
            ready.failed(&error);
            return Err(error);
        }
    };
    let (words, mut heard) = mpsc::channel(WORDS);
    let mut manager = Manager::new(&begun, words)?;
    manager.set_out(begun.left, begun.resurrect);
    manager.keep_state();
    // From now on this manager is followed by another one if it does not end as it should.
    begun.keeper.put(left::CONTROL, b"", &[ways.control.as_fd()]);
    ready.answers();
    manager.serve(&mut ways, &mut heard).await;
    let ended = match manager.leaving.take() {
        Some(leaving) => leaving.end(&manager, ways).await,
        None => manager.finish(ways, &mut heard).await,
    };
    drop(begun.lock);
    ended
}

/// From where things come.
struct Ways {
    signals: Inbox,
    questions: mpsc::Receiver<AppQuestion>,
    server: tokio::task::JoinHandle<()>,
    line: Line,
    /// The socket's duplicate.
    control: OwnedFd,
    directory: RunDir,
}

fn open(begun: &mut Begun, held: Signals) -> anyhow::Result<Ways> {
    let signals = Inbox::open()?;
    held.release()?;
    let directory = begun.directory.clone();
    let socket = match begun.control.take() {
        Some(control) => ControlSocket::resume_daemon(&directory, control),
        None => ControlSocket::open_daemon(&directory),
    };
    let socket = socket.context("listen for commands")?;
    let control = socket.as_fd().try_clone_to_owned().context("listen for commands")?;
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let line = Line::of(&begun.keeper).context("listen to the watchdog")?;
    let server = tokio::spawn(serve_apps(socket, ask));
    Ok(Ways { signals, questions, server, line, control, directory })
}

impl Manager {
    fn new(begun: &Begun, words: mpsc::Sender<Word>) -> anyhow::Result<Self> {
        let home = &begun.home;
        let (home_path, umask) = (home.root().to_owned(), begun.mask.as_raw_mode());
        let place = Placement { ground: Ground::prepare(), home: home_path, umask };
        let shared = Shared {
            home: home.clone(),
            place: Arc::new(place),
            ids: Arc::new(AtomicU32::new(0)),
            watchers: broadcast::channel(EVENTS).0,
            meter: Meter::start().context("measure workers")?,
            changed: Arc::default(),
            keeper: begun.keeper.clone(),
            watchdog: begun.watchdog,
        };
        Ok(Self {
            apps: BTreeMap::new(),
            next_number: 0,
            shared,
            started_at: now(),
            words,
            ending: None,
            leaving: None,
            keeper: begun.keeper.clone(),
            watchdog: Mark::of(begun.watchdog),
            before: None,
            noting: false,
            stale: false,
            note_failed: None,
            note_due: false,
            tidy_at: None,
        })
    }

    async fn serve(&mut self, ways: &mut Ways, heard: &mut mpsc::Receiver<Word>) {
        let changed = self.shared.changed.clone();
        while !self.is_over() {
            let stays = self.leaving.is_none();
            tokio::select! {
                // What a client is told to be so shall be so at its next request.
                biased;
                Some(word) = heard.recv() => self.hear(word),
                // The next manager gets what is sent now.
                sent = ways.signals.next(), if stays => self.signalled(sent),
                news = ways.line.next() => self.heard_of(news),
                () = changed.notified() => {
                    self.tidy_at.get_or_insert_with(|| Instant::now() + TIDYING);
                    self.state_changed();
                }
                Some(question) = ways.questions.recv(), if stays => self.asked(question),
                () = until(self.tidy_at) => {
                    self.tidy_at = None;
                    tine_linux::memory::give_back();
                }
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Gone(number) => self.forget(number),
            Word::Noted(error) => self.noted(error),
            Word::NoteAgain => self.note_again(),
            // Dropped replies tell that the manager is stopping.
            Word::Checked(..) | Word::Applicable(..) | Word::Adoptable(..)
                if self.ending.is_some() || self.leaving.is_some() => {}
            Word::Checked(start, replies) => self.start_checked(&start, replies),
            Word::Applicable(wish, replies) => self.apply_checked(&wish, replies),
            Word::Adoptable(checked, replies) => self.update_checked(checked, replies),
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
        let plan = Plan { number, spec, previous: None, slots: slots.collect(), left: None };
        self.apps.insert(number, app::spawn(plan, self.shared.clone()));
        number
    }

    fn forget(&mut self, number: u32) {
        if self.leaving.is_some() {
            return self.left_alone(number);
        }
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
            started_at: began(self.started_at, Mark::of(rustix::process::getpid())),
            home: self.shared.home.root().to_owned(),
            apps: u32::try_from(self.apps.len()).unwrap_or(u32::MAX),
            taken_over_after: self.before.clone(),
        }
    }
}
