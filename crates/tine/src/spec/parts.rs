//! The values of keys that are more than a word or a number.

use std::{path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A duration as a number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// How many workers: counted when the app starts, on the machine where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// So many.
    Count(u32),
    /// One for each CPU but so many; at least one.
    AllBut(u32),
}

impl Default for Instances {
    fn default() -> Self {
        Self::Count(1)
    }
}

/// pm2's two ways to run a program. Here every program is clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `fork_mode`.
    Fork,
    /// `cluster_mode`.
    Cluster,
}

/// Which inherited variables are kept from the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// None.
    #[default]
    Nothing,
    /// All of them.
    All,
    /// Those whose names begin so.
    Prefixes(Vec<String>),
}

/// What is done when files change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// Files and directories, absolute; a directory with all below it.
    pub paths: Vec<PathBuf>,
    /// Patterns of paths that do not count: globs, or parts of a path.
    pub ignore: Vec<String>,
    /// Quiet for so long before something is done.
    pub delay: Millis,
    /// What.
    pub action: Action,
}

impl Default for Watch {
    fn default() -> Self {
        let ignore = ["**/.*", "**/node_modules/**"].map(str::to_owned).to_vec();
        Self { paths: Vec::new(), ignore, delay: Millis(200), action: Action::default() }
    }
}

/// How an app gets new workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Stop, then start.
    #[default]
    Restart,
    /// Start, then stop, one by one.
    Reload,
}

/// How a worker is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is tried.
    pub probe: HealthProbe,
    /// From one try to the next.
    #[serde(default = "Health::interval")]
    pub interval: Millis,
    /// A try that takes longer has failed.
    #[serde(default = "Health::timeout")]
    pub timeout: Millis,
    /// So many failures in a row make it unhealthy.
    #[serde(default = "Health::threshold")]
    pub threshold: u32,
    /// So long after its start failures do not count.
    #[serde(default)]
    pub grace: Millis,
}

impl Health {
    /// This probe, with the defaults of all else.
    #[must_use]
    pub const fn of(probe: HealthProbe) -> Self {
        Self {
            probe,
            interval: Self::interval(),
            timeout: Self::timeout(),
            threshold: Self::threshold(),
            grace: Millis(0),
        }
    }

    const fn interval() -> Millis {
        Millis(5000)
    }
    const fn timeout() -> Millis {
        Millis(2000)
    }
    const fn threshold() -> u32 {
        3
    }
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthProbe {
    /// GET this URL; an answer of 200 to 399 is well. `http://127.0.0.1:8003/health`, or a path alone, at the
    /// first port that the app listens on.
    Http(String),
    /// Connect to this address, or to the first port that the app listens on if it is empty.
    Tcp(String),
    /// Run this command line in a shell, with the worker's environment and `TINE_WORKER_PID`; 0 is well.
    Exec(String),
}

/// A text that says no probe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no probe; write /path, http://…, tcp, tcp:ADDRESS:PORT or exec:COMMAND")]
pub struct NoProbe(String);

impl FromStr for HealthProbe {
    type Err = NoProbe;

    fn from_str(text: &str) -> Result<Self, NoProbe> {
        if let Some(command) = text.strip_prefix("exec:") {
            return Ok(Self::Exec(command.trim().to_owned()));
        }
        if text == "tcp" {
            return Ok(Self::Tcp(String::new()));
        }
        if let Some(address) = text.strip_prefix("tcp:") {
            return Ok(Self::Tcp(address.trim_start_matches('/').to_owned()));
        }
        if text.starts_with('/') || text.starts_with("http://") {
            return Ok(Self::Http(text.to_owned()));
        }
        Err(NoProbe(text.to_owned()))
    }
}

/// A limit of setrlimit(2); `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// What applies.
    pub soft: Option<u64>,
    /// How far the program may raise it.
    pub hard: Option<u64>,
}

/// Limits by cgroup v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// `memory.max`, bytes.
    pub memory: Option<u64>,
    /// `cpu.max`, in percent of one CPU.
    pub cpu: Option<u32>,
    /// `pids.max`.
    pub pids: Option<u32>,
}
