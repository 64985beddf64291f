//! What `tine run` says, line by line, and what its own lines mean.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

/// Which of the two a line came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: the workers' own.
    Out,
    /// Standard error: tine's lines, and the workers' own standard error.
    Err,
}

/// One line, without its end.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it came.
    pub stream: Stream,
    /// What it says.
    pub text: String,
}

/// Told by `tine: app/0: worker 1 started, pid 4711`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its place in the app, from 0.
    pub instance: u32,
    /// Its own number, never used again.
    pub id: u32,
    /// The process that tine started; the one that serves may be a child of it.
    pub pid: u32,
}

/// Told by `tine: app/0: worker 1 listens on 127.0.0.1:8003 (rr, kernel-ebpf, bind-trap)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The worker's id.
    pub worker: u32,
    /// What it listens on.
    pub address: String,
    /// Who gets the next connection.
    pub policy: String,
    /// How that is carried out.
    pub mechanism: String,
    /// How the worker came to its seat.
    pub acquisition: String,
}

/// Why there is no next line.
pub(crate) enum Silence {
    /// Both streams are at their end.
    Ended,
    /// Nothing came in time.
    TimedOut,
}

/// All lines so far, and those to come.
#[derive(Debug)]
pub(crate) struct Output {
    coming: Receiver<Line>,
    lines: Vec<Line>,
}

impl Output {
    /// Reads both streams in threads, which end with them.
    pub(crate) fn collect(stdout: ChildStdout, stderr: ChildStderr) -> Self {
        let (sender, coming) = channel();
        let to_errors = sender.clone();
        thread::spawn(move || forward(stdout, Stream::Out, &sender));
        thread::spawn(move || forward(stderr, Stream::Err, &to_errors));
        Self { coming, lines: Vec::new() }
    }

    /// Waits for one more line.
    pub(crate) fn read(&mut self, deadline: Instant) -> Result<(), Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.coming.recv_timeout(left) {
            Ok(line) => self.lines.push(line),
            Err(RecvTimeoutError::Timeout) => return Err(Silence::TimedOut),
            Err(RecvTimeoutError::Disconnected) => return Err(Silence::Ended),
        }
        Ok(())
    }

    /// Every line that has come by now.
    pub(crate) fn lines(&mut self) -> &[Line] {
        self.lines.extend(self.coming.try_iter());
        &self.lines
    }

    /// The workers that have started and not ended, by instance.
    pub(crate) fn workers(&mut self) -> Vec<Worker> {
        let mut workers: Vec<Worker> = Vec::new();
        for News { instance, worker, what } in self.lines().iter().filter_map(news) {
            if let Some(pid) = what.strip_prefix("started, pid ") {
                let pid = pid.parse().unwrap_or_else(|_| panic!("a pid: {what:?}"));
                workers.push(Worker { instance, id: worker, pid });
            }
            if what.starts_with("exited ") || what.starts_with("was killed ") {
                workers.retain(|known| known.id != worker);
            }
        }
        workers.sort_by_key(|worker| worker.instance);
        workers
    }

    /// Every seat that came into rotation.
    pub(crate) fn listening(&mut self) -> Vec<Listening> {
        self.lines().iter().filter_map(news).filter_map(|news| news.listening()).collect()
    }

    pub(crate) fn text(&mut self, stream: Stream) -> String {
        let lines = self.lines().iter().filter(|line| line.stream == stream);
        lines.flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }

    /// Everything, for a person who looks for the reason of a failure.
    pub(crate) fn transcript(&mut self) -> String {
        let name = |line: &Line| if line.stream == Stream::Out { "out: " } else { "err: " };
        self.lines().iter().flat_map(|line| [name(line), &line.text, "\n"]).collect()
    }
}

fn forward(from: impl Read, stream: Stream, to: &Sender<Line>) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
        // The test may have ended, and nobody cares.
        drop(to.send(Line { stream, text }));
        bytes.clear();
    }
}

/// One of tine's own lines about a worker.
struct News<'a> {
    instance: u32,
    worker: u32,
    what: &'a str,
}

/// Reads `tine: app/0: worker 1 WHAT`; a worker's own output never begins so.
fn news(line: &Line) -> Option<News<'_>> {
    if line.stream != Stream::Err {
        return None;
    }
    let (place, said) = line.text.strip_prefix("tine: ")?.split_once(": worker ")?;
    let (_, instance) = place.rsplit_once('/')?;
    let (worker, what) = said.split_once(' ')?;
    Some(News { instance: instance.parse().ok()?, worker: worker.parse().ok()?, what })
}

impl News<'_> {
    fn listening(&self) -> Option<Listening> {
        let (address, means) = self.what.strip_prefix("listens on ")?.split_once(" (")?;
        let mut means = means.strip_suffix(')')?.split(", ").map(str::to_owned);
        Some(Listening {
            worker: self.worker,
            address: address.to_owned(),
            policy: means.next()?,
            mechanism: means.next()?,
            acquisition: means.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(lines: &[&str]) -> Output {
        let lines = lines.iter().map(|text| Line { stream: Stream::Err, text: (*text).to_owned() });
        Output { coming: channel().1, lines: lines.collect() }
    }

    #[test]
    fn workers_are_those_that_started_and_did_not_end() {
        let mut output = output(&[
            "tine: app/1: worker 2 started, pid 20",
            "tine: app/0: worker 1 started, pid 10",
            "tine: app/2: worker 3 started, pid 30",
            "tine: app/0: worker 1 exited with code 1",
            "tine: app/0: worker 4 starts in 100 ms",
            "tine: app/2: worker 3 was killed by SIGKILL",
            "tine: app/0: worker 4 started, pid 40",
            "app/0 | tine: app/9: worker 9 started, pid 90",
        ]);
        let workers =
            [Worker { instance: 0, id: 4, pid: 40 }, Worker { instance: 1, id: 2, pid: 20 }];
        assert_eq!(output.workers(), workers);
    }

    #[test]
    fn a_seat_is_told_with_its_address_and_means() {
        let mut output = output(&[
            "tine: a: b/0: worker 7 listens on [::1]:8003 (rr, kernel-ebpf, bind-trap)",
            "tine: app: stopped",
        ]);
        let listening = Listening {
            worker: 7,
            address: "[::1]:8003".to_owned(),
            policy: "rr".to_owned(),
            mechanism: "kernel-ebpf".to_owned(),
            acquisition: "bind-trap".to_owned(),
        };
        assert_eq!(output.listening(), [listening]);
    }
}
