//! What is told to a [`Keep`](super::Keep), and read from what was kept.
//!
//! | key | descriptors |
//! |---|---|
//! | `cluster` | |
//! | `place/N` | |
//! | `worker/N` | those that `has` names, after the pidfd |
//! | `worker/N/state` | |
//! | `worker/N/ends` | the way into what the worker holds itself |
//! | `listener/N` | the balancer's five, where it `has` one |
//! | `listener/N/group` | |
//! | `seat/N` | its socket |
//! | `seat/N/state` | |
//!
//! What never changes is apart from what does, so that descriptors are sent once.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{event::ListeningAddress, settings::ProgramKind, worker::Talk};
use crate::{
    address::ListenKey,
    core::registry::SeatState,
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::{Acquisition, Choice},
};

/// Of these records. A successor takes over those of its own version.
pub(super) const VERSION: u32 = 1;

/// What all workers have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    pub(super) version: u32,
    /// Of the cluster in its process, which marks its workers.
    pub(super) number: u32,
    pub(super) last_worker: u32,
    pub(super) last_name: u64,
    pub(super) next_listener: u32,
    pub(super) next_seat: u32,
    pub(super) ever_listened: bool,
    pub(super) instances: u32,
    /// By the name that workers share for a listener.
    pub(super) bound: Vec<(String, ListenKey)>,
    /// What Node's workers said with their first question, by the same names.
    pub(super) data: BTreeMap<String, Option<Box<serde_json::value::RawValue>>>,
    pub(super) files: Vec<FileRecord>,
}

/// The file of a UNIX socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub(super) seat: SeatId,
    #[serde(with = "crate::address::bytes")]
    pub(super) path: PathBuf,
    #[serde(with = "crate::address::bytes")]
    pub(super) hidden: PathBuf,
    pub(super) identity: (u64, u64),
}

/// Which descriptors there are of a worker, in this order, after its pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Has {
    Trap,
    Channel,
    Out,
    Err,
    Input,
}

/// A worker, as it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerRecord {
    pub(super) pid: i32,
    /// Clock ticks since the boot. With the pid it never comes twice.
    pub(super) started: u64,
    /// Milliseconds since 1970.
    pub(super) at: u64,
    pub(super) instance: Instance,
    pub(super) kind: ProgramKind,
    pub(super) mark: String,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) has: Vec<Has>,
}

/// Where a worker holds the ends of its predecessor itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndsRecord {
    /// The descriptor's number in the worker.
    pub(super) number: u32,
    /// Of those that [`WorkerRecord::has`] names.
    pub(super) inodes: Vec<u64>,
}

/// A worker, as it is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WorkerState {
    /// It is on its way out.
    pub(super) leaves: bool,
    pub(super) asked: bool,
    pub(super) retired: bool,
    pub(super) listened: bool,
    pub(super) said_ready: bool,
    pub(super) ready: bool,
    pub(super) on_trial: bool,
    pub(super) exited_after_disconnect: bool,
    pub(super) talk: Talked,
    pub(super) ports: Vec<u16>,
    pub(super) addresses: Vec<(SeatId, ListeningAddress)>,
    /// Where it was told that it listens.
    pub(super) listens: Vec<SeatId>,
    pub(super) declared: Vec<SeatId>,
    /// What it was given over its channel, by the names that it knows.
    pub(super) given: Vec<(String, SeatId)>,
}

/// [`Talk`], without times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Talked {
    Silent,
    Speaks,
    ToldToLeave,
    Closed,
}

impl From<Talk> for Talked {
    fn from(talk: Talk) -> Self {
        match talk {
            Talk::Silent => Self::Silent,
            Talk::Speaks => Self::Speaks,
            Talk::ToldToLeave(_) => Self::ToldToLeave,
            Talk::Closed(_) => Self::Closed,
        }
    }
}

/// A listener, as it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListenerRecord {
    pub(super) key: ListenKey,
    pub(super) choice: Choice,
    pub(super) acquisition: Acquisition,
    /// Whether it has a balancer, and whether that knows the lengths of queues.
    pub(super) balancer: Option<bool>,
}

/// Who is in its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    /// The slots of a balancer.
    pub(super) slots: Vec<(SeatId, u32)>,
    /// The kernel's order otherwise.
    pub(super) order: Vec<SeatId>,
}

/// A seat, as it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeatRecord {
    pub(super) listener: ListenerId,
    /// Of its socket. Not said by those of before.
    #[serde(default)]
    pub(super) inode: Option<u64>,
}

/// A seat, as it is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeatNow {
    pub(super) instance: Instance,
    pub(super) holders: Vec<WorkerId>,
    pub(super) state: SeatState,
    pub(super) listens: bool,
    pub(super) reuseaddr: bool,
    pub(super) reuseport: bool,
    pub(super) succeeded: bool,
}
