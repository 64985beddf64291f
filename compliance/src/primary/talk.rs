//! What a test says to a primary, and what it waits for.

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Primary, WorkerExit};
use crate::DEADLINE;
use crate::process::Process;

impl Primary {
    /// `worker.send(message)`.
    pub fn send(&mut self, worker: u32, message: impl Into<Value>) {
        self.say(&json!({ "command": "send", "worker": worker, "message": message.into() }));
    }

    /// `worker.send(message)`, and waits until the primary has passed it on; an error is what it says.
    pub fn try_send(&mut self, worker: u32, message: impl Into<Value>) -> Result<(), String> {
        let id = self.send_noted(worker, &message.into());
        self.outcome(id)
    }

    /// `worker.send(message)`; its fate can be asked for by the number that this gives.
    pub fn send_noted(&mut self, worker: u32, message: &Value) -> u64 {
        self.say_noted(json!({ "command": "send", "worker": worker, "message": message }))
    }

    /// Waits until the command of this number was carried out; an error is what the primary says.
    pub fn outcome(&mut self, id: u64) -> Result<(), String> {
        let done = self.done(id);
        done["error"].as_str().map_or(Ok(()), |error| Err(error.to_owned()))
    }

    /// `worker.disconnect()`.
    pub fn disconnect(&mut self, worker: u32) {
        self.command(json!({ "command": "disconnect", "worker": worker }));
    }

    /// `worker.process.kill('SIGKILL')`, and waits for its end.
    pub fn kill(&mut self, worker: u32) -> WorkerExit {
        self.command(json!({ "command": "kill", "worker": worker, "signal": "SIGKILL" }));
        self.wait_exit(worker)
    }

    /// Signals a worker without the primary's knowledge.
    pub fn signal(&self, worker: u32, signal: Signal) {
        let process = Process::read(self.pid_of(worker)).expect("the worker lives");
        process.signal(signal);
    }

    /// Whether the worker's process ends, within this time.
    #[must_use]
    pub fn ends_within(&self, worker: u32, time: Duration) -> bool {
        Process::read(self.pid_of(worker)).is_none_or(|process| process.ends_within(time))
    }

    /// The worker's process.
    #[must_use]
    pub fn pid_of(&self, worker: u32) -> u32 {
        let fork = self.events.iter().find(|it| it["worker"] == worker && it["pid"].is_u64());
        let pid = fork.and_then(|fork| u32::try_from(fork["pid"].as_u64()?).ok());
        pid.expect("a worker that was forked has a pid")
    }

    /// Waits for the first event of this kind of the worker, which may have come already.
    pub fn wait_for(&mut self, worker: u32, kind: &str) -> Value {
        let what = format!("{kind} of worker {worker}");
        self.wait(&what, |events| {
            let mut events = events.iter();
            events.find(|it| it["worker"] == worker && it["event"] == kind).cloned()
        })
    }

    /// Takes what has come, without waiting.
    pub fn look(&mut self) {
        while self.pump(Instant::now()) {}
    }

    /// Waits until so many events of this kind of the worker have come.
    pub fn wait_count(&mut self, worker: u32, kind: &str, n: usize) {
        let what = format!("{n} times {kind} of worker {worker}");
        self.wait(&what, |events| {
            let is_it = |it: &&Value| it["worker"] == worker && it["event"] == kind;
            (events.iter().filter(is_it).count() >= n).then_some(())
        });
    }

    /// The worker's next message.
    pub fn message(&mut self, worker: u32) -> Value {
        let from = self.taken.get(&worker).copied().unwrap_or(0);
        let what = format!("the next message of worker {worker}");
        let (place, message) = self.wait(&what, |events| {
            let mut events = events.iter().enumerate().skip(from);
            let (place, event) =
                events.find(|(_, it)| it["worker"] == worker && it["event"] == "message")?;
            Some((place, event["message"].clone()))
        });
        self.taken.insert(worker, place + 1);
        message
    }

    /// Waits for the worker's end.
    pub fn wait_exit(&mut self, worker: u32) -> WorkerExit {
        let exit = self.wait_for(worker, "exit");
        WorkerExit {
            code: exit["code"].as_i64(),
            signal: exit["signal"].as_str().map(str::to_owned),
            exited_after_disconnect: exit["exitedAfterDisconnect"] == true,
        }
    }

    /// Waits until the worker has written this to its standard output.
    pub fn wait_output(&mut self, worker: u32, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.transcript.stdout(worker).contains(text) {
            assert!(self.pump(deadline), "no {text:?} of worker {worker}:\n{}", self.transcript);
        }
    }

    /// How many events of this kind came so far.
    #[must_use]
    pub fn count(&self, worker: u32, kind: &str) -> usize {
        let is_it = |event: &&Value| event["worker"] == worker && event["event"] == kind;
        self.events.iter().filter(is_it).count()
    }

    /// Says it, waits until it is done, and panics when it cannot be.
    pub(super) fn command(&mut self, command: Value) -> Value {
        let done = self.ask(command);
        assert!(done["error"].is_null(), "{done}\n{}", self.transcript);
        done
    }

    /// Says it, and waits for the answer.
    fn ask(&mut self, command: Value) -> Value {
        let id = self.say_noted(command);
        self.done(id)
    }

    fn say_noted(&mut self, mut command: Value) -> u64 {
        self.commands += 1;
        command["id"] = self.commands.into();
        self.say(&command);
        self.commands
    }

    fn done(&mut self, id: u64) -> Value {
        self.wait(&format!("the end of command {id}"), |events| {
            events.iter().rfind(|it| it["event"] == "done" && it["id"] == id).cloned()
        })
    }

    pub(super) fn say(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("it is open until finish()");
        let said = writeln!(stdin, "{command}");
        said.unwrap_or_else(|error| panic!("{command}: {error}\n{}", self.transcript));
    }

    fn wait<T>(&mut self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = find(&self.events) {
                return found;
            }
            if !self.pump(deadline) {
                let (way, seen) = (self.way, &self.transcript);
                panic!("{way:?}: waited in vain for {what:.300}; seen:\n{seen}");
            }
        }
    }

    /// Takes one more event; false when there is none in time, or never will be.
    pub(super) fn pump(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                let event: Value = serde_json::from_str(&line).expect("a line of JSON");
                self.transcript.add(&event);
                self.events.push(event);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }
}
