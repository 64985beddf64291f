//! From what an app shall be to the settings of the cluster that runs it.
//!
//! Everything that can be wrong with a spec on this machine shows here, before anything starts: a
//! program that is not there, a file of variables that cannot be read, a user who does not exist, a
//! mechanism that cannot be had. What is looked at is looked at anew each time, so that a restart uses
//! the interpreter, the files and the CPUs that there are then.

mod dotenv;
mod environment;
mod limits;
mod user;
mod version;

use std::{path::PathBuf, thread};

use thiserror::Error;
use tine_cluster::{
    core::{
        backoff::Limits,
        restart::{Delay, Restart},
        worker::Patience,
    },
    primary::{Program, ProgramKind, Settings},
};
use tine_linux::process::signal_from_name;

use super::{
    ground::{Ground, Unfit},
    guard::{self, GuardError},
};
use crate::{
    program::{self, Found, NoProgram, Wanted},
    spec::{AppSpec, Instances},
    units::MOST_INSTANCES,
};
pub use dotenv::Malformed;
pub use environment::{EnvFileError, passes};
pub use limits::LimitError;
pub use user::UserError;

/// Where an app is to run.
#[derive(Clone, Debug)]
pub struct Placement {
    /// What all apps of the manager stand on.
    pub ground: Ground,
    /// The manager's directory.
    pub home: PathBuf,
    /// The mask (`umask(2)`) of files that apps make which do not say another one.
    pub umask: u32,
}

/// An app that can be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// For [`Cluster::start`](tine_cluster::primary::Cluster::start). Output goes to the owner, line by
    /// line, unless that is changed.
    pub settings: Settings,
    /// The script, or the program where nothing runs it. Absolute.
    pub exec_path: PathBuf,
    /// What runs the script: `node`, `python3`, or `none`.
    pub interpreter: String,
    /// The words after [`Self::exec_path`] where that is the shell of a command line.
    pub shell_words: Option<Vec<String>>,
    /// What the `package.json` nearest to the script says.
    pub version: Option<String>,
    /// The `node` that runs it.
    pub node: Option<PathBuf>,
}

/// Why an app cannot be started here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program, its interpreter or its directory.
    #[error(transparent)]
    Program(#[from] NoProgram),
    /// Its files of variables.
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    /// As whom it is to run.
    #[error(transparent)]
    User(#[from] UserError),
    /// What it may use.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// When it is restarted, or how its health is checked.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// What this host cannot do.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No signal is called so.
    #[error("`{0}` is no signal; write SIGTERM, TERM or 15")]
    Signal(String),
    /// More instances than can share a port.
    #[error("{0} instances are more than the {MOST_INSTANCES} that can share a port")]
    TooMany(u32),
}

/// Finds everything that the app needs. Reads files, and asks the databases of users: not for a thread
/// that must not wait.
///
/// # Errors
///
/// With what is missing or wrong, and what to do about it.
pub fn settings(spec: &AppSpec, place: &Placement) -> Result<Launch, LaunchError> {
    let own = user::Own::look();
    let run_as = user::run_as(spec.user.as_deref(), spec.group.as_deref(), own)?;
    let account = run_as.as_ref().and_then(|run_as| run_as.account.as_ref());
    let env = environment::compose(spec, account, &place.home)?;
    let Found { mut program, script, interpreter } = program::find(&wanted(spec, env))?;
    program.user = run_as.map(|run_as| run_as.user);
    limits::apply(spec, &mut program)?;
    program.umask = program.umask.or(Some(place.umask));
    let node = (program.kind == ProgramKind::Node).then(|| program.file.clone());
    let mut settings = Settings::new(program, count(spec.instances)?);
    apply(spec, place, &mut settings)?;
    place.ground.check(&settings)?;
    guard::check(spec, &settings.program)?;
    let words = settings.program.args.iter().map(|word| word.to_string_lossy().into_owned());
    let is_line = interpreter.is_none() && !is_file(&script, &spec.script);
    let shell_words = is_line.then(|| words.collect());
    Ok(Launch {
        settings,
        shell_words,
        version: version::of_app(&script),
        exec_path: script,
        interpreter: interpreter.unwrap_or_else(|| "none".to_owned()),
        node,
    })
}

impl Launch {
    /// For workers that run, of an app that could not be started any more: its program or something
    /// else that it needs has gone. What comes after them will be told so.
    #[must_use]
    pub fn of_before(spec: &AppSpec, place: &Placement) -> Self {
        let script = spec.cwd.join(&spec.script);
        let kind = match spec.interpreter.as_deref() {
            Some("node") => ProgramKind::Node,
            Some(_) | None => ProgramKind::Other,
        };
        let program = Program { kind, ..Program::new(&script) };
        let mut settings = Settings::new(program, count(spec.instances).unwrap_or(1));
        // What is wrong with it was found before.
        let _ = apply(spec, place, &mut settings);
        let interpreter = spec.interpreter.clone().unwrap_or_else(|| "none".to_owned());
        let (version, node, shell_words) = (None, None, None);
        Self { settings, exec_path: script, interpreter, version, node, shell_words }
    }
}

fn wanted(spec: &AppSpec, env: Vec<(std::ffi::OsString, std::ffi::OsString)>) -> Wanted {
    let words = [&spec.script].into_iter().chain(&spec.args).map(Into::into).collect();
    Wanted {
        words,
        interpreter: spec.interpreter.as_ref().map(Into::into),
        interpreter_args: spec.interpreter_args.iter().map(Into::into).collect(),
        directory: Some(spec.cwd.clone()),
        env,
    }
}

/// Whether what is executed is what was asked for, and not a shell that runs it.
fn is_file(executed: &std::path::Path, script: &str) -> bool {
    let asked = std::path::Path::new(script).file_name();
    executed.file_name() == asked || !script.contains(' ')
}

/// How many workers that is on this machine, now.
///
/// # Errors
///
/// When so many cannot share a port.
pub fn count(instances: Instances) -> Result<u32, LaunchError> {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = match instances {
        Instances::Count(count) => count,
        Instances::AllBut(but) => u32::try_from(cpus).unwrap_or(1).saturating_sub(but).max(1),
    };
    if count > MOST_INSTANCES { Err(LaunchError::TooMany(count)) } else { Ok(count) }
}

fn apply(spec: &AppSpec, place: &Placement, to: &mut Settings) -> Result<(), LaunchError> {
    to.policy = spec.policy;
    to.mechanism = spec.mechanism;
    to.abilities = place.ground.abilities;
    to.private_ports = spec.private_ports.iter().copied().collect();
    to.listen.clone_from(&spec.listen);
    to.stop_signal = signal_from_name(&spec.kill_signal)
        .ok_or_else(|| LaunchError::Signal(spec.kill_signal.clone()))?;
    to.stop_tree = spec.treekill;
    to.stop_by_message = spec.shutdown_with_message;
    to.patience =
        Patience { drain: spec.drain_timeout.duration(), kill: spec.kill_timeout.duration() };
    to.restart = restart(spec);
    to.limits = Limits {
        first: spec.exp_backoff_restart_delay.duration(),
        min_uptime: spec.min_uptime.duration(),
        max_restarts: spec.max_restarts,
        ..Limits::default()
    };
    to.wait_ready = spec.wait_ready;
    to.ready_timeout = Some(spec.start_patience());
    to.lives_on = true;
    to.file_limit = place.ground.file_limit;
    Ok(())
}

fn restart(spec: &AppSpec) -> Restart {
    Restart {
        automatic: spec.autorestart,
        stop_exit_codes: spec.stop_exit_codes.iter().copied().collect(),
        jobs_end: false,
        delay: match spec.restart_delay {
            Some(delay) => Delay::Fixed(delay.duration()),
            None => Delay::Growing,
        },
    }
}

#[cfg(test)]
mod tests;
