//! The lines that a worker says.

use std::str::Utf8Error;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use super::QueryServer;
use crate::wire::lines::{QueueFull, Unreadable, excerpt};

/// Bun puts it before internal messages.
pub(super) const MARK: u8 = 0x02;

/// Why a worker cannot be talked to any longer. It is to be ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Not JSON, or not the JSON that it should be.
    #[error("the worker said {excerpt:?}")]
    Malformed {
        /// The beginning of the line.
        excerpt: String,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// Lines without end, or descriptors without lines.
    #[error("the worker sends more than there is room for")]
    Endless(#[from] Unreadable),
    /// What the worker must be told does not fit any more.
    #[error("the worker does not read")]
    DoesNotRead(#[from] QueueFull),
}

/// What is wrong with a line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Bytes that are no text.
    #[error("not UTF-8")]
    Text(#[from] Utf8Error),
    /// Text that is no JSON, or an internal message with wrong fields.
    #[error("not the JSON expected")]
    Json(#[from] serde_json::Error),
    /// An internal message that lacks what it must say.
    #[error("without `{0}`")]
    Lacks(&'static str),
}

/// One line, understood.
#[derive(Debug)]
pub(super) enum Incoming {
    Cluster(Box<Cluster>),
    Handle {
        kind: String,
        message: Box<RawValue>,
    },
    HandleArrived,
    HandleMissing,
    SocketCount {
        key: Option<Box<RawValue>>,
    },
    SocketClose {
        key: Option<Box<RawValue>>,
    },
    User(Box<RawValue>),
    /// Internal, and none of those that have a meaning for a primary.
    Unknown,
}

/// A `NODE_CLUSTER` message.
#[derive(Debug)]
pub(super) enum Cluster {
    Online,
    QueryServer { seq: u64, query: QueryServer },
    Listening(QueryServer),
    Close { key: String },
    ExitedAfterDisconnect { seq: u64 },
    Reply { ack: u64, accepted: bool },
    Unknown,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    cmd: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Handle {
    #[serde(default, rename = "type")]
    kind: Value,
    msg: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Socket {
    #[serde(default)]
    key: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Envelope {
    #[serde(deserialize_with = "word")]
    act: Option<String>,
    #[serde(deserialize_with = "number")]
    ack: Option<u64>,
    #[serde(deserialize_with = "number")]
    seq: Option<u64>,
    #[serde(deserialize_with = "word")]
    key: Option<String>,
    accepted: Value,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Value::deserialize(from)?.as_u64())
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(from)?.as_str().map(str::to_owned))
}

/// Understands a line.
pub(super) fn parse(line: &[u8]) -> Result<Incoming, ProtocolError> {
    let line = line.strip_prefix(&[MARK]).unwrap_or(line);
    let understood = std::str::from_utf8(line)
        .map_err(Malformed::from)
        .and_then(|text| message(serde_json::from_str(text)?));
    understood.map_err(|source| ProtocolError::Malformed { excerpt: excerpt(line), source })
}

/// Understands one message, be it a line or the `msg` of one with a handle.
pub(super) fn message(json: Box<RawValue>) -> Result<Incoming, Malformed> {
    let Some(cmd) = internal_command(json.get())? else { return Ok(Incoming::User(json)) };
    let text = json.get();
    Ok(match cmd.as_str() {
        "NODE_CLUSTER" => Incoming::Cluster(Box::new(cluster(text)?)),
        "NODE_HANDLE" => handle(text)?,
        "NODE_HANDLE_ACK" => Incoming::HandleArrived,
        "NODE_HANDLE_NACK" => Incoming::HandleMissing,
        "NODE_SOCKET_GET_COUNT" => {
            Incoming::SocketCount { key: serde_json::from_str::<Socket>(text)?.key }
        }
        "NODE_SOCKET_NOTIFY_CLOSE" => {
            Incoming::SocketClose { key: serde_json::from_str::<Socket>(text)?.key }
        }
        _ => Incoming::Unknown,
    })
}

/// The `cmd` of an internal message: an object whose `cmd` is a string that starts with `NODE_` and
/// goes on.
fn internal_command(text: &str) -> Result<Option<String>, Malformed> {
    if !text.starts_with('{') {
        return Ok(None);
    }
    let Some(cmd) = serde_json::from_str::<Head<'_>>(text)?.cmd else { return Ok(None) };
    if !cmd.get().starts_with('"') {
        return Ok(None);
    }
    let cmd: String = serde_json::from_str(cmd.get())?;
    Ok(cmd.strip_prefix("NODE_").is_some_and(|rest| !rest.is_empty()).then_some(cmd))
}

fn handle(text: &str) -> Result<Incoming, Malformed> {
    let Handle { kind, msg } = serde_json::from_str(text)?;
    let message = msg.ok_or(Malformed::Lacks("msg"))?;
    Ok(Incoming::Handle { kind: kind.as_str().unwrap_or_default().to_owned(), message })
}

fn cluster(text: &str) -> Result<Cluster, Malformed> {
    let said: Envelope = serde_json::from_str(text)?;
    let seq = || said.seq.ok_or(Malformed::Lacks("seq"));
    Ok(match (said.act.as_deref(), said.ack) {
        (Some("online"), _) => Cluster::Online,
        (Some("queryServer"), _) => {
            Cluster::QueryServer { seq: seq()?, query: serde_json::from_str(text)? }
        }
        (Some("listening"), _) => Cluster::Listening(serde_json::from_str(text)?),
        (Some("close"), _) => Cluster::Close { key: said.key.ok_or(Malformed::Lacks("key"))? },
        (Some("exitedAfterDisconnect"), _) => Cluster::ExitedAfterDisconnect { seq: seq()? },
        (None, Some(ack)) => Cluster::Reply { ack, accepted: said.accepted == Value::Bool(true) },
        (_, _) => Cluster::Unknown,
    })
}
