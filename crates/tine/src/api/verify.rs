//! What a reload that was verified has cost its clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The app's own port, asked as a client would while its workers were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When it was over; milliseconds since 1970.
    pub at: u64,
    /// Not all workers were replaced.
    #[serde(default)]
    pub failed: bool,
    /// Where: `127.0.0.1:8003` or `unix:/path`.
    pub address: String,
    /// What was asked for: a path over HTTP; nothing but a connection where `None`.
    pub path: Option<String>,
    /// How long it went on; milliseconds.
    pub lasted: u64,
    /// Requests, or connections, on new connections and on one that is kept.
    pub sent: u64,
    /// Those among them that had no answer: refused, reset, closed too early, or later than ten seconds.
    pub lost: u64,
    /// The lost ones by cause: `refused`, `reset`, `closed`, `late`, `other`.
    pub causes: BTreeMap<String, u64>,
    /// Sent on the kept connection as it was being closed, and answered when sent again on a new one, as
    /// any client of HTTP does. Not lost.
    pub retried: u64,
    /// Answers with a status from 500 on. Not lost.
    pub errors: u64,
    /// The longest that an answer was waited for; microseconds.
    pub longest_wait: u64,
    /// Half of the answers came sooner; microseconds.
    pub usual_wait: u64,
    /// Connections of anybody that were cut at a drain's end, by the worker's id.
    pub cut: BTreeMap<u32, u64>,
}
