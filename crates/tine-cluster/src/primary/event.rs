//! What a cluster tells its owner.

use std::{io, time::Duration};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tine_linux::{process::Exit, spawn::SpawnError};

use crate::{
    address::ListenKey,
    core::{registry::SeatState, worker::Phase},
    id::{Instance, WorkerId},
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

/// Something that happened to one worker.
#[derive(Debug)]
pub struct Event {
    /// Which worker.
    pub worker: WorkerId,
    /// Which instance it fills.
    pub instance: Instance,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum What {
    /// It runs.
    Started {
        /// Its first process.
        pid: Pid,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        error: SpawnError,
    },
    /// It listens, and its seat is in rotation.
    Listening {
        /// Where.
        key: ListenKey,
        /// The policy and the mechanism there.
        choice: Choice,
        /// How it came to its seat.
        acquisition: Acquisition,
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
    /// It is leaving: out of rotation, finishing its connections.
    Draining,
    /// Its connections did not end in time and were cut.
    Cut {
        /// How many.
        connections: usize,
    },
    /// It said something that cannot be understood, and was ended.
    Misbehaved {
        /// What was wrong, in words.
        error: String,
    },
    /// Its first process ended.
    Exited {
        /// How.
        exit: Exit,
        /// For how long it had run.
        lived: Duration,
        /// It was told to go.
        asked: bool,
    },
    /// Another worker will fill its instance.
    Restarting {
        /// After this wait.
        after: Duration,
    },
    /// Its instance stays empty.
    GivenUp {
        /// So many early ends in a row were enough.
        early_ends: u32,
        /// How the last one ended; `None` when it could not be started.
        exit: Option<Exit>,
        /// The last lines that it wrote.
        last_lines: Vec<Vec<u8>>,
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

/// How a cluster came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// Every worker ended by itself: the code of the last one that failed, or 0.
    Finished {
        /// A code as a shell shows it.
        code: u8,
    },
    /// No worker could ever be started.
    NeverStarted,
}

/// What a cluster looks like now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Every listener, in the order in which they came.
    pub listeners: Vec<ListenerReport>,
    /// Every worker, by number.
    pub workers: Vec<WorkerReport>,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Which.
    pub worker: WorkerId,
    /// Which instance it fills.
    pub instance: Instance,
    /// Its first process.
    pub pid: i32,
    /// Where it is in its life.
    pub phase: Phase,
}

/// One address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerReport {
    /// `0.0.0.0:8003`, `udp:…`, `unix:/path`.
    pub address: String,
    /// `tcp`, `udp` or `unix`.
    pub kind: String,
    /// Policy and mechanism.
    pub choice: Choice,
    /// How the first worker came to it.
    pub acquisition: Acquisition,
    /// Every seat of it; under one queue the same seat once for each worker that holds it.
    pub seats: Vec<SeatReport>,
}

/// One seat, as one worker holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeatReport {
    /// Who holds it; nobody while it waits for a worker.
    pub worker: Option<WorkerId>,
    /// Which instance it serves.
    pub instance: Instance,
    /// The worker's first process.
    pub pid: Option<i32>,
    /// Connections it was given so far; `None` where nobody counts them.
    pub connections: Option<u64>,
    /// Connections that wait to be accepted.
    pub queue: Option<u32>,
    /// Whether it gets connections.
    pub state: SeatState,
}
