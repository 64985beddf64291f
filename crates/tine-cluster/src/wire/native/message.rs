//! The messages and their lines.

use std::{
    borrow::Cow,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::LIMITS;
use crate::{
    json::Json,
    wire::lines::{QueueFull, Receiver, Unreadable, excerpt},
};

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToPrimary {
    /// The first line.
    Hello {
        /// [`VERSION`](super::VERSION).
        version: u32,
        /// The process that speaks. To be shown, not to be signalled.
        pid: u32,
    },
    /// It wants to listen.
    Listen(Listen),
    /// Its word on a connection.
    Took {
        /// As in [`ToWorker::Connection`].
        connection: u64,
        /// Its program has taken it. Otherwise it is to be given to another worker.
        accepted: bool,
    },
    /// It has closed a listener.
    Close {
        /// As in the answer to its `listen`.
        key: String,
    },
    /// It is ready to serve.
    Ready,
    /// Something for the program on the other side.
    #[serde(skip_deserializing)]
    Message(Message),
    /// The answer to a message that asked for one.
    #[serde(skip_deserializing)]
    Reply(Reply),
    /// It leaves by its own wish, and is to be given nothing new.
    Leaving,
    /// A type that this version does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A question for a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The worker's own number for this question.
    pub seq: u64,
    /// Where to listen.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// How many connections may wait; the primary's choice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// Tells several questions with port 0 by one worker apart: 0, 1, 2 … in their order. The same
    /// number gets the same port in all workers.
    #[serde(default)]
    pub index: u32,
    /// The socket is to be this worker's alone: who asks for the address next gets an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
}

/// What is to be bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "socket", rename_all = "lowercase")]
pub enum Wanted {
    /// A TCP listener.
    Tcp {
        /// Where; a port of 0 is any, the same in all workers.
        address: SocketAddr,
        /// `IPV6_V6ONLY`.
        #[serde(default)]
        v6only: bool,
    },
    /// A datagram socket, never handed over.
    Udp {
        /// Where.
        address: SocketAddr,
        /// `IPV6_V6ONLY`.
        #[serde(default)]
        v6only: bool,
    },
    /// A UNIX stream socket.
    Unix {
        /// Absolute.
        path: PathBuf,
    },
}

impl Wanted {
    /// Whether it is for the kernel to choose the port.
    #[must_use]
    pub const fn is_any_port(&self) -> bool {
        match self {
            Self::Tcp { address, .. } | Self::Udp { address, .. } => address.port() == 0,
            Self::Unix { .. } => false,
        }
    }

    /// Whether a primary can bind it at all: a path must be absolute and free of NULs.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Tcp { .. } | Self::Udp { .. } => true,
            Self::Unix { path } => is_plain_path(path),
        }
    }
}

fn is_plain_path(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// What a primary says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToWorker {
    /// The listening socket asked for (bound, for UDP), in this line's descriptor.
    Seat(Seat),
    /// It listens by the primary's hand: each connection will be passed.
    HandedOver {
        /// The question's.
        seq: u64,
        /// Under which connections will come.
        key: String,
        /// What is bound; absent for a path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddr>,
    },
    /// It cannot listen there.
    Error {
        /// The question's.
        seq: u64,
        /// As `bind(2)` would have set it: positive.
        errno: i32,
    },
    /// A connection, in this line's descriptor.
    Connection {
        /// Whose it is.
        key: String,
        /// To be said in [`ToPrimary::Took`].
        connection: u64,
        /// Always 1.
        fds: u32,
    },
    /// Stop accepting, finish, exit.
    Stop,
    /// Something for the program on the other side.
    #[serde(skip_deserializing)]
    Message(Message),
    /// The answer to a message that asked for one.
    #[serde(skip_deserializing)]
    Reply(Reply),
    /// A type that this version does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A socket for a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The question's.
    pub seq: u64,
    /// To be said in [`ToPrimary::Close`].
    pub key: String,
    /// Always 1.
    pub fds: u32,
}

/// Something that one program says to the other; its socket, if it has one, is in this line's
/// descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's own number, if it wants a [`Reply`]: exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// 1 if a descriptor accompanies it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fds: u32,
    /// What is said.
    pub message: Json,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The answer to a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The message's.
    pub seq: u64,
    /// What is answered; absent if there will never be an answer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub message: Option<Json>,
}

/// `null` is an answer, too.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

impl From<Message> for ToPrimary {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl From<Reply> for ToPrimary {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Message> for ToWorker {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl From<Reply> for ToWorker {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Why the other side cannot be talked to any longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Not JSON, or not the JSON that it should be.
    #[error("the other side said {excerpt:?}")]
    Malformed {
        /// The beginning of the line.
        excerpt: String,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// Lines without end, or descriptors without lines.
    #[error("the other side sends more than there is room for")]
    Endless(#[from] Unreadable),
    /// What the other side must be told does not fit any more.
    #[error("the other side does not read")]
    DoesNotRead(#[from] QueueFull),
    /// The worker's first line was no `hello`.
    #[error("the worker did not begin with hello")]
    NoHello,
    /// The worker speaks another version.
    #[error("the worker speaks version {theirs} of the protocol, and this side speaks {ours}", ours = super::VERSION)]
    Version {
        /// As it said.
        theirs: u32,
    },
}

/// What is wrong with a line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No JSON, or fields of a wrong kind.
    #[error("not the JSON expected")]
    Json(#[from] serde_json::Error),
}

/// What every line has: its type, and how many descriptors came with it.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    fds: usize,
}

/// The next message that has arrived whole, with its descriptor: none if the line has none, or if
/// the kernel could not install it.
///
/// # Errors
///
/// When the line is too long or no message. The stream should not be read on.
pub fn decode<M: DeserializeOwned + From<Message> + From<Reply>>(
    receiver: &mut Receiver,
) -> Result<Option<(M, Option<OwnedFd>)>, ProtocolError> {
    let Some(line) = receiver.next_line()? else { return Ok(None) };
    let (fds, message) = parse(&line).map_err(|error| ProtocolError::Malformed {
        excerpt: excerpt(&line),
        source: error.into(),
    })?;
    let mut claimed = None;
    // Those of a type that nobody knows must go too, or the next line would get them.
    for _ in 0..fds.min(LIMITS.descriptors) {
        let fd = receiver.claim();
        claimed = claimed.or(fd);
    }
    Ok(Some((message, claimed)))
}

fn parse<M: DeserializeOwned + From<Message> + From<Reply>>(
    line: &[u8],
) -> serde_json::Result<(usize, M)> {
    let head: Head<'_> = serde_json::from_slice(line)?;
    let message = match &*head.r#type {
        // What is passed on unread cannot be got by way of a tag, which serde reads all to find.
        "message" => serde_json::from_slice::<Message>(line)?.into(),
        "reply" => serde_json::from_slice::<Reply>(line)?.into(),
        _ => serde_json::from_slice(line)?,
    };
    Ok((head.fds, message))
}

/// The line of a message, newline and all.
///
/// # Panics
///
/// When a path is not UTF-8, which JSON cannot carry (the sender looks first), and for `Unknown`.
#[must_use]
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut text =
        serde_json::to_vec(message).expect("numbers and UTF-8 under string keys always serialize");
    text.push(b'\n');
    text
}
