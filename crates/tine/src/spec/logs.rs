//! Where the output of workers goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Millis;

/// Where the output goes, and how it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSpec {
    /// Nothing is written.
    pub disabled: bool,
    /// For standard output, absolute; below the home when not said. `/dev/null` for nowhere.
    pub out_file: Option<PathBuf>,
    /// For standard error.
    pub error_file: Option<PathBuf>,
    /// For both together, beside the two. One that is not absolute is below the home's `logs`.
    pub combined_file: Option<PathBuf>,
    /// One file for all instances; when not said: if there is one instance.
    pub merge: Option<bool>,
    /// How a line is written.
    pub kind: LogType,
    /// Before each line, the time in this form (`YYYY-MM-DD HH:mm:ss`).
    pub date_format: Option<String>,
    /// When a file is set aside.
    pub rotation: Rotation,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogType {
    /// As it came.
    #[default]
    Raw,
    /// As a JSON object.
    Json,
}

/// When a file is set aside, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Larger than so many bytes; 0: never for its size.
    pub size: u64,
    /// Older than this.
    pub age: Option<Millis>,
    /// So many are kept of each file.
    pub keep: u32,
    /// They are compressed.
    pub compress: bool,
    /// All that an app has may take so many bytes; the oldest go first. 0: no limit.
    pub total: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { size: 10 << 20, age: None, keep: 10, compress: true, total: 1 << 30 }
    }
}
