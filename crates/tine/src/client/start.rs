//! Starts the background manager.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{FlockOperation, flock};

use super::{Client, ClientError};
use crate::home::{Home, RunDir};

/// What the manager says on its standard output when it answers.
pub(crate) const READY: &str = "ready";

/// Starts one, unless another command does so at the same time; then waits for that one.
pub(super) fn start(home: &Home, program: &Path) -> Result<Client, ClientError> {
    let directory = home.run_dir()?;
    let _starting = take_turn(&directory)?;
    if let Some(client) = Client::connect(home)? {
        return Ok(client);
    }
    spawn(home, program)?;
    let gone = || ClientError::NotStarted("it has ended at once".to_owned());
    Client::connect(home)?.ok_or_else(gone)
}

/// Held until it is closed.
fn take_turn(directory: &RunDir) -> Result<File, ClientError> {
    let path = directory.start_lock();
    let open = || -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    open().map_err(|error| not_started(&path, &error))
}

fn spawn(home: &Home, program: &Path) -> Result<(), ClientError> {
    let log = home.daemon_log();
    let mut options = OpenOptions::new();
    let errors = options.create(true).append(true).mode(0o600).open(&log);
    let errors = errors.map_err(|error| not_started(&log, &error))?;
    let root = std::path::absolute(home.root()).unwrap_or_else(|_| home.root().to_owned());
    // Whatever the shell has given this command beside the three: nobody must wait for its end.
    let _ = tine_linux::inherited::keep_from_children();
    let child = Command::new(program)
        .arg0("tine")
        .args(["daemon", "--detached"])
        .env("TINE_HOME", root)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn();
    let mut child = child.map_err(|error| not_started(program, &error))?;
    let mut said = String::new();
    let read = child.stdout.take().map(|mut out| out.read_to_string(&mut said));
    match (read, said.trim()) {
        (Some(Ok(_)), READY) => Ok(()),
        (_, "") => Err(ClientError::NotStarted(format!("{} may say why", log.display()))),
        (_, reason) => Err(ClientError::NotStarted(reason.to_owned())),
    }
}

/// This program, also when its file was replaced meanwhile.
pub(super) fn executable() -> PathBuf {
    let there = std::env::current_exe().ok().filter(|path| path.exists());
    there.unwrap_or_else(|| "/proc/self/exe".into())
}

fn not_started(path: &Path, error: &io::Error) -> ClientError {
    ClientError::NotStarted(format!("{}: {error}", path.display()))
}
