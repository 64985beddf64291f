//! The apps of a background manager: what can be asked of them, and what is shown of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{
    ListenerReport, PortsReport,
    reload::{OldVersion, Rolling},
    told::{ActionReply, Told},
    verify::Verified,
};
use crate::spec::{AppSpec, Env, Millis, Mode, Patch};

pub use super::status::Status;

/// Which apps or workers: a name, a worker's id, a namespace, `all`, or `/a regular expression/`. A name goes
/// before an id, an id before a namespace.
pub type Target = String;

/// A request of a front end that concerns apps: `{"request":"stop","targets":["api"]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum AppRequest {
    /// Starts apps that are not known yet; what is known is started anew with what was changed.
    Start(Start),
    /// Stops workers, with their connections finished. They stay in the list.
    Stop(Targets),
    /// Files of these apps are not watched any more, until somebody says so again.
    Unwatch(Targets),
    /// Stops workers and starts them again.
    Restart(Change),
    /// Starts new workers, then stops the old ones, one by one.
    Reload(Change),
    /// Goes back to the version that is kept beside, or to the configuration before the last change.
    Rollback(Targets),
    /// Lets the version leave that is kept beside.
    Promote(Targets),
    /// Stops apps, and forgets them.
    Delete(Targets),
    /// Changes how many workers an app has.
    Scale {
        /// Which app.
        target: Target,
        /// `3`, `+1`, `-1`.
        to: String,
        /// Connections have so long to finish this once, whatever the app says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_timeout: Option<Millis>,
    },
    /// What is shown of every app, in the order of the ids.
    List {
        /// How much of it.
        detail: Detail,
        /// Of these only; of all if there are none.
        #[serde(default)]
        targets: Vec<Target>,
    },
    /// Restarts are counted from zero again.
    Reset(Targets),
    /// Sends a signal, by its name or number, to the first process of each worker.
    Signal {
        /// To whom.
        targets: Vec<Target>,
        /// `SIGUSR2`, `USR2` or `12`.
        signal: String,
    },
    /// Writes a line to a worker's standard input.
    Send {
        /// A worker's id.
        id: u32,
        /// Without the newline; 64 KiB at most.
        line: String,
        /// Instead, a message on its channel: what is JSON arrives as what it says.
        #[serde(default)]
        message: bool,
    },
    /// Has programs carry out an action that they offer.
    Trigger {
        /// Whose.
        target: Target,
        /// As the programs call it.
        action: String,
        /// What it gets.
        #[serde(default)]
        parameters: Option<String>,
        /// How long an answer is waited for.
        wait: Millis,
    },
    /// Empties log files.
    Flush(Targets),
    /// Opens log files anew, after somebody moved them.
    ReopenLogs,
    /// Writes the list of apps to disk, for [`AppRequest::Resurrect`].
    Save {
        /// Also if there is no app.
        force: bool,
        /// Without environments.
        no_env: bool,
    },
    /// Starts the saved apps that are not there.
    Resurrect,
    /// Forgets the saved list.
    ClearDump,
    /// Makes the list of apps what the file says.
    Apply {
        /// All apps that shall be.
        apps: Vec<Patch>,
        /// The environment below theirs.
        inherited: Env,
        /// Apps that came from this file and are no longer in it are deleted.
        prune: bool,
        /// The file.
        origin: PathBuf,
        /// Only says what would be done.
        dry_run: bool,
    },
    /// Every event from now on, until the client closes.
    Watch,
    /// Stops all apps, and then the manager.
    KillManager,
    /// Has this program take the place of the manager; workers live on. Answered when everything is
    /// ready for it: then the conversation ends, and the next manager listens on the same socket.
    Update {
        /// A `tine`; absolute.
        program: PathBuf,
    },
    /// Whether anybody is there.
    Ping,
    /// Where the apps listen.
    Ports,
}

/// Some apps or workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Any number.
    pub targets: Vec<Target>,
    /// A stop: connections have so long to finish this once, whatever the app says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Millis>,
}

impl Targets {
    /// These, and nothing else said.
    #[must_use]
    pub const fn of(targets: Vec<Target>) -> Self {
        Self { targets, drain_timeout: None }
    }
}

/// Apps that are to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// What is wanted of each; `name` is set.
    pub apps: Vec<Patch>,
    /// The environment of whoever asks.
    pub inherited: Env,
    /// What is done with an app that is known already.
    pub known: Known,
    /// `inherited` takes the place of what a known app had.
    pub update_env: bool,
    /// The patches say all that there is to say: a key that they do not name has its default. (A file;
    /// a command line leaves what it does not name.)
    pub whole: bool,
    /// The names of new apps that are known from now on, and not started.
    #[serde(default)]
    pub idle: BTreeSet<String>,
    /// For [`Known::Reload`].
    #[serde(flatten)]
    pub rolling: Rolling,
}

/// What is done with an app that is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Nothing; the request is refused, and nothing is started.
    Refuse,
    /// Another app with the same name is made (`--force`).
    Double,
    /// It is restarted.
    Restart,
    /// It is reloaded.
    Reload,
}

/// New workers for apps that are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub targets: Vec<Target>,
    /// What changes; a name's change is told by `name`.
    pub patch: Patch,
    /// Replaces the inherited environment.
    pub inherited: Option<Env>,
    /// Of a reload.
    #[serde(flatten)]
    pub rolling: Rolling,
}

/// How much is told of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// What a table shows.
    Row,
    /// And all that it is configured to be.
    Spec,
    /// And its events, listeners and last lines.
    Full,
}

/// A manager's answer to an [`AppRequest`]. Before it any number of [`AppResponse::Progress`] may come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", content = "body", rename_all = "kebab-case")]
pub enum AppResponse {
    /// Nothing was done: the manager is on its way, and another one may follow. To be asked again, over a
    /// new connection.
    Again,
    /// The work goes on; for people.
    Progress(String),
    /// The same of what whoever asked is to know in any case: the work waits for something.
    Notice(String),
    /// What became of it, for each app.
    Done(Vec<Outcome>),
    /// To [`AppRequest::List`].
    Apps(Vec<AppView>),
    /// To [`AppRequest::Ping`].
    Pong(ManagerView),
    /// To [`AppRequest::Ports`]: one for each app that listens.
    Ports(Vec<PortsReport>),
    /// To [`AppRequest::Trigger`]: one for each worker.
    Replies(Vec<ActionReply>),
    /// One of many, to [`AppRequest::Watch`].
    Event(AppEvent),
    /// The request was refused, and nothing was done; the sentence says why.
    Error(String),
}

/// What became of a request for one app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub app: String,
    /// Its workers' ids.
    pub ids: Vec<u32>,
    /// What was done, as a word: `started`, `restarted`, `reloaded`, `stopped`, `deleted`, `rolled back`, `promoted`, `unchanged`…
    pub done: String,
    /// Why it was not, as a sentence; the request has failed then.
    pub error: Option<String>,
    /// The last lines that the program wrote, where they explain the error.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// Connections that were cut, since they did not end within the drain's time.
    #[serde(default)]
    pub cut: u64,
    /// What a reload has cost that was to be verified; the command fails if anything was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Box<Verified>>,
}

/// The manager itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerView {
    /// Its process.
    pub pid: u32,
    /// Of the `tine` that it was started from.
    pub version: String,
    /// Milliseconds since 1970.
    pub started_at: u64,
    /// Its directory.
    pub home: PathBuf,
    /// Apps that it knows.
    pub apps: u32,
    /// After what it has taken over workers that were there before it, if it has: "the manager was
    /// killed by SIGKILL".
    #[serde(default)]
    pub taken_over_after: Option<String>,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Unique, but for those that were doubled by force.
    pub name: String,
    /// What it is grouped by.
    pub namespace: String,
    /// Counts up from 0 as apps are made.
    pub number: u32,
    /// One for each instance, also for those that do not run.
    pub workers: Vec<WorkerView>,
    /// pm2's word that was said for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_mode: Option<Mode>,
    /// The addresses it listens on, as `0.0.0.0:8003`.
    pub ports: Vec<String>,
    /// Whether files are watched.
    pub watching: bool,
    /// What goes on with the whole app, such as `reloading`; the last reload's failure.
    pub note: Option<String>,
    /// The version before, while it is kept beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<OldVersion>,
    /// Connections that were cut since the app is known, since they did not end within the drain's time.
    #[serde(default)]
    pub cut: u64,
    /// With [`Detail::Spec`] and [`Detail::Full`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<AppSpec>>,
    /// With [`Detail::Full`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Box<AppDetails>>,
}

/// What is shown of one app alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppDetails {
    /// The last 50 starts, stops, ends, restarts and reloads; the newest last.
    pub events: Vec<AppEvent>,
    /// With their seats.
    pub listeners: Vec<ListenerReport>,
    /// The last lines of each worker, by its id.
    pub last_lines: BTreeMap<u32, Vec<String>>,
    /// What the last reload has cost that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Box<Verified>>,
}

/// One instance of an app, with the worker that fills it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// What people call it by (`pm_id`): counts up over all apps.
    pub id: u32,
    /// From 0 within its app.
    pub instance: u32,
    /// While it runs.
    pub pid: Option<i32>,
    /// How it is.
    pub status: Status,
    /// Since the app was started or [`AppRequest::Reset`].
    pub restarts: u32,
    /// The same, by reason: `crash`, `asked`, `memory`, `cron`, `watch`, `health`, `reload`.
    pub restarts_by_reason: BTreeMap<String, u32>,
    /// Of these, after an end before `min_uptime`.
    pub unstable_restarts: u32,
    /// The last start; milliseconds since 1970.
    pub started_at: Option<u64>,
    /// When the instance was made; milliseconds since 1970.
    pub created_at: u64,
    /// Of the worker that ended last.
    pub exit_code: Option<i32>,
    /// Connections of this instance's workers that were cut, since they did not end within the drain's time.
    #[serde(default)]
    pub cut: u64,
    /// The wait before the next start, milliseconds; while there is one.
    pub delay: Option<u64>,
    /// Resident bytes of the worker with all that descends from it.
    pub memory: u64,
    /// In percent of one CPU, over the last second or so.
    pub cpu: f32,
    /// Absolute; `None` for nowhere.
    pub out_log: Option<PathBuf>,
    /// The same for standard error.
    pub err_log: Option<PathBuf>,
    /// For both, if that was asked for.
    pub combined_log: Option<PathBuf>,
    /// Holds the pid.
    pub pid_file: Option<PathBuf>,
    /// The program as it was found: the script's absolute path, and what runs it (`node`, `none`).
    pub exec_path: PathBuf,
    /// See [`Self::exec_path`].
    pub interpreter: String,
    /// The words after [`Self::exec_path`], where they are not those of the spec: a command line is bash's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// What its program says of itself; with [`Detail::Spec`] and [`Detail::Full`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Told>>,
}

/// Something that happened to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEvent {
    /// Milliseconds since 1970.
    pub at: u64,
    /// Whose.
    pub app: String,
    /// Which worker, if one.
    pub id: Option<u32>,
    /// A word: `start`, `online`, `exit`, `stop`, `restart`, `reload`, `given-up`, `unhealthy`, `log`…
    pub what: String,
    /// Why and how, as a sentence.
    pub text: String,
}
