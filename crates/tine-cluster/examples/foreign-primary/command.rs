//! What the other program says.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tine_cluster::{
    id::WorkerId,
    json::Json,
    policy::{Mechanism, Policy},
    primary::{Fork, Program},
};

/// Before anything else.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    policy: Option<Policy>,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) listen: Vec<SocketAddr>,
}

impl Setup {
    /// What was said here, or else in the environment.
    pub(crate) fn policy(&self) -> Policy {
        let said = env::var("NODE_CLUSTER_SCHED_POLICY").ok();
        self.policy.or_else(|| Policy::of_node(&said?)).unwrap_or_default()
    }
}

/// One more worker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    exec: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    exec_argv: Vec<String>,
    exec_path: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    cwd: Option<PathBuf>,
    #[serde(default)]
    pub(crate) silent: bool,
}

impl Start {
    /// What is to be forked.
    pub(crate) fn fork(&self) -> Fork {
        let node = self.exec_path.clone().unwrap_or_else(|| "node".into());
        let mut program = Program::node(in_path(&node), &self.exec);
        program.args.extend(self.args.iter().map(OsString::from));
        program.exec_args = self.exec_argv.iter().map(OsString::from).collect();
        program.directory.clone_from(&self.cwd);
        let fork = Fork::new().program(program);
        self.env.iter().fold(fork, |fork, (name, value)| fork.env(name, word(value)))
    }
}

/// Node makes a text of whatever it finds.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where the shell would find it; as it is where nothing is found, for the error says it then.
fn in_path(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file()).unwrap_or_else(|| program.to_owned())
}

/// Something to say to a worker.
#[derive(Debug, Deserialize)]
pub(crate) struct Send {
    pub(crate) worker: WorkerId,
    pub(crate) message: Json,
}

/// One worker shall leave, or all.
#[derive(Debug, Deserialize)]
pub(crate) struct Disconnect {
    pub(crate) worker: Option<WorkerId>,
}

/// A signal for a worker.
#[derive(Debug, Deserialize)]
pub(crate) struct Kill {
    pub(crate) worker: WorkerId,
    pub(crate) signal: Option<String>,
}

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Setup(Setup),
    Fork(Start),
    Send(Send),
    Disconnect(Disconnect),
    Kill(Kill),
}

/// The part that all lines have.
#[derive(Debug, Deserialize)]
struct Head {
    command: String,
    id: Option<Json>,
}

/// What a line asks for, with the number under which the answer is wanted.
pub(crate) fn read(line: &str) -> (Option<Json>, Result<Command, String>) {
    match serde_json::from_str::<Head>(line) {
        Ok(head) => {
            let command = command(&head.command, line);
            (head.id, command)
        }
        Err(error) => (None, Err(error.to_string())),
    }
}

/// Read once more for its own fields: what is passed on untouched cannot go through a common type.
fn command(name: &str, line: &str) -> Result<Command, String> {
    fn fields<T: DeserializeOwned>(line: &str) -> Result<T, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }
    Ok(match name {
        "setup" => Command::Setup(fields(line)?),
        "fork" => Command::Fork(fields(line)?),
        "send" => Command::Send(fields(line)?),
        "disconnect" => Command::Disconnect(fields(line)?),
        "kill" => Command::Kill(fields(line)?),
        other => return Err(format!("there is no command {other}")),
    })
}
