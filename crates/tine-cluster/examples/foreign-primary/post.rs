//! Messages on their way to one worker, in order.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tine_cluster::{id::WorkerId, json::Json, primary::Cluster};
use tokio::sync::mpsc;

use crate::event::{Line, More};

/// What may wait for a worker that does not read, in bytes, before more is refused.
const LIMIT: usize = 64 << 20;

/// The way to one worker. Its task ends when this is dropped and all is sent.
#[derive(Debug)]
pub(crate) struct Post {
    worker: WorkerId,
    // Bounded by `LIMIT`.
    letters: mpsc::UnboundedSender<Letter>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Letter {
    id: Option<Json>,
    message: Json,
}

impl Post {
    pub(crate) fn open(worker: WorkerId, cluster: Cluster) -> Self {
        let (letters, mut received) = mpsc::unbounded_channel::<Letter>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(Letter { id, message }) = received.recv().await {
                let sent = cluster.send(worker, &message).await;
                counter.fetch_sub(message.get().len(), Ordering::Relaxed);
                // Nobody reads any more: the input will end, too.
                let _ = answer(id, sent.map_err(|error| error.to_string()));
            }
        });
        Self { worker, letters, waiting }
    }

    /// Puts a message in; an error when too much waits.
    pub(crate) fn put(&self, id: Option<Json>, message: Json) -> io::Result<()> {
        let waiting = self.waiting.fetch_add(message.get().len(), Ordering::Relaxed);
        if waiting > LIMIT {
            self.waiting.fetch_sub(message.get().len(), Ordering::Relaxed);
            let worker = self.worker;
            return answer(id, Err(format!("worker {worker} does not read: {waiting} bytes wait")));
        }
        // Its task lives as long as this.
        let _ = self.letters.send(Letter { id, message });
        Ok(())
    }
}

/// Tells that something was done, or was not, if that is wanted.
pub(crate) fn answer(id: Option<Json>, result: Result<(), String>) -> io::Result<()> {
    answer_with(id, result.map(|()| More::default()))
}

/// Likewise, with more to say.
pub(crate) fn answer_with(id: Option<Json>, result: Result<More, String>) -> io::Result<()> {
    let Some(id) = id else { return Ok(()) };
    let (more, error) = match result {
        Ok(more) => (more, None),
        Err(error) => (More::default(), Some(error)),
    };
    Line::Done { id, error, more }.say()
}
