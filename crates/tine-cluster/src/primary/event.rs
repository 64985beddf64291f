//! What a cluster tells its owner.

use std::{fs, io, net::IpAddr, os::fd::OwnedFd, path::Path, time::Duration};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tine_linux::{cgroup::Controller, process::Exit, spawn::SpawnError};

use super::messages::Reply;
use crate::{
    address::{Endpoint, ListenKey, Transport},
    descriptor::Descriptor,
    id::{Instance, WorkerId},
    json::Json,
    policy::{Acquisition, Choice, NotToBeHad},
};

/// From which of its two streams a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The read ends of the pipes that a worker writes to, for the owner to read: blocking, and at their
/// end when nobody is left who could write. While nobody reads them the worker waits, as with any full
/// pipe; once they are closed it gets `EPIPE`.
#[derive(Debug)]
pub struct Output {
    /// Of standard output.
    pub out: OwnedFd,
    /// Of standard error.
    pub err: OwnedFd,
    /// The write end of standard input, where [`Stdio::Pipes`](super::Stdio::Pipes) asks for it: blocking,
    /// and the program reads its end when this is closed.
    pub input: Option<OwnedFd>,
}

/// Something that happened to one worker.
#[derive(Debug)]
pub struct Event {
    /// Which worker; 0 if it concerns none.
    pub worker: WorkerId,
    /// Which instance it fills; `None` if it was forked, and for what concerns no worker.
    pub instance: Option<Instance>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum What {
    /// It runs. Node's `fork`.
    Started {
        /// Its first process.
        pid: Pid,
        /// What it writes, with [`Stdio::Pipes`](super::Stdio::Pipes).
        output: Option<Output>,
    },
    /// It was started by a process before this one, and is a worker of this one now
    /// ([`Cluster::adopt`](super::Cluster::adopt)). Told first; on what it listens follows.
    Adopted {
        /// Its first process.
        pid: Pid,
        /// For how long it has run.
        lived: Duration,
        /// It can serve.
        ready: bool,
        /// It fills its instance. One that does not is on its way out: replaced already, or on trial.
        in_place: bool,
        /// What it writes, with [`Stdio::Pipes`](super::Stdio::Pipes).
        output: Option<Output>,
    },
    /// It runs without one of its [`cgroup_limits`](super::Program::cgroup_limits).
    Unlimited {
        /// Which.
        controller: Controller,
        /// Why.
        error: io::Error,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        error: SpawnError,
    },
    /// It speaks over its channel: Node runs, or the program has made itself a
    /// [`Worker`](crate::worker::Worker). Node's `online`. A program that does neither is never online.
    Online,
    /// It listens, and its seat is in rotation. Node's `listening`.
    Listening {
        /// Where.
        key: ListenKey,
        /// The address as the worker asked for it.
        address: ListeningAddress,
        /// The policy and the mechanism there.
        choice: Choice,
        /// How it came to its seat.
        acquisition: Acquisition,
    },
    /// It can serve: it listens, if workers of this cluster ever do; or has said so, where
    /// [`wait_ready`](super::Settings::wait_ready) demands it; or has done neither and has lived for
    /// [`min_uptime`](crate::core::backoff::Limits::min_uptime). Told once.
    Ready,
    /// It was to say that it is ready and did not in time
    /// ([`ready_timeout`](super::Settings::ready_timeout)): it is stopped, and that counts as a start
    /// that failed.
    NotReady {
        /// For how long it had run.
        after: Duration,
    },
    /// It could not have the address that it asked for.
    Refused {
        /// Which.
        key: ListenKey,
        /// What it was told.
        errno: rustix::io::Errno,
    },
    /// It cannot work under the mechanism that was asked for.
    Unfit {
        /// Why.
        reason: NotToBeHad,
    },
    /// It wrote a line.
    Output {
        /// Where.
        stream: Stream,
        /// What, without the line's end.
        line: Vec<u8>,
    },
    /// Its program says something. Node's `message`. Comes before everything that the worker does
    /// later, its end included.
    Message {
        /// What.
        message: Json,
        /// The socket that came with it.
        descriptor: Option<Descriptor>,
        /// If it wants an answer; for workers of our own protocol.
        reply: Option<Reply>,
    },
    /// Its channel is closed: it hears nothing any more, and is handed no connection. Node's
    /// `disconnect`.
    Disconnected,
    /// Workers start with another program from now on. Node's `setup`.
    Setup,
    /// Another worker fills its instance, and it stays beside: see [`Reload::beside`](super::Reload::beside).
    Kept,
    /// It fills its instance again, which another one had filled.
    Returned,
    /// Those that were kept beside leave; the new ones are all there is.
    Promoted,
    /// It is leaving: out of rotation, finishing its connections.
    Draining,
    /// Connections did not end in time and were cut: they were open when its drain had its end, or when
    /// it was killed, and as long as it ran after that. Told at its end, before [`Self::Exited`].
    Cut {
        /// How many.
        connections: usize,
    },
    /// It said something that cannot be understood, and was ended.
    Misbehaved {
        /// What was wrong, in words.
        error: String,
    },
    /// Its first process ended; after its last line of output (if this cluster reads it), its last
    /// message, and [`Self::Disconnected`]. Node's `exit`.
    Exited {
        /// How: with a code, or by a signal.
        exit: Exit,
        /// For how long it had run.
        lived: Duration,
        /// It was told to go.
        asked: bool,
        /// Its channel was closed on purpose, by either side, before it ended. Node's
        /// `exitedAfterDisconnect`.
        exited_after_disconnect: bool,
    },
    /// Another worker will fill its instance.
    Restarting {
        /// After this wait.
        after: Duration,
    },
    /// Its instance stays empty, as it is to be: it has done its work, or
    /// [`restart`](super::Settings::restart) says that there is no other after it.
    Finished,
    /// Its instance stays empty, for it is hopeless.
    GivenUp {
        /// So many early ends in a row were enough.
        early_ends: u32,
        /// How the last one ended; `None` when it could not be started.
        exit: Option<Exit>,
        /// The last lines that it wrote, with [`Stdio::Lines`](super::Stdio::Lines).
        last_lines: Vec<Vec<u8>>,
    },
    /// It did more than was taken: so many [`Self::Listening`], [`Self::Refused`], [`Self::Unfit`] and
    /// [`Self::Trouble`] were not told. [`Cluster::report`](super::Cluster::report) says how things are.
    Missed {
        /// How many.
        events: u64,
    },
    /// Descriptors had run out, and connections are accepted again.
    AcceptsAgain,
    /// The manager could not do something for it; it goes on.
    Trouble {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// The address of a `listening`, as Node tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningAddress {
    /// The host or the path; `None` when a worker of Node's named none.
    pub address: Option<String>,
    /// The port, which is never 0; `None` for a path.
    pub port: Option<u16>,
    /// Of what kind it is.
    pub kind: AddressType,
}

/// Node's `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AddressType {
    /// TCP over IPv4, or over both where no host was named: `4`.
    V4,
    /// TCP over IPv6: `6`.
    V6,
    /// A UNIX path: `-1`.
    Path,
    /// UDP over IPv4: `"udp4"`.
    Udp4,
    /// UDP over IPv6: `"udp6"`.
    Udp6,
}

impl ListeningAddress {
    /// Whether a worker that says this means that listener. One worker may hold a port in several
    /// versions of IP, and for datagrams too.
    pub(super) fn is_of(&self, key: &ListenKey) -> bool {
        let transport = match self.kind {
            AddressType::V4 | AddressType::V6 => Transport::Tcp,
            AddressType::Udp4 | AddressType::Udp6 => Transport::Udp,
            AddressType::Path => return self.is_path(&key.endpoint),
        };
        let Endpoint::Inet { address, .. } = key.endpoint else { return false };
        let same_host = match &self.address {
            // What follows `%` is the scope.
            Some(said) => said
                .split('%')
                .next()
                .and_then(|ip| ip.parse().ok())
                .is_some_and(|ip: IpAddr| ip.to_canonical() == address.ip()),
            // `::`, or `0.0.0.0` where there is no IPv6.
            None => address.ip().is_unspecified(),
        };
        same_host && key.transport == transport && Some(address.port()) == self.port
    }

    fn is_path(&self, endpoint: &Endpoint) -> bool {
        let (Some(said), Endpoint::Path(known)) = (&self.address, endpoint) else { return false };
        let said = Path::new(said);
        // The listener's has no links in its directory.
        let folder = || fs::canonicalize(said.parent()?).ok();
        said == known
            || said.file_name() == known.file_name() && folder().as_deref() == known.parent()
    }
}

impl From<&ListenKey> for ListeningAddress {
    fn from(key: &ListenKey) -> Self {
        let (address, port) = match &key.endpoint {
            Endpoint::Inet { address, .. } => (address.ip().to_string(), Some(address.port())),
            Endpoint::Path(path) => (path.display().to_string(), None),
            Endpoint::Abstract(name) => (format!("\0{}", name.escape_ascii()), None),
        };
        let v6 = matches!(&key.endpoint, Endpoint::Inet { address, .. } if address.is_ipv6());
        let kind = match (key.transport, v6) {
            (Transport::Tcp, false) => AddressType::V4,
            (Transport::Tcp, true) => AddressType::V6,
            (Transport::Udp, false) => AddressType::Udp4,
            (Transport::Udp, true) => AddressType::Udp6,
            (Transport::UnixStream | Transport::UnixSeqPacket | Transport::UnixDatagram, _) => {
                AddressType::Path
            }
        };
        Self { address: Some(address), port, kind }
    }
}

/// How a cluster came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// It was told to leave its workers to a successor.
    Left,
    /// Every worker ended by itself: the code of the last one that failed, or 0.
    Finished {
        /// A code as a shell shows it.
        code: u8,
    },
    /// No worker could ever be started.
    NeverStarted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: Option<&str>, port: Option<u16>, kind: AddressType) -> ListeningAddress {
        ListeningAddress { address: address.map(str::to_owned), port, kind }
    }

    fn key(transport: Transport, address: &str) -> ListenKey {
        let address = address.parse().expect("an address");
        ListenKey { transport, endpoint: Endpoint::inet(address, false) }
    }

    #[test]
    fn one_port_in_two_versions_of_ip_and_for_datagrams_is_three_listeners() {
        let v4 = said(Some("127.0.0.1"), Some(80), AddressType::V4);
        assert!(v4.is_of(&key(Transport::Tcp, "127.0.0.1:80")));
        assert!(!v4.is_of(&key(Transport::Tcp, "127.0.0.1:81")));
        assert!(!v4.is_of(&key(Transport::Tcp, "[::1]:80")));
        assert!(!v4.is_of(&key(Transport::Udp, "127.0.0.1:80")));
        let udp = said(Some("::1"), Some(80), AddressType::Udp6);
        assert!(udp.is_of(&key(Transport::Udp, "[::1]:80")));
        assert!(!udp.is_of(&key(Transport::Tcp, "[::1]:80")));
    }

    #[test]
    fn without_a_host_it_is_any_address_in_either_version() {
        let any = said(None, Some(80), AddressType::V4);
        assert!(any.is_of(&key(Transport::Tcp, "[::]:80")));
        assert!(any.is_of(&key(Transport::Tcp, "0.0.0.0:80")));
        assert!(!any.is_of(&key(Transport::Tcp, "127.0.0.1:80")));
    }

    #[test]
    fn a_path_is_another_path_and_no_port() {
        let path = |path: &str| ListenKey {
            transport: Transport::UnixStream,
            endpoint: Endpoint::Path(path.into()),
        };
        let one = said(Some("/no/such/one.sock"), None, AddressType::Path);
        assert!(one.is_of(&path("/no/such/one.sock")));
        assert!(!one.is_of(&path("/no/such/two.sock")));
        assert!(!one.is_of(&key(Transport::Tcp, "127.0.0.1:80")));
    }
}
