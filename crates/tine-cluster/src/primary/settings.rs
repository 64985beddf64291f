//! What a cluster runs, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::{keep::Keep, reach::Reach};

use crate::{
    core::{
        backoff::Limits,
        restart::{Restart, Rules},
        worker::Patience,
    },
    id::Instance,
    policy::{Abilities, Mechanism, Policy},
};

/// What kind of program the workers run, which decides how they come to their seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramKind {
    /// `node` with a script: it asks on its own channel.
    Node,
    /// Anything else: `bind` and `listen` are trapped, and the channel of this crate is offered.
    Other,
}

/// What workers run: of a whole cluster, or of one that is forked.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file to execute, found in `PATH` already.
    pub file: PathBuf,
    /// What it shall think it is called.
    pub arg0: OsString,
    /// Arguments of the interpreter, before all others. Node's `execArgv`.
    pub exec_args: Vec<OsString>,
    /// Its arguments; for an interpreter, the script first.
    pub args: Vec<OsString>,
    /// The whole environment, before what tine adds.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; the manager's own directory when not said.
    pub directory: Option<PathBuf>,
    /// How it comes to its seats.
    pub kind: ProgramKind,
    /// Where its output goes.
    pub stdio: Stdio,
    /// As whom it runs; as this process when not said. What its environment says of that (`HOME`, `USER`,
    /// `LOGNAME`) is for whoever makes [`Self::env`].
    pub user: Option<User>,
    /// Which permissions its new files do not get (`umask(2)`); as this process's when not said.
    pub umask: Option<u32>,
    /// Its nice value, -20 to 19; as this process's when not said. Below that takes `CAP_SYS_NICE`.
    pub nice: Option<i32>,
    /// How much of these resources each of its processes may use, softly and firmly; `None` is without
    /// limit. Goes before [`Settings::file_limit`].
    pub rlimits: Vec<(Resource, Option<u64>, Option<u64>)>,
    /// How much a worker may use with all that descends from it. Where that cannot be limited it runs
    /// without, and [`What::Unlimited`](super::What::Unlimited) tells so.
    pub cgroup_limits: CgroupLimits,
    /// The variable that tells a worker its instance, instead of `NODE_APP_INSTANCE`.
    pub instance_var: Option<OsString>,
    /// A variable with a number, of which each worker gets its own: that number, and its instance added.
    pub increment_var: Option<OsString>,
    /// Variables that the workers of one instance have beside [`Self::env`], or instead.
    pub instance_env: BTreeMap<Instance, Vec<(OsString, OsString)>>,
    /// For `node` with an inspector (`--inspect`, `--inspect-brk`): the port of every worker. When not
    /// said, each gets the next one after the port in its arguments, or after 9229.
    pub inspect_port: Option<u16>,
}

/// Where the output of workers goes. Their input is empty, unless the owner writes it: they lead sessions
/// of their own, and could not read a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdio {
    /// Line by line to the owner of the cluster ([`What::Output`](super::What::Output)). Node's
    /// `silent: true`.
    #[default]
    Lines,
    /// To the owner as it comes: [`What::Started`](super::What::Started) has the pipes' read ends. There
    /// are no [`What::Output`](super::What::Output) and no last lines, and a worker's end is told
    /// whether or not its output was read.
    Pipes {
        /// Standard input is a pipe too, and its write end comes with the others.
        input: bool,
    },
    /// Where this process's own goes.
    Inherited,
    /// Nowhere.
    Null,
}

pub use rustix::process::Resource;
pub use tine_linux::{
    cgroup::{Controller, Limits as CgroupLimits},
    spawn::User,
};

impl Program {
    /// A file to execute, without arguments, with the environment of this process.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        Self {
            arg0: file.clone().into(),
            file,
            exec_args: Vec::new(),
            args: Vec::new(),
            env: std::env::vars_os().collect(),
            directory: None,
            kind: ProgramKind::Other,
            stdio: Stdio::default(),
            user: None,
            umask: None,
            nice: None,
            rlimits: Vec::new(),
            cgroup_limits: CgroupLimits::default(),
            instance_var: None,
            increment_var: None,
            instance_env: BTreeMap::new(),
            inspect_port: None,
        }
    }

    /// A script that `node` runs, and that speaks Node's own protocol.
    #[must_use]
    pub fn node(node: impl Into<PathBuf>, script: impl Into<OsString>) -> Self {
        let kind = ProgramKind::Node;
        Self { args: vec![script.into()], kind, ..Self::new(node) }
    }
}

/// One more worker, beside the instances. Node's `cluster.fork(env)`.
#[derive(Clone, Debug, Default)]
pub struct Fork {
    /// Its program; that of the cluster when not said.
    pub program: Option<Program>,
    /// Variables that its environment has beside the program's, or instead.
    pub env: Vec<(OsString, OsString)>,
}

impl Fork {
    /// A worker like all others.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this program instead of the cluster's.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A cluster's settings.
#[expect(clippy::struct_excessive_bools, reason = "independent wishes")]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: Program,
    /// How many workers are kept running. With none, workers come by [`Cluster::fork`](super::Cluster::fork) only, and
    /// the cluster lives until it is stopped or its last handle is dropped.
    pub instances: u32,
    /// Of these instances, those that stay empty until
    /// [`start_instance`](super::Cluster::start_instance).
    pub vacant: BTreeSet<Instance>,
    /// Who gets the next connection.
    pub policy: Policy,
    /// The mechanism, when it was asked for by name.
    pub mechanism: Option<Mechanism>,
    /// What host and user allow.
    pub abilities: Abilities,
    /// Ports that each worker binds for itself alone.
    pub private_ports: BTreeSet<u16>,
    /// Addresses bound before the start and passed as `LISTEN_FDS`.
    pub listen: Vec<SocketAddr>,
    /// What tells a worker to stop, once it is drained.
    pub stop_signal: Signal,
    /// A worker of Node's is told by the message `shutdown` instead, if its channel is open:
    /// `process.on('message', (m) => { if (m === 'shutdown') … })`. pm2's `shutdown_with_message`.
    pub stop_by_message: bool,
    /// The stop signal goes to all that descends from a worker, as a terminal's Ctrl-C would. If not, it
    /// goes to the first process alone, which is to see to its children itself; what it leaves behind
    /// is signalled, and killed in the end, when it has gone. Nothing is ever left alone for good.
    pub stop_tree: bool,
    /// How long to wait for a leaving worker.
    pub patience: Patience,
    /// Whether and when a worker that ends by itself is followed by another one.
    pub restart: Restart,
    /// How often to try again.
    pub limits: Limits,
    /// A new worker counts as ready only when it has said so: `process.send('ready')`,
    /// [`Worker::ready`](crate::worker::Worker::ready), or `READY=1` to the socket in `NOTIFY_SOCKET`, as with
    /// [sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html).
    pub wait_ready: bool,
    /// With [`Self::wait_ready`]: a worker that has not said so after this time has failed to start. A
    /// reload has its own ([`Pace::patience`](crate::core::rollout::Pace::patience)).
    pub ready_timeout: Option<Duration>,
    /// The cluster lives until it is stopped, or its last handle is dropped, also when all instances have
    /// finished, or were given up: somebody may start them again.
    pub lives_on: bool,
    /// How many descriptors a worker may have, softly and firmly; as many as the manager when not said.
    pub file_limit: Option<(u64, u64)>,
    /// Workers are killed when the thread that runs the cluster ends. For a manager without a
    /// successor.
    pub workers_die_with_manager: bool,
    /// This process is a subreaper, and every child of it that is not a worker's first process belongs
    /// to this cluster: an orphan of one of its workers.
    pub owns_all_children: bool,
    /// Who is told what a successor needs, for [`Cluster::adopt`](super::Cluster::adopt).
    pub keeper: Option<Arc<dyn Keep>>,
    /// Who looks into workers that this process may not look into, as after [`Cluster::adopt`](super::Cluster::adopt)
    /// under Yama. Without it idle connections of such workers cannot be ended kindly.
    pub reach: Option<Arc<dyn Reach>>,
    /// Each worker has this process's ends of its pipes, its channel and its trap, too, out of its way: it
    /// sees no end of them when this process is killed together with whoever keeps them, and
    /// [`recover`](super::recover) finds them there. Takes a [`Self::keeper`].
    pub ends_in_workers: bool,
    /// In whose name cgroups are made: a process that lives as long as the workers may. This one, when not
    /// said.
    pub owner: Option<Pid>,
}

impl Settings {
    /// Settings with the defaults that the command line shows.
    #[must_use]
    pub fn new(program: Program, instances: u32) -> Self {
        Self {
            program,
            instances,
            vacant: BTreeSet::new(),
            policy: Policy::default(),
            mechanism: None,
            abilities: Abilities::default(),
            private_ports: BTreeSet::new(),
            listen: Vec::new(),
            stop_signal: Signal::INT,
            stop_by_message: false,
            stop_tree: true,
            patience: Patience {
                drain: Duration::from_secs(30),
                kill: Duration::from_millis(1600),
            },
            restart: Restart::default(),
            limits: Limits::default(),
            wait_ready: false,
            ready_timeout: None,
            lives_on: false,
            file_limit: None,
            workers_die_with_manager: false,
            owns_all_children: false,
            keeper: None,
            reach: None,
            ends_in_workers: false,
            owner: None,
        }
    }

    /// Those of them that can be changed while the cluster runs.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        Tuning {
            stop_signal: self.stop_signal,
            stop_by_message: self.stop_by_message,
            stop_tree: self.stop_tree,
            patience: self.patience,
            restart: self.restart.clone(),
            limits: self.limits,
            wait_ready: self.wait_ready,
            ready_timeout: self.ready_timeout,
        }
    }

    pub(super) fn tune(&mut self, tuning: Tuning) {
        self.stop_signal = tuning.stop_signal;
        self.stop_by_message = tuning.stop_by_message;
        self.stop_tree = tuning.stop_tree;
        self.patience = tuning.patience;
        self.restart = tuning.restart;
        self.limits = tuning.limits;
        self.wait_ready = tuning.wait_ready;
        self.ready_timeout = tuning.ready_timeout;
    }

    pub(super) fn rules(&self) -> Rules {
        Rules { restart: self.restart.clone(), limits: self.limits }
    }
}

/// What can be changed while a cluster runs, all of it together: begin with [`Settings::tuning`]. See
/// [`Cluster::configure`](super::Cluster::configure).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// [`Settings::stop_signal`].
    pub stop_signal: Signal,
    /// [`Settings::stop_by_message`].
    pub stop_by_message: bool,
    /// [`Settings::stop_tree`].
    pub stop_tree: bool,
    /// [`Settings::patience`].
    pub patience: Patience,
    /// [`Settings::restart`].
    pub restart: Restart,
    /// [`Settings::limits`].
    pub limits: Limits,
    /// [`Settings::wait_ready`].
    pub wait_ready: bool,
    /// [`Settings::ready_timeout`].
    pub ready_timeout: Option<Duration>,
}
