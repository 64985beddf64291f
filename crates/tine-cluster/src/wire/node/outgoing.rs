//! The lines that the primary says, key by key in the order in which Node says them.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::value::RawValue;

/// Which question is answered, and what every answer to a `queryServer` says.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The question's.
    pub seq: u64,
    /// The worker's name for the listener from now on; it is looked up in `newconn` and said in
    /// `close`. Two live listeners of one worker with one key make Node abort.
    pub key: &'a str,
    /// The listener's [`data`](super::QueryServer::data).
    pub data: Option<&'a RawValue>,
}

/// What kind of socket accompanies a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum HandleKind {
    /// TCP or UNIX stream, listening or connected.
    #[serde(rename = "net.Native")]
    Stream,
    /// UDP.
    #[serde(rename = "dgram.Native")]
    Datagram,
}

#[derive(Serialize)]
struct Cluster<'a> {
    cmd: &'static str,
    #[serde(flatten)]
    body: Body<'a>,
    seq: u64,
}

/// What a `NODE_CLUSTER` message says.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Body<'a> {
    Reply {
        errno: Option<i32>,
        key: &'a str,
        ack: u64,
        data: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sockname: Option<SockName>,
    },
    NewConnection {
        act: &'static str,
        key: &'a str,
    },
    Disconnect {
        act: &'static str,
    },
    Acknowledge {
        ack: u64,
    },
}

impl<'a> Body<'a> {
    pub(super) fn reply(to: Answer<'a>, errno: Option<i32>, sockname: Option<SocketAddr>) -> Self {
        let sockname = sockname.map(SockName::from);
        Self::Reply { errno, key: to.key, ack: to.seq, data: to.data, sockname }
    }

    pub(super) const fn new_connection(key: &'a str) -> Self {
        Self::NewConnection { act: "newconn", key }
    }

    pub(super) const fn disconnect() -> Self {
        Self::Disconnect { act: "disconnect" }
    }
}

/// What `server.address()` will return in the worker.
#[derive(Serialize)]
pub(super) struct SockName {
    address: String,
    family: &'static str,
    port: u16,
}

impl From<SocketAddr> for SockName {
    fn from(address: SocketAddr) -> Self {
        let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
        Self { address: address.ip().to_string(), family, port: address.port() }
    }
}

/// A `NODE_CLUSTER` line.
pub(super) fn cluster(body: Body<'_>, seq: u64) -> Vec<u8> {
    line(&Cluster { cmd: "NODE_CLUSTER", body, seq })
}

/// A `NODE_CLUSTER` line that a socket accompanies.
pub(super) fn cluster_with_handle(body: Body<'_>, seq: u64, kind: HandleKind) -> Vec<u8> {
    #[derive(Serialize)]
    struct Handle<'a> {
        cmd: &'static str,
        r#type: HandleKind,
        msg: Cluster<'a>,
    }
    let msg = Cluster { cmd: "NODE_CLUSTER", body, seq };
    line(&Handle { cmd: "NODE_HANDLE", r#type: kind, msg })
}

/// What a socket that accompanies a message shall be in the worker's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserHandle {
    /// A connection, `net.Socket`.
    Socket,
    /// A listener, `net.Server`.
    Server,
    /// `dgram.Socket`.
    Datagram {
        /// `udp6`.
        v6: bool,
    },
}

/// What `process.on('message', (message, handle) => …)` gets.
pub(super) fn user_with_handle(message: &RawValue, kind: UserHandle) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Handle<'a> {
        cmd: &'static str,
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        dgram_type: Option<&'static str>,
        msg: &'a RawValue,
    }
    let (r#type, dgram_type) = match kind {
        UserHandle::Socket => ("net.Socket", None),
        UserHandle::Server => ("net.Server", None),
        UserHandle::Datagram { v6: false } => ("dgram.Socket", Some("udp4")),
        UserHandle::Datagram { v6: true } => ("dgram.Socket", Some("udp6")),
    };
    line(&Handle { cmd: "NODE_HANDLE", r#type, dgram_type, msg: message })
}

/// The answer to a line that had a handle to go with it.
pub(super) fn handle_answer(arrived: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct HandleAnswer {
        cmd: &'static str,
    }
    line(&HandleAnswer { cmd: if arrived { "NODE_HANDLE_ACK" } else { "NODE_HANDLE_NACK" } })
}

/// No socket of the worker's `net.Server` is held by this primary.
pub(super) fn socket_count(key: Option<&RawValue>) -> Vec<u8> {
    #[derive(Serialize)]
    struct SocketCount<'a> {
        cmd: &'static str,
        key: Option<&'a RawValue>,
        count: u32,
    }
    line(&SocketCount { cmd: "NODE_SOCKET_COUNT", key, count: 0 })
}

/// Likewise, to one that waits until they are closed.
pub(super) fn all_closed(key: Option<&RawValue>) -> Vec<u8> {
    #[derive(Serialize)]
    struct AllClosed<'a> {
        cmd: &'static str,
        key: Option<&'a RawValue>,
    }
    line(&AllClosed { cmd: "NODE_SOCKET_ALL_CLOSED", key })
}

/// One line of text. A newline inside would end it; JSON has none outside its strings but for
/// layout, and [`RawValue`] keeps layout.
pub(super) fn user(message: &RawValue) -> Vec<u8> {
    let mut text = message.get().replace(['\n', '\r'], " ").into_bytes();
    text.push(b'\n');
    text
}

fn line(message: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(message)
        .expect("strings, numbers and raw JSON under string keys always serialize");
    for byte in &mut text {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    text.push(b'\n');
    text
}
