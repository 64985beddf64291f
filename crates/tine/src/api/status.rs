//! How a worker is, in a word.

use serde::{Deserialize, Serialize};

/// pm2's words for how a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It runs, and is ready.
    #[serde(rename = "online")]
    Online,
    /// It runs, and is not ready.
    #[serde(rename = "launching")]
    Launching,
    /// It is leaving.
    #[serde(rename = "stopping")]
    Stopping,
    /// It does not run, because nobody wants it to, or because it ended as it should.
    #[serde(rename = "stopped")]
    Stopped,
    /// It was given up.
    #[serde(rename = "errored")]
    Errored,
    /// It runs again after a wait.
    #[serde(rename = "waiting restart")]
    Waiting,
}

impl Status {
    /// The word in JSON and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Launching => "launching",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
            Self::Waiting => "waiting restart",
        }
    }
}
