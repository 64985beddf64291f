//! The manager in the foreground: runs one app, says what happens, and ends with it.

mod advice;
mod narrator;
pub(crate) mod ports;
mod terminal;

use std::{
    collections::HashMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::io::Errno;
use tine_cluster::primary::{Cluster, Ending, Event, Events, Settings, What};
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::mpsc,
};

use crate::{control::Question, watchdog::Signals};
use narrator::Narrator;
use terminal::Terminal;

/// What is run.
#[derive(Clone, Debug)]
pub struct App {
    /// What it is called.
    pub name: String,
    /// How it runs.
    pub settings: Settings,
}

/// Runs the app to its end.
///
/// # Errors
///
/// When the manager itself cannot work.
pub fn run(app: App, signals: Signals) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(manage(app, signals))
}

async fn manage(app: App, held: Signals) -> anyhow::Result<ExitCode> {
    let mut signals = Wanted::listen()?;
    held.release()?;
    let mut narrator = Narrator::new(&app.name, Terminal::open()?);
    narrator.begin(&app.settings);
    let mut questions = ports::listen(&mut narrator);
    let (cluster, mut events) = Cluster::start(app.settings);
    let mut manager = Manager {
        name: app.name,
        cluster,
        narrator,
        state: State::default(),
        refusals: HashMap::new(),
    };
    loop {
        let wake = tokio::select! {
            event = manager.next(&mut events) => Wake::Event(event),
            request = signals.next() => Wake::Signal(request),
            Some(question) = questions.recv() => Wake::Question(question),
        };
        if !manager.handle(wake).await {
            break;
        }
    }
    manager.end(events).await
}

/// What the loop wakes up for.
enum Wake {
    /// Something happened; `None`: nothing more will.
    Event(Option<Event>),
    /// Somebody wants something.
    Signal(Request),
    /// A front end asks.
    Question(Question),
}

/// What a signal means.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// Come to an end; the second time, at once.
    Stop,
    /// The workers want to hear of this one.
    Pass(rustix::process::Signal),
    /// A child ended, perhaps an orphan.
    Child,
}

/// The signals that mean something.
struct Wanted {
    stop: [Stream; 3],
    pass: [(Stream, rustix::process::Signal); 3],
    child: Stream,
}

impl Wanted {
    fn listen() -> anyhow::Result<Self> {
        use rustix::process::Signal;
        let open = |kind| signal(kind).context("handle signals");
        let pass = |number: Signal| -> anyhow::Result<(Stream, Signal)> {
            Ok((open(SignalKind::from_raw(number.as_raw()))?, number))
        };
        Ok(Self {
            stop: [
                open(SignalKind::interrupt())?,
                open(SignalKind::terminate())?,
                open(SignalKind::quit())?,
            ],
            pass: [pass(Signal::HUP)?, pass(Signal::USR1)?, pass(Signal::USR2)?],
            child: open(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Request {
        let [int, term, quit] = &mut self.stop;
        let [hup, usr1, usr2] = &mut self.pass;
        tokio::select! {
            _ = int.recv() => Request::Stop,
            _ = term.recv() => Request::Stop,
            _ = quit.recv() => Request::Stop,
            _ = hup.0.recv() => Request::Pass(hup.1),
            _ = usr1.0.recv() => Request::Pass(usr1.1),
            _ = usr2.0.recv() => Request::Pass(usr2.1),
            _ = self.child.recv() => Request::Child,
        }
    }
}

/// How far the run has come.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set once")]
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// It was told to stop.
    stopping: bool,
    /// Some worker has listened.
    ever_listened: bool,
    /// A worker was refused an address that somebody else has, before any worker ever listened.
    refused: bool,
    /// It ends because it cannot work: exit code 1.
    failed: bool,
}

/// For so long a refusal is not told again.
const QUIET: Duration = Duration::from_secs(10);

struct Manager {
    name: String,
    cluster: Cluster,
    narrator: Narrator,
    state: State,
    /// What was refused of late, and when that was told.
    refusals: HashMap<String, Instant>,
}

impl Manager {
    /// What happened next, once there is room to tell it. Cancel safe.
    async fn next(&mut self, events: &mut Events) -> Option<Event> {
        self.narrator.terminal().room(self.state.stopping).await;
        events.next().await
    }

    /// `false`: the cluster has ended.
    async fn handle(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Event(None) => return false,
            Wake::Event(Some(event)) => self.happened(event).await,
            Wake::Signal(request) => self.requested(request).await,
            Wake::Question(question) => ports::answer(&self.name, &self.cluster, question),
        }
        true
    }

    // What the cluster can no longer be told, because it has ended, need not be told.

    async fn requested(&mut self, request: Request) {
        let _ = match request {
            Request::Stop if self.state.stopping => {
                self.narrator.say("killing the workers");
                self.cluster.kill().await
            }
            Request::Stop => {
                self.state.stopping = true;
                self.narrator.say("stopping: connections may finish; once more kills at once");
                self.cluster.stop().await
            }
            Request::Pass(signal) => self.cluster.signal(signal).await,
            Request::Child => self.cluster.reap_orphans().await,
        };
    }

    async fn happened(&mut self, event: Event) {
        if self.was_told(&event.what) || self.comes_to_nothing(&event.what) {
            return;
        }
        self.narrator.tell(&event);
        match &event.what {
            What::Listening { .. } => self.state.ever_listened = true,
            What::Refused { key, errno: Errno::ADDRINUSE } => {
                let holder = crate::holder::of(key, Vec::new()).await;
                self.narrator.about(&event, &format!("{key} is taken: {holder}"));
                self.state.refused |= !self.state.ever_listened;
            }
            What::Exited { asked: false, .. }
                if self.state.refused && !self.state.ever_listened =>
            {
                self.give_up("no worker can listen there").await;
            }
            What::Unfit { .. } => self.give_up("the mechanism asked for is not to be had").await,
            _ => {}
        }
    }

    /// What was decided before all were told to stop.
    fn comes_to_nothing(&self, what: &What) -> bool {
        self.state.failed && matches!(what, What::Restarting { .. })
    }

    /// Whether the same refusal was told a moment ago. A program that tries again and again is no news,
    /// and finding out who holds the address costs time.
    fn was_told(&mut self, what: &What) -> bool {
        let What::Refused { key, errno } = what else { return false };
        let (name, now) = (format!("{key} {errno}"), Instant::now());
        self.refusals.retain(|_, told| now < *told + QUIET);
        let told = self.refusals.contains_key(&name);
        self.refusals.entry(name).or_insert(now);
        told
    }

    async fn give_up(&mut self, why: &str) {
        if !self.state.failed {
            self.narrator.say(&format!("giving up: {why}"));
        }
        self.state.failed = true;
        let _ = self.cluster.stop().await;
    }

    async fn end(mut self, events: Events) -> anyhow::Result<ExitCode> {
        let ending = events.ending().await.context("run the cluster")?;
        let code = match ending {
            Ending::Stopped if self.state.failed => ExitCode::FAILURE,
            Ending::Stopped | Ending::Left => ExitCode::SUCCESS,
            Ending::Finished { .. } if self.state.failed => ExitCode::FAILURE,
            Ending::Finished { code } => ExitCode::from(code),
            Ending::NeverStarted => ExitCode::FAILURE,
        };
        self.narrator.say(match ending {
            Ending::Stopped | Ending::Left => "stopped",
            Ending::Finished { code: 0 } => "finished",
            Ending::Finished { .. } => "every worker has failed",
            Ending::NeverStarted => "could not be started",
        });
        self.narrator.terminal().flush().await;
        Ok(code)
    }
}

/// Nobody asks when there is no socket to ask on.
fn nobody() -> mpsc::Receiver<Question> {
    mpsc::channel(1).1
}
