//! The load's thread.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

use super::connection::{Answer, Connection, Step};
use super::stall::Watch;
use super::{Failure, Kind, Look, Outcome, Pace, Tally, Target, Word};

/// How long a word to the load may wait.
const LISTENING: Duration = Duration::from_millis(5);

/// Asks until it is told to stop and everything has been answered or has failed.
pub(super) fn run(target: &Target, pace: &Pace, words: &Receiver<Word>) -> Tally {
    // Only root may; the load is to be the last to suffer from a full machine.
    let _ = rustix::process::nice(-10);
    let mut run = Run::new(target, pace);
    while !run.is_over() {
        run.hear(words);
        run.send_what_is_due();
        run.wait();
    }
    run.tally.stalls = run.watch.so_far(run.stopped.unwrap_or_else(Instant::now));
    run.tally
}

/// A kind's next request.
struct Next {
    kind: Kind,
    due: Instant,
    interval: Duration,
}

struct Run<'a> {
    target: &'a Target,
    pace: &'a Pace,
    start: Instant,
    next: Vec<Next>,
    number: u64,
    busy: Vec<Connection>,
    /// The one that waits longest is first; each with who answered on it last.
    idle: VecDeque<(Connection, u32)>,
    /// On plain requests.
    watch: Watch,
    /// Requests on connections that nobody had answered on.
    asked: usize,
    tally: Tally,
    pids: BTreeSet<u32>,
    versions: BTreeSet<String>,
    stopped: Option<Instant>,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, pace: &'a Pace) -> Self {
        let start = Instant::now();
        let wanted = |kind: &&Kind| kind.is_new() || pace.connections > 0;
        let next = Kind::ALL.iter().filter(wanted).filter_map(|&kind| {
            let interval = pace.interval(kind)?;
            Some(Next { kind, due: start + interval, interval })
        });
        Self {
            target,
            pace,
            start,
            next: next.collect(),
            number: 0,
            busy: Vec::new(),
            idle: VecDeque::new(),
            watch: Watch::default(),
            asked: 0,
            tally: Tally::default(),
            pids: BTreeSet::new(),
            versions: BTreeSet::new(),
            stopped: None,
        }
    }

    fn is_over(&self) -> bool {
        self.stopped.is_some() && self.busy.is_empty()
    }

    fn hear(&mut self, words: &Receiver<Word>) {
        loop {
            match words.try_recv() {
                Ok(Word::Look(answer)) => {
                    // Who asked may be gone.
                    drop(answer.send(self.look()));
                }
                Ok(Word::Stop) | Err(TryRecvError::Disconnected) => {
                    self.stopped.get_or_insert_with(Instant::now);
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn look(&mut self) -> Look {
        Look {
            pids: std::mem::take(&mut self.pids),
            versions: std::mem::take(&mut self.versions),
            in_flight: self.busy.iter().filter(|it| it.reused_of.is_none()).count(),
            asked: self.asked,
            answered: self.tally.with(Outcome::Answered),
        }
    }

    fn send_what_is_due(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        let now = Instant::now();
        for at in 0..self.next.len() {
            while self.next[at].due <= now {
                let Next { kind, due, interval } = self.next[at];
                self.next[at].due = due + interval;
                self.tally.lateness = self.tally.lateness.max(due.elapsed());
                self.send(kind, due);
            }
        }
    }

    fn send(&mut self, kind: Kind, due: Instant) {
        self.number += 1;
        self.watch.due(kind, due);
        match self.connection(kind, due) {
            Ok(mut connection) => {
                // It is the one that was looked at a moment ago: nothing is between look and use.
                let step = connection.step(Instant::now());
                self.went(connection, step);
            }
            Err(error) => {
                let outcome = Outcome::Refused;
                let failure = self.failure(kind, outcome, due);
                self.failed(Failure { detail: error.to_string(), ..failure });
            }
        }
    }

    /// A kept one that is open if there are enough of them, else a new one.
    fn connection(&mut self, kind: Kind, due: Instant) -> std::io::Result<Connection> {
        let kept = self.busy.iter().filter(|connection| !connection.kind.is_new()).count();
        if !kind.is_new() && kept + self.idle.len() >= self.pace.connections {
            while let Some((connection, pid)) = self.idle.pop_front() {
                if connection.is_open() {
                    return Ok(connection.reuse(pid, kind, due, self.number));
                }
                self.tally.closed_idle += 1;
            }
        }
        self.asked += 1;
        Connection::open(self.target, self.pace.moment, (kind, due, self.number))
    }

    /// Until a connection can go on, a request is due, or a word may have come.
    fn wait(&mut self) {
        let limit = self.patience();
        let busy = self.busy.iter().enumerate();
        let watched: Vec<_> = busy.filter_map(|(at, it)| Some((at, it.interest()?))).collect();
        let mut polled: Vec<PollFd> =
            watched.iter().map(|(at, what)| PollFd::new(&self.busy[*at], *what)).collect();
        // An interruption is as good as a time-out: nothing is ready then.
        let _ = poll(&mut polled, Some(&limit));
        let ready = watched.iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty());
        let ready: BTreeSet<usize> = ready.map(|((at, _), _)| *at).collect();
        self.go_on(&ready);
    }

    fn patience(&self) -> Timespec {
        let now = Instant::now();
        let due = self.next.iter().map(|next| next.due.saturating_duration_since(now)).min();
        let wait = due.filter(|_| self.stopped.is_none()).unwrap_or(LISTENING).min(LISTENING);
        Timespec::try_from(wait).expect("a few milliseconds fit")
    }

    fn go_on(&mut self, ready: &BTreeSet<usize>) {
        let now = Instant::now();
        for (at, mut connection) in std::mem::take(&mut self.busy).into_iter().enumerate() {
            let step = if ready.contains(&at) || connection.interest().is_none() {
                connection.step(now)
            } else {
                Step::Waits
            };
            self.went(connection, step);
        }
    }

    fn went(&mut self, connection: Connection, step: Step) {
        let waited = connection.due.elapsed();
        match step {
            Step::Answered(answer) => self.answered(connection, answer),
            Step::Failed(outcome, detail) => self.gave_up(&connection, outcome, detail),
            Step::Waits if waited < self.pace.patience => self.busy.push(connection),
            Step::Waits => {
                self.gave_up(&connection, Outcome::TimedOut, format!("{waited:?}"));
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds")]
    fn answered(&mut self, connection: Connection, answer: Answer) {
        let (kind, now) = (connection.kind, Instant::now());
        self.tally.add(kind, Outcome::Answered);
        if !kind.is_slow() {
            let took = now.saturating_duration_since(connection.due);
            self.tally.latencies.push(took.as_micros() as f64 / 1000.0);
        }
        self.watch.answered(kind, now);
        self.pids.insert(answer.pid);
        self.versions.insert(answer.version);
        if !kind.is_new() {
            self.idle.push_back((connection, answer.pid));
        }
    }

    fn gave_up(&mut self, connection: &Connection, outcome: Outcome, detail: String) {
        let failure = self.failure(connection.kind, outcome, connection.due);
        self.failed(Failure { reused_of: connection.reused_of, detail, ..failure });
    }

    fn failure(&self, kind: Kind, outcome: Outcome, due: Instant) -> Failure {
        let (after, due) = (due.elapsed(), due.saturating_duration_since(self.start));
        Failure { kind, outcome, due, after, reused_of: None, detail: String::new() }
    }

    fn failed(&mut self, failure: Failure) {
        self.tally.add(failure.kind, failure.outcome);
        self.watch.gave_up(failure.kind);
        self.tally.tell(failure);
    }
}
