//! Messages to workers.

use std::mem;

use rustix::io::Errno;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{
    Cluster,
    channel::{Dialect, Order},
    letters::{Form, Letter, Mailbox, Silence},
};
use crate::{descriptor::Descriptor, id::WorkerId, json::Json};

/// Why a message did not reach its worker.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// It has no form in JSON.
    #[error("write the message as JSON")]
    NotJson(#[from] serde_json::Error),
    /// It is longer than the worker reads.
    #[error("the message has {bytes} bytes, and the limit is {limit}")]
    TooLong {
        /// Bytes of JSON.
        bytes: usize,
        /// As many would have been possible.
        limit: usize,
    },
    /// There is no such worker, or its channel is closed.
    #[error("worker {0} is not connected")]
    NotConnected(WorkerId),
    /// The channel closed while the message waited. Some of it may have gone.
    #[error("worker {0} closed its channel")]
    Closed(WorkerId),
    /// The socket did not reach the worker, and was sent four times: it has no room for descriptors.
    #[error("the worker could not receive the socket")]
    NotReceived,
    /// A program of Node's cannot listen on a UNIX socket that it is sent: its `cluster` takes it for a
    /// number of a descriptor in the primary.
    #[error("a worker of Node's cannot take a UNIX listener")]
    NotForNode,
    /// The worker was sent the socket, and its confirmation cannot be heard: for five seconds it has
    /// waited behind messages that nobody took from [`Events`](super::Events).
    #[error("what worker {0} says is not heard: the owner of the cluster takes no events")]
    Unheard(WorkerId),
    /// The socket could not be made ready for the worker.
    #[error("prepare the socket")]
    Prepare(#[source] Errno),
}

/// Why there is no answer to a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request did not reach the worker.
    #[error("send the request")]
    Send(#[from] SendError),
    /// Node's messages have no answers. Send a number with the message, and wait for one that has it.
    #[error("worker {0} speaks Node's protocol, which has no answers")]
    NoAnswers(WorkerId),
    /// The worker dropped the request, or has gone.
    #[error("worker {0} does not answer")]
    Unanswered(WorkerId),
    /// An answer cannot be heard: for five seconds the worker's words have waited behind messages that
    /// nobody took from [`Events`](super::Events).
    #[error("what worker {0} says is not heard: the owner of the cluster takes no events")]
    Unheard(WorkerId),
}

/// A worker's wish for an answer, which comes with its message. Dropped, it tells the worker that there
/// will be none.
#[derive(Debug)]
#[must_use = "dropped, it tells the worker that there will be no answer"]
pub struct Reply {
    seq: u64,
    mailbox: Option<Mailbox>,
}

impl Cluster {
    /// Says something to a worker's program: `process.on('message')` in Node,
    /// [`Worker::messages`](crate::worker::Worker::messages) with this crate.
    ///
    /// Returns when the kernel has the last byte of it, so whoever awaits each message is held up by a
    /// worker that does not read. What waits for one worker is bounded: 64 messages, and what their
    /// senders hold.
    /// Messages of one task arrive in order. Dropping the future may or may not take the message back.
    ///
    /// # Errors
    ///
    /// When it does not reach the worker's channel. A worker that dies has not read all that reached it.
    pub async fn send(&self, to: WorkerId, message: &impl Serialize) -> Result<(), SendError> {
        let (mailbox, message) = (self.mailbox(to)?, Json::of(message)?);
        mailbox.send(message, Form::Plain).await
    }

    /// Likewise, and gives the worker a socket: a `net.Socket`, `net.Server` or `dgram.Socket` for
    /// Node. This process keeps none; `try_clone` it before if it should.
    ///
    /// Returns when the kernel has it; with Node when the worker has confirmed that it arrived, and no
    /// other socket is sent before. Node's confirmation comes behind all that the worker has said
    /// before, as an answer to [`Self::request`] does, and the wait for it has the same end.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`]; [`SendError::NotForNode`]; [`SendError::Unheard`]; [`SendError::NotReceived`] by a worker of Node's that has run out of
    /// descriptors.
    pub async fn send_with(
        &self,
        to: WorkerId,
        message: &impl Serialize,
        socket: impl Into<Descriptor>,
    ) -> Result<(), SendError> {
        let (mailbox, message) = (self.mailbox(to)?, Json::of(message)?);
        let socket = socket.into();
        if mailbox.dialect == Dialect::Node && matches!(socket, Descriptor::UnixListener(_)) {
            return Err(SendError::NotForNode);
        }
        // Node does not set it, and a socket that blocks stops all that the worker does.
        rustix::io::ioctl_fionbio(&socket, true).map_err(SendError::Prepare)?;
        mailbox.send(message, Form::With(socket)).await
    }

    /// Asks a worker's program for something, and waits for its answer: for as long as the worker
    /// lives. Put a timeout around it; a late answer is dropped then.
    ///
    /// The answer comes behind all that the worker has said before, which waits to be taken from
    /// [`Events`](super::Events): 1 MiB or 1024 messages of one worker may. If more wait, and nobody
    /// takes any of them for five seconds, the wait ends with [`RequestError::Unheard`]. So whoever takes
    /// the events had better ask from another task, but is not held up for ever.
    ///
    /// # Errors
    ///
    /// When the request does not reach the worker, or it will not answer. Node's protocol has no
    /// answers.
    pub async fn request(
        &self,
        to: WorkerId,
        message: &impl Serialize,
    ) -> Result<Json, RequestError> {
        let mailbox = self.mailbox(to)?;
        if mailbox.dialect == Dialect::Node {
            return Err(RequestError::NoAnswers(to));
        }
        let (answer, answered) = oneshot::channel();
        let message = Json::of(message).map_err(SendError::NotJson)?;
        mailbox.send(message, Form::Request(answer)).await?;
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Silence::Unheard)) => Err(RequestError::Unheard(to)),
            Ok(Err(Silence::Dropped)) | Err(_) => Err(RequestError::Unanswered(to)),
        }
    }

    fn mailbox(&self, worker: WorkerId) -> Result<Mailbox, SendError> {
        let mailbox = self.mailboxes.borrow().get(&worker).cloned();
        mailbox.ok_or(SendError::NotConnected(worker))
    }
}

impl Mailbox {
    async fn send(&self, message: Json, form: Form) -> Result<(), SendError> {
        let (bytes, limit) = (message.get().len(), self.longest());
        if bytes > limit {
            return Err(SendError::TooLong { bytes, limit });
        }
        let (outcome, told) = oneshot::channel();
        let letter = Box::new(Letter { message, form, outcome });
        self.post.send(letter).await.map_err(|_| SendError::NotConnected(self.worker))?;
        told.await.map_err(|_| SendError::Closed(self.worker))?
    }
}

impl Reply {
    pub(super) const fn new(seq: u64, mailbox: Mailbox) -> Self {
        Self { seq, mailbox: Some(mailbox) }
    }

    /// Answers; returns when the kernel has it.
    ///
    /// # Errors
    ///
    /// As with [`Cluster::send`].
    pub async fn send(mut self, message: &impl Serialize) -> Result<(), SendError> {
        let message = Json::of(message)?;
        let Some(mailbox) = mem::take(&mut self.mailbox) else { return Ok(()) };
        mailbox.send(message, Form::Answer(self.seq)).await
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(orders) = self.mailbox.take().and_then(|mailbox| mailbox.orders.upgrade()) {
            // A worker that is not there waits for nothing.
            let _ = orders.send(Box::new(Order::NoAnswer(self.seq)));
        }
    }
}
