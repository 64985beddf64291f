//! What an app shall be: every key that can be set, in one form.
//!
//! Configuration files and command lines are turned into a [`Patch`], an object of the keys below; the
//! manager lays it over what it knows, or over the defaults, and keeps the outcome. So a key has one
//! name, one type and one default, and these are here. Durations are milliseconds, sizes are bytes.

mod logs;
mod parts;
mod patch;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tine_cluster::policy::{Mechanism, Policy};

pub use logs::{LogSpec, LogType, Rotation};
pub use parts::{
    Action, Filter, Health, HealthProbe, Instances, Limits, Millis, Mode, NoProbe, Rlimit, Watch,
};
pub use patch::{Patch, PatchError};

/// Variables of an environment.
pub type Env = BTreeMap<String, String>;

/// An app: a program with all that was said about how it is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent keys of a configuration")]
pub struct AppSpec {
    /// Unique among the apps of a manager.
    pub name: String,
    /// What it is grouped by.
    pub namespace: String,
    /// The script, the program, or a command line for a shell if it holds a blank.
    pub script: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What runs the script instead of what its extension means; `none` for nothing.
    pub interpreter: Option<String>,
    /// Arguments of the interpreter, before the script.
    pub interpreter_args: Vec<String>,
    /// Where it runs; absolute.
    pub cwd: PathBuf,
    /// Variables that were set for it.
    pub env: Env,
    /// The environment of whoever started it, below [`Self::env`].
    pub inherited: Env,
    /// What of [`Self::inherited`] the workers do not get.
    pub filter_env: Filter,
    /// Files of `NAME=value` lines, read at every start, between [`Self::inherited`] and [`Self::env`].
    pub env_file: Vec<PathBuf>,
    /// The environment that was chosen from the file (`--env`).
    pub env_name: Option<String>,
    /// How many workers.
    pub instances: Instances,
    /// The word that was asked for; it changes nothing but what `jlist` says.
    pub exec_mode: Option<Mode>,
    /// `PORT` in the environment.
    pub port: Option<u16>,
    /// The variable that tells a worker its instance.
    pub instance_var: String,
    /// The variable that counts up from its value in [`Self::env`] from worker to worker.
    pub increment_var: Option<String>,

    /// Who gets the next connection.
    pub policy: Policy,
    /// How that is done; the best there is when not said.
    pub mechanism: Option<Mechanism>,
    /// Addresses bound before the start and passed as `LISTEN_FDS`.
    pub listen: Vec<SocketAddr>,
    /// Ports that each worker binds for itself alone.
    pub private_ports: Vec<u16>,
    /// How long open connections may take to finish.
    pub drain_timeout: Millis,
    /// How workers are asked whether they are well.
    pub health: Option<Health>,

    /// Whether it runs as soon as it is known.
    pub autostart: bool,
    /// Whether a worker that ended is started again.
    pub autorestart: bool,
    /// So many ends before [`Self::min_uptime`] in a row are too many.
    pub max_restarts: u32,
    /// A worker that ends sooner ended too early.
    pub min_uptime: Millis,
    /// A fixed wait before each restart, in place of the growing one.
    pub restart_delay: Option<Millis>,
    /// The first of waits that grow by one half each time.
    pub exp_backoff_restart_delay: Millis,
    /// Exit codes after which a worker is not started again.
    pub stop_exit_codes: Vec<i32>,
    /// Between the stop signal and SIGKILL.
    pub kill_timeout: Millis,
    /// The stop signal, as `SIGINT`.
    pub kill_signal: String,
    /// The stop signal goes to all that a worker has started, and not to its first process alone.
    pub treekill: bool,
    /// A worker is ready when it says so.
    pub wait_ready: bool,
    /// So long a worker may take to be ready, where that is said: see [`Self::start_patience`].
    pub listen_timeout: Option<Millis>,
    /// Node workers are told `shutdown` by a message in place of the signal.
    pub shutdown_with_message: bool,
    /// A worker that uses more memory (bytes, resident) is replaced.
    pub max_memory_restart: Option<u64>,
    /// When the app is restarted whatever happens.
    pub cron_restart: Option<String>,
    /// In which time zone; the machine's when not said.
    pub cron_timezone: Option<String>,
    /// What is done when files change.
    pub watch: Option<Watch>,
    /// Apps that must be ready before this one starts.
    pub after: Vec<String>,

    /// As whom it runs: a name or a number.
    pub user: Option<String>,
    /// With which group: a name or a number.
    pub group: Option<String>,
    /// The mask for files that it makes.
    pub umask: Option<u32>,
    /// How nice it is to others, -20 to 19.
    pub nice: Option<i32>,
    /// Limits of setrlimit(2) by their names in lower case, as `nofile`.
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Limits for each worker with all that descends from it, by cgroup v2.
    pub limits: Limits,

    /// Where its output goes.
    pub logs: LogSpec,
    /// The file that holds the pid; a worker's id goes before the extension.
    pub pid_file: Option<PathBuf>,
    /// The file that this was read from.
    pub origin: Option<PathBuf>,
}

impl AppSpec {
    /// So long a start waits for a worker, which goes on trying afterwards if it need not say that it is ready.
    #[must_use]
    pub fn start_patience(&self) -> Duration {
        self.listen_timeout.map_or(Duration::from_secs(3), Millis::duration)
    }

    /// So long a reload waits, after which the new version has failed: longer where only a program that is slow
    /// would be told so.
    #[must_use]
    pub fn reload_patience(&self) -> Duration {
        match self.listen_timeout {
            None if !self.wait_ready => Duration::from_secs(30),
            Some(_) | None => self.start_patience(),
        }
    }
}

impl Default for AppSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: "default".to_owned(),
            script: String::new(),
            args: Vec::new(),
            interpreter: None,
            interpreter_args: Vec::new(),
            cwd: PathBuf::from("/"),
            env: Env::new(),
            inherited: Env::new(),
            filter_env: Filter::default(),
            env_file: Vec::new(),
            env_name: None,
            instances: Instances::default(),
            exec_mode: None,
            port: None,
            instance_var: "NODE_APP_INSTANCE".to_owned(),
            increment_var: None,
            policy: Policy::default(),
            mechanism: None,
            listen: Vec::new(),
            private_ports: Vec::new(),
            drain_timeout: Millis::from_secs(30),
            health: None,
            autostart: true,
            autorestart: true,
            max_restarts: 16,
            min_uptime: Millis::from_secs(1),
            restart_delay: None,
            exp_backoff_restart_delay: Millis(100),
            stop_exit_codes: Vec::new(),
            kill_timeout: Millis(1600),
            kill_signal: "SIGINT".to_owned(),
            treekill: true,
            wait_ready: false,
            listen_timeout: None,
            shutdown_with_message: false,
            max_memory_restart: None,
            cron_restart: None,
            cron_timezone: None,
            watch: None,
            after: Vec::new(),
            user: None,
            group: None,
            umask: None,
            nice: None,
            rlimits: BTreeMap::new(),
            limits: Limits::default(),
            logs: LogSpec::default(),
            pid_file: None,
            origin: None,
        }
    }
}
