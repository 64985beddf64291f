//! The standard inputs of an app's workers: pipes that the manager writes to, line by line.
//!
//! A worker that does not read holds up whoever writes to it, and nobody else: its lines wait in a task
//! of their own, which is made with the first one.

use std::{collections::BTreeMap, io, os::fd::OwnedFd, pin::pin, time::Duration};

use tine_cluster::id::WorkerId;
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::Sender,
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

/// Lines that may wait for a worker; more are refused.
const WAITING: usize = 16;
/// Longer lines are refused, in bytes.
const LONGEST: usize = 64 * 1024;
/// Whoever writes waits no longer for a worker that does not read. Its line waits on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the line has reached the pipe, or why not.
pub(super) type Told = oneshot::Sender<Result<(), String>>;

/// Those of all workers that run.
#[derive(Debug, Default)]
pub(super) struct Stdins(BTreeMap<WorkerId, Stdin>);

#[derive(Debug)]
struct Stdin {
    /// The write end, open as long as the worker runs: it would read its end otherwise.
    pipe: OwnedFd,
    writer: Option<Writer>,
}

/// The task that writes to a duplicate of the pipe.
#[derive(Debug)]
struct Writer {
    lines: mpsc::Sender<Line>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    told: Told,
}

impl Stdins {
    pub(super) fn add(&mut self, worker: WorkerId, pipe: OwnedFd) {
        self.0.insert(worker, Stdin { pipe, writer: None });
    }

    /// The worker is gone, and its pipe with it.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.0.remove(&worker);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes the line and a newline. Never waits.
    pub(super) fn write(&mut self, worker: WorkerId, line: &str, told: Told) {
        let line = Line { bytes: format!("{line}\n").into_bytes(), told };
        let refused = match self.0.get_mut(&worker) {
            Some(_) if line.bytes.len() > LONGEST => {
                Err((line, format!("a line is longer than {LONGEST} bytes")))
            }
            Some(stdin) => stdin.write(line),
            None => Err((line, "its standard input is closed".to_owned())),
        };
        if let Err((line, error)) = refused {
            // Whoever asked may have gone.
            let _ = line.told.send(Err(error));
        }
    }
}

impl Stdin {
    /// Gives the line back with the reason why it cannot be taken.
    fn write(&mut self, line: Line) -> Result<(), (Line, String)> {
        let writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return Err((line, format!("open its standard input: {error}"))),
        };
        writer.lines.try_send(line).map_err(|error| {
            let why = format!("it does not read its standard input: {WAITING} lines wait already");
            (error.into_inner(), why)
        })
    }

    fn writer(&mut self) -> io::Result<&Writer> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::start(self.pipe.try_clone()?)?,
        };
        Ok(self.writer.insert(writer))
    }
}

impl Writer {
    fn start(pipe: OwnedFd) -> io::Result<Self> {
        // What does not block is this end alone; the program's is another file to the kernel.
        let pipe = Sender::from_owned_fd(pipe)?;
        let (lines, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(write_all(pipe, waiting)).abort_handle();
        Ok(Self { lines, task })
    }
}

impl Drop for Writer {
    /// What the worker left running may still hold its end, and never read.
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write_all(mut pipe: Sender, mut lines: mpsc::Receiver<Line>) {
    while let Some(Line { bytes, told }) = lines.recv().await {
        let mut writing = pin!(pipe.write_all(&bytes));
        if let Ok(done) = timeout(PATIENCE, &mut writing).await {
            let _ =
                told.send(done.map_err(|error| format!("write to its standard input: {error}")));
            continue;
        }
        let _ = told.send(Err("it does not read its standard input; the line waits".to_owned()));
        // A line is whole or not begun.
        let _ = writing.await;
    }
}
