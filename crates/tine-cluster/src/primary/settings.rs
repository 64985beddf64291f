//! What a cluster runs, and how.

use std::{collections::BTreeSet, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use rustix::process::Signal;

use crate::{
    core::{backoff::Limits, worker::Patience},
    policy::{Abilities, Mechanism, Policy},
};

/// What kind of program the workers run, which decides how they come to their seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramKind {
    /// `node` with a script: it asks on its own channel.
    Node,
    /// Anything else: `bind` and `listen` are trapped, and the channel of this crate is offered.
    Other,
}

/// The program of a cluster.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file to execute, found in `PATH` already.
    pub file: PathBuf,
    /// What it shall think it is called.
    pub arg0: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The whole environment, before what tine adds.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; the manager's own directory when not said.
    pub directory: Option<PathBuf>,
    /// How it comes to its seats.
    pub kind: ProgramKind,
}

/// A cluster's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: Program,
    /// How many workers.
    pub instances: u32,
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
    /// How long to wait for a leaving worker.
    pub patience: Patience,
    /// How often to try again.
    pub limits: Limits,
    /// Workers are killed when the thread that runs the cluster ends. For a manager without a
    /// successor.
    pub workers_die_with_manager: bool,
    /// This process is a subreaper, and every child of it that is not a worker's first process belongs
    /// to this cluster: an orphan of one of its workers.
    pub owns_all_children: bool,
}

impl Settings {
    /// Settings with the defaults that the command line shows.
    #[must_use]
    pub fn new(program: Program, instances: u32) -> Self {
        Self {
            program,
            instances,
            policy: Policy::default(),
            mechanism: None,
            abilities: Abilities::default(),
            private_ports: BTreeSet::new(),
            listen: Vec::new(),
            stop_signal: Signal::INT,
            patience: Patience {
                drain: Duration::from_secs(30),
                kill: Duration::from_millis(1600),
            },
            limits: Limits::default(),
            workers_die_with_manager: false,
            owns_all_children: false,
        }
    }
}
