//! Messages between this program and the one that runs the cluster.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Weak},
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;

use super::{
    Worker,
    channel::{Client, Shared},
    inbox::Look,
};
use crate::{
    descriptor::Descriptor,
    json::Json,
    wire::native::{self, LONGEST_MESSAGE},
};

/// Why a message did not reach the primary.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// It has no form in JSON.
    #[error("write the message as JSON")]
    NotJson(#[from] serde_json::Error),
    /// It is longer than [`LONGEST_MESSAGE`](native::LONGEST_MESSAGE).
    #[error("the message has {bytes} bytes, and the limit is {}", LONGEST_MESSAGE)]
    TooLong {
        /// Bytes of JSON.
        bytes: usize,
    },
    /// This process is no worker: see [`Worker::is_in_cluster`].
    #[error("there is no primary")]
    Alone,
    /// The channel is closed.
    #[error("speak to the primary")]
    Closed(#[source] io::Error),
}

/// Why there is no answer to a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request did not reach the primary.
    #[error("send the request")]
    Send(#[from] SendError),
    /// The primary has dropped the request, or has gone.
    #[error("the primary does not answer")]
    Unanswered,
    /// No answer came in this time; one that comes later is dropped.
    #[error("no answer came within {0:?}")]
    Late(Duration),
}

/// What the primary's program says.
#[derive(Debug)]
pub struct Message {
    /// What.
    pub message: Json,
    /// The socket that came with it. Streams and listeners may or may not block: set what is needed.
    pub descriptor: Option<Descriptor>,
    /// If it wants an answer.
    pub reply: Option<Reply>,
}

/// The primary's wish for an answer. Dropped, it tells the primary that there will be none.
#[derive(Debug)]
#[must_use = "dropped, it tells the primary that there will be no answer"]
pub struct Reply {
    seq: u64,
    shared: Weak<Shared>,
}

/// The messages of the primary, in their order. They wait in this process's memory until somebody
/// takes them, as in Node; if several do, each message is taken once.
///
/// As an iterator it sleeps until there is one, and ends when the primary has gone.
#[derive(Clone, Debug)]
pub struct Messages {
    client: Option<Arc<Client>>,
}

impl Worker {
    /// Says something to the primary's program: Node's `process.send()`.
    ///
    /// Sleeps until the kernel has the last byte of it, so a program that says more than is listened to
    /// is held up. Other threads are not, neither are listeners.
    ///
    /// # Errors
    ///
    /// When it cannot reach the primary.
    pub fn send(&self, message: &impl Serialize) -> Result<(), SendError> {
        self.post(None, Json::of(message)?, None)
    }

    /// Likewise, and gives the primary a socket. This process keeps none; `try_clone` it before if it
    /// should.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`].
    pub fn send_with(
        &self,
        message: &impl Serialize,
        socket: impl Into<Descriptor>,
    ) -> Result<(), SendError> {
        self.post(None, Json::of(message)?, Some(socket.into()))
    }

    /// Asks the primary's program for something, and sleeps until it has answered.
    ///
    /// # Errors
    ///
    /// When it does not answer in time, or never will.
    pub fn request(
        &self,
        message: &impl Serialize,
        patience: Duration,
    ) -> Result<Json, RequestError> {
        let message = Json::of(message).map_err(SendError::NotJson)?;
        let client = self.client.as_ref().ok_or(SendError::Alone)?;
        let (seq, answered) = client.shared().expect_answer();
        let sent = self.post(Some(seq), message, None);
        if let Err(error) = sent {
            client.shared().forget_answer(seq);
            return Err(error.into());
        }
        match answered.recv_timeout(patience) {
            Ok(answer) => answer.ok_or(RequestError::Unanswered),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                client.shared().forget_answer(seq);
                Err(RequestError::Late(patience))
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err(RequestError::Unanswered),
        }
    }

    /// The messages of the primary: Node's `process.on('message')`. Without a primary there are none.
    #[must_use]
    pub fn messages(&self) -> Messages {
        Messages { client: self.client.clone() }
    }

    fn post(
        &self,
        seq: Option<u64>,
        message: Json,
        socket: Option<Descriptor>,
    ) -> Result<(), SendError> {
        let client = self.client.as_ref().ok_or(SendError::Alone)?;
        let fds = u32::from(socket.is_some());
        let line = native::Message { seq, fds, message: fitting(message)? };
        client.shared().send(&line.into(), socket.map(OwnedFd::from)).map_err(SendError::Closed)
    }
}

fn fitting(message: Json) -> Result<Json, SendError> {
    let bytes = message.get().len();
    if bytes > LONGEST_MESSAGE { Err(SendError::TooLong { bytes }) } else { Ok(message) }
}

impl Messages {
    /// Sleeps until there is a message; `None` when the primary has gone and all are taken.
    #[must_use]
    pub fn recv(&self) -> Option<Message> {
        self.client.as_ref()?.shared().messages.take()
    }

    /// A message that is there; `None` if there is none at the moment.
    #[must_use]
    pub fn try_recv(&self) -> Option<Message> {
        match self.look() {
            Look::Item(message) => Some(message),
            Look::Empty | Look::Ended => None,
        }
    }

    pub(super) fn look(&self) -> Look<Message> {
        self.client.as_ref().map_or(Look::Ended, |client| client.shared().messages.look())
    }

    /// Something to wait for in a loop of one's own: readable as long as there is a message, or none
    /// will come any more. `None` without a primary.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn descriptor(&self) -> io::Result<Option<Readable>> {
        let Some(client) = &self.client else { return Ok(None) };
        Ok(Some(Readable(client.shared().messages.signal()?)))
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv()
    }
}

/// A descriptor to wait for, and nothing else: only [`Messages`] reads from it.
#[derive(Clone, Debug)]
pub struct Readable(Arc<OwnedFd>);

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Reply {
    pub(super) const fn new(seq: u64, shared: Weak<Shared>) -> Self {
        Self { seq, shared }
    }

    /// Answers. Sleeps as [`Worker::send`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Worker::send`].
    pub fn send(mut self, message: &impl Serialize) -> Result<(), SendError> {
        let message = fitting(Json::of(message)?)?;
        let gone = || SendError::Closed(io::ErrorKind::BrokenPipe.into());
        let shared = std::mem::take(&mut self.shared).upgrade().ok_or_else(gone)?;
        let line = native::Reply { seq: self.seq, message: Some(message) };
        shared.send(&line.into(), None).map_err(SendError::Closed)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            // A primary that has gone waits for nothing.
            let _ = shared.say(&native::Reply { seq: self.seq, message: None }.into());
        }
    }
}
