//! How a reload goes, and what stands beside the new version afterwards.

use serde::{Deserialize, Serialize};

use crate::spec::Millis;

/// How a reload is to go. What is not said: one at a time, after the reload that runs, and the old version
/// leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rolling {
    /// So many instances at a time.
    pub parallel: Option<u32>,
    /// A reload that runs is called off for this one, and a canary that is tried is given up.
    pub force: bool,
    /// The app is asked meanwhile, as by a client, and what was lost is told.
    pub verify: bool,
    /// The old workers live on for so long, and get no connection: a way back that takes no start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_old: Option<Millis>,
    /// The old workers serve on, and the new ones get this part of all connections: 1 to 99 percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<u8>,
}

/// An old version that lives beside the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldVersion {
    /// Of a canary: the part of the connections that the new version gets, in percent. Else the old one
    /// gets none.
    pub canary: Option<u8>,
    /// When it leaves by itself; milliseconds since 1970.
    pub until: Option<u64>,
    /// Its workers.
    pub pids: Vec<i32>,
}
