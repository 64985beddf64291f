//! Writes what is said in a thread of its own, so that a reader who sleeps (`tine run | less`) holds
//! up the workers' output and nothing else.
//!
//! ```text
//!   Narrator ──Text──▶ thread ──▶ standard output and error
//!   Terminal ◀─Progress─┘
//! ```

use std::{
    io::Write,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tine_cluster::primary::Stream;
use tokio::{sync::watch, time::timeout_at};

/// Texts that may wait; with more, the workers' lines wait where they come from.
const MOST: u64 = 256;
/// At the end: a reader who takes nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to standard output and standard error.
#[derive(Debug)]
pub(super) struct Terminal {
    // Bounded by `room`, which is asked before each event is taken.
    texts: mpsc::Sender<Text>,
    progress: watch::Receiver<Progress>,
    said: u64,
    /// When something was said while nothing waited.
    since: Instant,
    abandoned: bool,
}

/// Something to be written at once.
#[derive(Debug)]
struct Text {
    to: Stream,
    bytes: Vec<u8>,
}

/// How far the thread is.
#[derive(Clone, Copy, Debug)]
struct Progress {
    written: u64,
    at: Instant,
}

impl Terminal {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When there can be no more threads.
    pub(super) fn open() -> anyhow::Result<Self> {
        let (texts, inbox) = mpsc::channel();
        let since = Instant::now();
        let (tell, progress) = watch::channel(Progress { written: 0, at: since });
        let thread = std::thread::Builder::new().name("terminal".to_owned());
        thread.spawn(move || write(&inbox, &tell)).context("start a thread that writes")?;
        Ok(Self { texts, progress, said: 0, since, abandoned: false })
    }

    /// Never waits.
    pub(super) fn say(&mut self, to: Stream, bytes: Vec<u8>) {
        if self.abandoned {
            return;
        }
        if self.waiting() == 0 {
            self.since = Instant::now();
        }
        self.said += 1;
        // The thread ends after this side does.
        let _ = self.texts.send(Text { to, bytes });
    }

    fn waiting(&self) -> u64 {
        self.said - self.progress.borrow().written
    }

    /// Waits until there is room for more; at the end, not for ever. Cancel safe.
    pub(super) async fn room(&mut self, ending: bool) {
        self.wait_for(MOST, ending).await;
    }

    /// Waits until everything is written, or the reader is given up.
    pub(super) async fn flush(&mut self) {
        self.wait_for(1, true).await;
    }

    /// Until fewer than `most` texts wait.
    async fn wait_for(&mut self, most: u64, ending: bool) {
        while !self.abandoned && self.waiting() >= most {
            let moved = self.progress.borrow_and_update().at.max(self.since);
            let deadline = ending.then(|| (moved + PATIENCE).into());
            let changed = self.progress.changed();
            self.abandoned = match deadline {
                Some(deadline) => !matches!(timeout_at(deadline, changed).await, Ok(Ok(()))),
                None => changed.await.is_err(),
            };
        }
    }
}

fn write(inbox: &mpsc::Receiver<Text>, tell: &watch::Sender<Progress>) {
    for Text { to, bytes } in inbox {
        // A reader that has gone must not end the app.
        let _ = match to {
            Stream::Out => std::io::stdout().lock().write_all(&bytes),
            Stream::Err => std::io::stderr().lock().write_all(&bytes),
        };
        tell.send_modify(|progress| {
            *progress = Progress { written: progress.written + 1, at: Instant::now() };
        });
    }
}
