//! What a manager and its front ends say to each other, and what `--json` prints.
//!
//! One JSON value a line. The manager greets with a [`Hello`]; then each [`Request`] is answered by
//! one [`Response`], in order. Fields may be added within a version; a reader ignores those that it
//! does not know.

pub mod apps;
pub mod doctor;
pub mod told;

use serde::{Deserialize, Serialize};
use tine_cluster::policy::{Acquisition, Mechanism, Policy};

/// The version of everything in this module.
pub const VERSION: u32 = 1;

/// The first line of a manager, before any request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always `tine`.
    pub hello: String,
    /// [`VERSION`] of the manager; a client of another version stops here.
    pub version: u32,
    /// Whom the client has met.
    pub manager_pid: u32,
}

/// What a front end may ask: `{"request":"ports"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The listeners with their seats; answered by [`Response::Ports`].
    Ports,
}

/// A manager's answer: `{"response":"ports","body":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", content = "body", rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Ports`].
    Ports(PortsReport),
    /// The request was refused; the sentence says why.
    Error(String),
}

/// One manager's listeners at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsReport {
    /// The process that answers.
    pub manager_pid: u32,
    /// The name of its app.
    pub app: String,
    /// In the order in which the app first listened.
    pub listeners: Vec<ListenerReport>,
}

/// An address that an app's workers listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    /// `0.0.0.0:8003`, `[::]:80` or `unix:/path`.
    pub address: String,
    /// Which sort of socket.
    pub kind: Kind,
    /// Who gets the next connection; what is really done, not what was asked for.
    pub policy: Policy,
    /// How the policy is carried out.
    pub mechanism: Mechanism,
    /// The policy asked for is not to be had here.
    pub degraded: bool,
    /// How the workers come to their seats.
    pub acquisition: Acquisition,
    /// By instance.
    pub seats: Vec<SeatReport>,
}

/// The sort of socket behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Connections over IP.
    Tcp,
    /// Datagrams over IP.
    Udp,
    /// Connections over a path of this host.
    Unix,
}

impl Kind {
    /// The word in JSON and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        }
    }
}

/// One listening socket of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatReport {
    /// The worker's id within its cluster; `null` when the seat waits for one.
    pub worker: Option<u32>,
    /// The place in the app.
    pub instance: u32,
    /// The worker's process; `null` when the seat waits for one.
    pub pid: Option<i32>,
    /// Connections given to this seat since it was made; `null` where the mechanism does not count.
    pub connections: Option<u64>,
    /// Connections that wait to be accepted now; `null` where the kernel does not tell.
    pub queue: Option<u32>,
    /// Whether it gets connections.
    pub state: SeatState,
}

/// Whether a seat gets new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeatState {
    /// It does.
    InRotation,
    /// Not yet: its worker has bound it and is not ready.
    Joining,
    /// Not any more: its worker finishes what it has.
    Draining,
    /// It has no worker; connections in its queue wait for the next one.
    Waiting,
}

impl SeatState {
    /// The word in JSON and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InRotation => "in-rotation",
            Self::Joining => "joining",
            Self::Draining => "draining",
            Self::Waiting => "waiting",
        }
    }
}

/// What `tine ports --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsView {
    /// [`VERSION`].
    pub version: u32,
    /// This user's managers, by pid.
    pub managers: Vec<PortsReport>,
    /// This user's managers that did not answer as they should.
    pub unreachable: Vec<UnreachableManager>,
    /// Sockets that belong to none of `managers`.
    pub foreign: Vec<ForeignListener>,
}

/// A manager that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachableManager {
    /// From the name of its socket.
    pub manager_pid: u32,
    /// Its control socket.
    pub socket: String,
    /// What was tried and what came of it.
    pub reason: String,
}

/// A listening socket that no manager of this user knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignListener {
    /// As in [`ListenerReport::address`]; an abstract UNIX name begins with `unix:@`.
    pub address: String,
    /// Which sort of socket.
    pub kind: Kind,
    /// Who made it; `null` for UNIX sockets.
    pub uid: Option<u32>,
    /// TCP and UNIX: connections that wait to be accepted. UDP: bytes that wait to be read.
    pub queue: u32,
    /// The processes that hold it; empty when this user may not see them.
    pub processes: Vec<ForeignProcess>,
}

/// A process that holds a foreign socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignProcess {
    /// To print, not to act on.
    pub pid: i32,
    /// The program's name, such as `nginx`.
    pub name: String,
}
