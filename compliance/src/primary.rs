//! A primary of Node cluster workers, Node's own or ours, as a test sees it: `docs/foreign-primary.md`.

mod command;
mod compare;
mod talk;
mod transcript;
mod way;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{self, MARK, Process};
use crate::scratch::Scratch;
use crate::{DEADLINE, Who, build, free_port, spawn};

pub use command::Fork;
pub use compare::{compare, compare_on, compare_started, play};
pub use transcript::Transcript;
pub use way::{IN_ANY_ORDER, IN_TURN, Interpreter, UnderTest, Way, peer};

use transcript::Names;

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerExit {
    /// The exit code, when it exited.
    pub code: Option<i64>,
    /// The signal's name, when it was killed.
    pub signal: Option<String>,
    /// `worker.exitedAfterDisconnect`.
    pub exited_after_disconnect: bool,
}

/// A running primary. Dropping it kills all that it started.
#[derive(Debug)]
pub struct Primary {
    way: Way,
    interpreter: Interpreter,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Every event so far.
    events: Vec<Value>,
    /// For each worker: the place behind the last message that a test took.
    taken: BTreeMap<u32, usize>,
    commands: u64,
    /// Those of workers; each is in a file.
    scripts: Vec<String>,
    names: Names,
    scratch: Scratch,
    transcript: Transcript,
}

impl Primary {
    /// Starts one in a folder of its own.
    #[must_use]
    pub fn start(way: Way, interpreter: &Interpreter) -> Self {
        Self::start_with(way, interpreter, &[], &[])
    }

    /// Likewise, started through these words of a command, and with these addresses declared: workers
    /// may `listen({ fd })` on what [`Self::descriptor`] gives.
    #[must_use]
    pub fn start_with(way: Way, with: &Interpreter, through: &[&str], declare: &[&str]) -> Self {
        let scratch = Scratch::new(Who::Root).expect("/tmp is writable");
        let (mut child, lines) = spawn(way, with, through, &scratch);
        let mut names = Names::default();
        names.path(scratch.path().display().to_string(), "DIR");
        let stdin = child.stdin.take();
        let mut primary = Self {
            way,
            interpreter: with.clone(),
            child,
            stdin,
            lines,
            events: Vec::new(),
            taken: BTreeMap::new(),
            commands: 0,
            scripts: Vec::new(),
            names,
            scratch,
            transcript: Transcript::default(),
        };
        primary.set_up(declare);
        primary
    }

    fn set_up(&mut self, declare: &[&str]) {
        self.command(json!({
            "command": "setup", "policy": self.way.policy(), "mechanism": self.way.mechanism(),
            "listen": declare,
        }));
    }

    /// The number, in the primary, of the `n`th socket declared.
    #[must_use]
    pub fn descriptor(&self, n: usize) -> u64 {
        let descriptors = &self.events[0]["descriptors"];
        descriptors[n].as_u64().unwrap_or_else(|| panic!("no descriptor {n}: {}", self.events[0]))
    }

    /// Which primary, and its policy.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// What runs the workers.
    #[must_use]
    pub fn interpreter(&self) -> &Path {
        &self.interpreter.path
    }

    /// The primary's own process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder where it runs, empty but for the hello servers.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// A port that nobody else has, which comparisons take no notice of.
    pub fn port(&mut self) -> u16 {
        let port = free_port();
        self.call(port, "PORT");
        port
    }

    /// Comparisons take no notice of this number.
    pub fn call(&mut self, number: u16, name: &str) {
        self.names.number(number.into(), name.to_owned());
    }

    /// Puts a file into the folder; gives its path.
    #[expect(clippy::must_use_candidate, reason = "some files are found by their names")]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.scratch.write(name, text).expect("/tmp is writable");
        self.folder().join(name)
    }

    /// Forks a worker that runs this script, with these variables; gives its id.
    pub fn fork(&mut self, script: &str, env: &[(&str, &dyn ToString)]) -> u32 {
        let known = self.scripts.iter().position(|known| known == script);
        let number = known.unwrap_or_else(|| {
            self.scripts.push(script.to_owned());
            self.scripts.len() - 1
        });
        let exec = match known {
            Some(_) => self.folder().join(format!("worker-{number}.js")),
            None => self.write(&format!("worker-{number}.js"), script),
        };
        let fork = Fork::new(exec);
        self.fork_with(&env.iter().fold(fork, |fork, (name, value)| fork.env(name, *value)))
    }

    /// Forks so many workers that run this script, and waits until each listens.
    pub fn fork_listening(
        &mut self,
        n: usize,
        script: &str,
        env: &[(&str, &dyn ToString)],
    ) -> Vec<u32> {
        let workers: Vec<u32> = (0..n).map(|_| self.fork(script, env)).collect();
        for worker in &workers {
            self.wait_for(*worker, "listening");
        }
        workers
    }

    /// Forks a worker; gives its id.
    pub fn fork_with(&mut self, fork: &Fork) -> u32 {
        let done = self.command(fork.command(&self.interpreter));
        let worker = done["worker"].as_u64().and_then(|id| u32::try_from(id).ok());
        worker.unwrap_or_else(|| panic!("no worker in {done}"))
    }

    /// Runs a client with the same interpreter, in the folder; gives what it printed.
    #[must_use]
    pub fn run_client(&self, script: &str, args: &[&dyn ToString]) -> String {
        let client = self.write("client.js", script);
        let mut command = Command::new(&self.interpreter.path);
        command.arg(client).args(args.iter().map(|arg| arg.to_string())).current_dir(self.folder());
        let output =
            spawn::output(command.env(MARK, self.scratch.mark())).expect("it is installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the client failed: {error}\n{}", self.transcript);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Disconnects the workers that are left and waits for all ends; gives what was seen.
    #[expect(clippy::must_use_candidate, reason = "that it ends well is a result, too")]
    pub fn finish(mut self) -> Transcript {
        let workers: Vec<u32> = self.ids().collect();
        for worker in workers {
            if self.count(worker, "exit") == 0 && self.count(worker, "disconnect") == 0 {
                self.say(&json!({ "command": "disconnect", "worker": worker }));
            }
            // Node does not always tell that the channel of a killed worker ended.
            if self.wait_exit(worker).signal.is_none() {
                self.wait_for(worker, "disconnect");
            }
        }
        self.stdin = None;
        // To the end: what they wrote last comes last.
        let deadline = Instant::now() + DEADLINE;
        while self.pump(deadline) {}
        std::mem::take(&mut self.transcript).normal(&self.names)
    }

    /// Kills the primary, and nobody else.
    pub fn kill_itself(&mut self) {
        Process::read(self.pid()).expect("it is not waited for").signal(Signal::KILL);
    }

    /// What was seen so far, of a primary that cannot say more.
    #[must_use]
    pub fn seen(mut self) -> Transcript {
        std::mem::take(&mut self.transcript).normal(&self.names)
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        let forks = self.events.iter().filter(|event| event["event"] == "fork");
        forks
            .filter_map(|event| u32::try_from(event["worker"].as_u64()?).ok())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        let family = process::below(self.child.id());
        if let Some(own) = Process::read(self.child.id()) {
            own.signal(Signal::KILL);
        }
        for process in family.into_iter().chain(process::marked(&self.scratch.mark())) {
            process.signal(Signal::KILL);
        }
        // After the kill it can only end.
        drop(self.child.wait());
    }
}

/// Started through setpriv(1), so that it dies with the thread that runs the test.
fn spawn(
    way: Way,
    interpreter: &Interpreter,
    through: &[&str],
    scratch: &Scratch,
) -> (Child, Receiver<String>) {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(through);
    match way.under_test() {
        UnderTest::Node => command.arg(&interpreter.path).arg(build::file("node/node-primary.js")),
        UnderTest::Tine => command.arg(build::example("foreign-primary")),
    };
    command.env_remove("NODE_CLUSTER_SCHED_POLICY").env(MARK, scratch.mark());
    command.current_dir(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child =
        spawn::spawn(&mut command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = child.stdout.take().expect("it was asked to be a pipe");
    let (sender, lines) = channel();
    thread::spawn(move || read(stdout, &sender));
    (child, lines)
}

fn read(stdout: ChildStdout, to: &Sender<String>) {
    let mut lines = BufReader::with_capacity(1 << 20, stdout).lines();
    // Both ends are as good: nobody listens, or nothing comes.
    while let Some(Ok(line)) = lines.next()
        && to.send(line).is_ok()
    {}
}
