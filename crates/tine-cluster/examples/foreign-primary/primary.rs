//! The primary itself: `tine_cluster`'s, obeying commands and telling events.

use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    io::{self, Write},
    time::Duration,
};

use tine_cluster::{
    core::worker::Patience,
    id::WorkerId,
    json::Json,
    policy::Abilities,
    primary::{Cluster, Event, Events, Program, Settings, Stream, What},
};
use tine_linux::process::Exit;

use crate::{
    command::{self, Command, Setup, Start},
    event::{Line, More},
    post::{Post, answer, answer_with},
    signal,
};

/// The first descriptor that is declared to workers: `sd_listen_fds(3)`.
const FIRST_DECLARED: usize = 3;

/// Node waits for ever for a worker that leaves.
const EVER: Duration = Duration::from_hours(24 * 365);

/// Runs from the first command on.
#[derive(Debug, Default)]
pub(crate) struct Primary {
    running: Option<(Cluster, Events)>,
    /// One for each worker that was written to.
    posts: BTreeMap<WorkerId, Post>,
    silent: BTreeSet<WorkerId>,
}

impl Primary {
    /// What happens next; never, as long as nothing runs.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match &mut self.running {
            Some((_, events)) => events.next().await,
            None => future::pending().await,
        }
    }

    /// Does what a line says. An error of its own is for the caller of `done`; this one is of the output.
    pub(crate) async fn obey(&mut self, line: &str) -> io::Result<()> {
        let (id, command) = command::read(line);
        match command {
            Ok(Command::Setup(setup)) => answer_with(id, self.setup(&setup)),
            Ok(Command::Fork(start)) => answer_with(id, self.fork(&start).await),
            Ok(Command::Send(send)) => self.send(id, send),
            Ok(Command::Disconnect(who)) => {
                self.disconnect(who.worker);
                answer(id, Ok(()))
            }
            Ok(Command::Kill(kill)) => answer(id, self.kill(&kill).await),
            Err(error) if id.is_none() => Line::Error { worker: WorkerId(0), message: error }.say(),
            Err(error) => answer(id, Err(error)),
        }
    }

    fn setup(&mut self, setup: &Setup) -> Result<More, String> {
        if self.running.is_some() {
            return Err("it runs already".to_owned());
        }
        let mut settings = Settings::new(Program::new("node"), 0);
        settings.policy = setup.policy();
        settings.mechanism = setup.mechanism;
        settings.abilities = Abilities::of_this_process();
        settings.listen.clone_from(&setup.listen);
        settings.patience = Patience { drain: EVER, ..settings.patience };
        self.running = Some(Cluster::start(settings));
        let descriptors = (0..setup.listen.len()).map(|n| FIRST_DECLARED + n).collect();
        Ok(More { descriptors: Some(descriptors), ..More::default() })
    }

    fn cluster(&mut self) -> Result<&Cluster, String> {
        if self.running.is_none() {
            self.setup(&Setup::default())?;
        }
        self.running.as_ref().map(|(cluster, _)| cluster).ok_or_else(|| "it has ended".to_owned())
    }

    async fn fork(&mut self, start: &Start) -> Result<More, String> {
        let cluster = self.cluster()?.clone();
        let worker = cluster.fork(start.fork()).await.map_err(words)?;
        if start.silent {
            self.silent.insert(worker);
        }
        let workers = cluster.workers().await.map_err(words)?;
        let pid = workers.iter().find(|it| it.worker == worker).map(|it| it.pid);
        Ok(More { worker: Some(worker), pid, descriptors: None })
    }

    fn send(&mut self, id: Option<Json>, send: command::Send) -> io::Result<()> {
        let cluster = match self.cluster() {
            Ok(cluster) => cluster.clone(),
            Err(error) => return answer(id, Err(error)),
        };
        let post = || Post::open(send.worker, cluster);
        self.posts.entry(send.worker).or_insert_with(post).put(id, send.message)
    }

    /// Nobody waits for its end, which is an event.
    fn disconnect(&mut self, worker: Option<WorkerId>) {
        let Ok(cluster) = self.cluster().cloned() else { return };
        tokio::spawn(async move {
            // A worker that has gone has no more to do.
            let _ = match worker {
                Some(worker) => cluster.disconnect(worker).await,
                None => cluster.disconnect_all().await,
            };
        });
    }

    async fn kill(&mut self, kill: &command::Kill) -> Result<(), String> {
        let name = kill.signal.as_deref().unwrap_or("SIGTERM");
        let signal = signal::named(name).ok_or_else(|| format!("there is no signal {name}"))?;
        self.cluster()?.kill_worker(kill.worker, signal).await.map_err(words)
    }

    /// Tells what happened, as Node's events.
    pub(crate) fn tell(&mut self, event: Option<Event>) -> io::Result<()> {
        let Some(Event { worker, what, .. }) = event else {
            self.running = None;
            return Ok(());
        };
        match self.line(worker, what)? {
            Some(line) => line.say(),
            None => Ok(()),
        }
    }

    fn line(&mut self, worker: WorkerId, what: What) -> io::Result<Option<Line>> {
        Ok(Some(match what {
            What::Started { pid, .. } => Line::Fork { worker, pid: pid.as_raw_nonzero().get() },
            What::Online => Line::Online { worker },
            What::Listening { address, .. } => Line::listening(worker, address),
            What::Message { message, descriptor, .. } => {
                Line::Message { worker, message, handle: descriptor.is_some() }
            }
            What::Disconnected => {
                self.posts.remove(&worker);
                Line::Disconnect { worker }
            }
            What::Exited { exit, exited_after_disconnect, .. } => {
                let (code, signal) = match exit {
                    Exit::Code(code) => (Some(code), None),
                    Exit::Signal(number) => (None, Some(signal::name(number))),
                };
                Line::Exit { worker, code, signal, exited_after_disconnect }
            }
            What::Output { stream, line } => return self.output(worker, stream, line),
            What::Unfit { reason } => error(worker, &reason),
            What::Misbehaved { error: message } => Line::Error { worker, message },
            What::Trouble { doing, error: reason } => error(worker, &format!("{doing}: {reason}")),
            What::NotStarted { error: reason } => error(worker, &reason),
            // Node tells none of this. An address that is refused is the worker's own affair.
            _ => return Ok(None),
        }))
    }

    /// To whom it may concern: the other program, or whoever reads our standard error.
    fn output(
        &self,
        worker: WorkerId,
        stream: Stream,
        mut line: Vec<u8>,
    ) -> io::Result<Option<Line>> {
        line.push(b'\n');
        if !self.silent.contains(&worker) {
            io::stderr().write_all(&line)?;
            return Ok(None);
        }
        let stream = match stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        };
        let text = String::from_utf8_lossy(&line).into_owned();
        Ok(Some(Line::Output { worker, stream, text }))
    }

    /// Nobody is left who could say anything: kills the workers.
    pub(crate) async fn end(self) {
        let Some((cluster, mut events)) = self.running else { return };
        if cluster.kill().await.is_ok() {
            while events.next().await.is_some() {}
        }
    }
}

fn error(worker: WorkerId, reason: &impl ToString) -> Line {
    Line::Error { worker, message: reason.to_string() }
}

fn words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
