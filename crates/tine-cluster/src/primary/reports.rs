//! What a cluster looks like now, as its owner sees it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    core::{instance::State, registry::SeatState, worker::Phase},
    id::{Instance, WorkerId},
    policy::{Acquisition, Choice},
};

/// What a cluster looks like now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Every listener, in the order in which they came.
    pub listeners: Vec<ListenerReport>,
    /// Every worker, by number.
    pub workers: Vec<WorkerReport>,
    /// Every instance, in order.
    pub instances: Vec<InstanceReport>,
}

/// One instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Which.
    pub instance: Instance,
    /// What is with it, in one word.
    pub state: State,
    /// The worker that fills it, or of which something is left.
    pub worker: Option<WorkerId>,
    /// How many workers have followed its first one, for whatever reason.
    pub restarts: u32,
    /// How many of them in a row ended too early, or could not be started.
    pub early_ends: u32,
    /// After what time its next worker starts, for [`State::Waiting`].
    pub starts_in: Option<Duration>,
}

/// One worker.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Which. Node's `worker.id`.
    pub worker: WorkerId,
    /// Which instance it fills; `None` if it was forked.
    pub instance: Option<Instance>,
    /// Its first process. Node's `worker.process.pid`.
    pub pid: i32,
    /// When it was started, by the clock on the wall.
    pub started: SystemTime,
    /// Where it is in its life.
    pub phase: Phase,
    /// It can serve, or could before it was told to go. See [`What::Ready`](super::What::Ready).
    pub is_ready: bool,
    /// How many workers its instance had before it; 0 if it was forked.
    pub restarts: u32,
    /// Its channel is open, and its program is known to have it. Node's `worker.isConnected()`.
    pub is_connected: bool,
    /// Its first process has ended. Node's `worker.isDead()`.
    pub is_dead: bool,
    /// It was disconnected on purpose, by either side. Node's `worker.exitedAfterDisconnect`.
    pub exited_after_disconnect: bool,
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
    /// Which instance it serves; `None` for a worker that was forked.
    pub instance: Option<Instance>,
    /// The worker's first process.
    pub pid: Option<i32>,
    /// Connections it was given so far; `None` where nobody counts them.
    pub connections: Option<u64>,
    /// Connections that wait to be accepted.
    pub queue: Option<u32>,
    /// Whether it gets connections.
    pub state: SeatState,
}
