//! Runs a command to its end, within a time.
//!
//! Its exit code comes through a pipe from a shell around it, not from `waitid(2)`: a manager to which
//! orphans come takes away every zombie that it does not know, and may be quicker.

use std::{
    ffi::{NulError, OsString},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};
use thiserror::Error;
use tine_cluster::primary::User;
use tine_linux::{
    process::Process,
    spawn::{Spawn, SpawnError},
    tree::{Table, signal_all},
};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, runtime::Handle, time};

/// A command line, and how it runs.
#[derive(Clone, Debug)]
pub struct Command {
    /// For `/bin/sh`.
    pub line: String,
    /// `$1`, `$2`, … of the line.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// As whom.
    pub user: Option<User>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0 to 255; 128 and more for a signal, as shells tell it. `None`: it took its shell with it.
    pub code: Option<i32>,
    /// The first of what it wrote, on both streams together.
    pub output: Vec<u8>,
}

/// Why it has no outcome.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A zero byte within the command.
    #[error("read the command")]
    Words(#[from] NulError),
    /// It was not started.
    #[error("start the command")]
    Start(#[from] SpawnError),
    /// No pipe, or no thread.
    #[error("hear from the command")]
    Pipe(#[from] io::Error),
    /// It was killed, with all that descends from it.
    #[error("no end within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// So much of the output is kept; the rest is read and dropped.
const OUTPUT: usize = 4096;
/// Where the shell finds the pipe for the exit code.
const CODE_FD: u32 = 3;
/// The command itself cannot reach that pipe, so what it leaves behind does not hold it open.
const SHELL: &str = "line=$1; shift; (eval \"$line\") 3>&-; echo $? >&3";

/// Runs it and waits for its end, but no longer than `within`.
///
/// # Errors
///
/// When it cannot be started, or takes longer.
pub async fn run(command: &Command, within: Duration) -> Result<Outcome, CommandError> {
    let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let (code, code_theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let process = start(command, &theirs, &code_theirs)?;
    drop((theirs, code_theirs));
    let running = Running(Some(process));
    let mut output = receiver(output)?;
    let mut code = receiver(code)?;
    let listen = async {
        let mut said = Vec::new();
        let code = tokio::select! {
            code = read_code(&mut code) => code,
            never = keep(&mut output, &mut said) => match never {},
        };
        // What it wrote before its end is in the pipe already.
        read_rest(&output, &mut said);
        Outcome { code, output: said }
    };
    let outcome = time::timeout(within, listen).await;
    running.end(outcome.is_err());
    outcome.map_err(|_| CommandError::TimedOut(within))
}

fn start(command: &Command, output: &OwnedFd, code: &OwnedFd) -> Result<Process, CommandError> {
    let mut spawn = Spawn::new("/bin/sh".as_ref())?;
    for word in ["-c", SHELL, "sh", &command.line] {
        spawn.arg(word.as_ref())?;
    }
    for arg in &command.args {
        spawn.arg(arg)?;
    }
    for (name, value) in &command.env {
        spawn.env(name, value)?;
    }
    if let Some(directory) = &command.directory {
        spawn.directory(directory)?;
    }
    if let Some(user) = &command.user {
        spawn.user(user.clone());
    }
    spawn.fd(output.as_fd(), 1).fd(output.as_fd(), 2).fd(code.as_fd(), CODE_FD);
    Ok(spawn.start()?.process)
}

fn receiver(pipe: OwnedFd) -> io::Result<Receiver> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Receiver::from_owned_fd(pipe)
}

/// Up to the line's end: who wrote it has nothing more to say.
async fn read_code(from: &mut Receiver) -> Option<i32> {
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        if from.read_buf(&mut text).await.unwrap_or(0) == 0 {
            break;
        }
    }
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// Reads for ever, so that nobody waits for a full pipe.
async fn keep(from: &mut Receiver, said: &mut Vec<u8>) -> std::convert::Infallible {
    let mut room = [0; 1024];
    loop {
        match from.read(&mut room).await {
            Ok(length @ 1..) => keep_some(&room[..length], said),
            // Closed by all who could write.
            Ok(0) | Err(_) => std::future::pending().await,
        }
    }
}

fn read_rest(from: &Receiver, said: &mut Vec<u8>) {
    let mut room = [0; 1024];
    while said.len() < OUTPUT
        && let Ok(length @ 1..) = from.try_read(&mut room)
    {
        keep_some(&room[..length], said);
    }
}

fn keep_some(bytes: &[u8], said: &mut Vec<u8>) {
    let free = OUTPUT.saturating_sub(said.len()).min(bytes.len());
    // Writing to a vector does not fail.
    let _ = said.write_all(&bytes[..free]);
}

/// A started command. Killed with all that descends from it if it is dropped before its end.
struct Running(Option<Process>);

impl Running {
    fn end(mut self, kill: bool) {
        if let Some(process) = self.0.take() {
            finish(process, kill);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            finish(process, true);
        }
    }
}

/// Takes the shell's zombie away; off this thread, for it may still be on its way out.
fn finish(process: Process, kill: bool) {
    if kill {
        kill_tree(&process);
    }
    if let Ok(runtime) = Handle::try_current() {
        // Somebody else may have waited for it.
        runtime.spawn_blocking(move || drop(process.wait()));
    }
}

fn kill_tree(process: &Process) {
    match Table::read(None) {
        Ok(table) => signal_all(&table.members(Some(process.pid()), None), Signal::KILL),
        Err(_) => drop(process.signal(Signal::KILL)),
    }
}

/// What `node --version` says, without the `v`; `None` if it says nothing sensible within two seconds.
pub async fn node_version(node: PathBuf) -> Option<String> {
    let command = Command {
        line: "exec \"$1\" --version".to_owned(),
        args: vec![node.into_os_string()],
        env: std::env::vars_os().collect(),
        directory: None,
        user: None,
    };
    let outcome = run(&command, Duration::from_secs(2)).await.ok()?;
    let text = String::from_utf8(outcome.output).ok()?;
    let version = text.trim().strip_prefix('v')?;
    (outcome.code == Some(0)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(line: &str) -> Command {
        Command {
            line: line.to_owned(),
            args: vec!["one".into(), "two words".into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("X".into(), "of the app".into())],
            directory: Some("/tmp".into()),
            user: None,
        }
    }

    fn within(seconds: u64, line: &str) -> Result<Outcome, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&shell(line), Duration::from_secs(seconds)))
    }

    fn code(line: &str) -> Option<i32> {
        within(30, line).unwrap().code
    }

    #[test]
    fn the_code_is_that_of_the_command_however_it_ends() {
        assert_eq!(code("true"), Some(0));
        assert_eq!(code("exit 7"), Some(7));
        assert_eq!(code("exec sh -c 'exit 9'"), Some(9));
        assert_eq!(code("kill -9 $(exec sh -c 'echo $PPID')"), Some(137));
        assert_eq!(code("no-such-command"), Some(127));
        assert_eq!(code("kill -9 $$"), None);
    }

    #[test]
    fn it_has_its_own_arguments_environment_and_directory() {
        let outcome = within(30, "echo $# $2 $X; pwd >&2").unwrap();
        assert_eq!(String::from_utf8_lossy(&outcome.output), "2 two words of the app\n/tmp\n");
    }

    #[test]
    fn of_much_output_the_first_is_kept_and_nobody_waits() {
        let outcome = within(30, "head -c 1000000 /dev/zero; exit 3").unwrap();
        assert_eq!((outcome.code, outcome.output.len()), (Some(3), OUTPUT));
    }

    #[test]
    fn what_it_leaves_in_the_background_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(code("sleep 60 & echo $!"), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn who_takes_too_long_is_killed_with_all_that_descends_from_it() {
        let mark = format!("tine-command-{}", std::process::id());
        let line =
            format!("sh -c 'exec -a {mark} sleep 600' 2>/dev/null || sh -c 'sleep 600; : {mark}'");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wait = Duration::from_millis(300);
        let error = runtime.block_on(run(&shell(&line), wait)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut(_)), "{error}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while runs(&mark) {
            assert!(Instant::now() < deadline, "it still runs");
            std::thread::yield_now();
        }
    }

    /// Whether a living process has this among its words.
    fn runs(mark: &str) -> bool {
        let own = rustix::process::getpid();
        let all = tine_linux::tree::processes().unwrap();
        all.iter().filter(|entry| !entry.zombie && entry.pid != own).any(|entry| {
            let path = format!("/proc/{}/cmdline", entry.pid.as_raw_pid());
            std::fs::read(path).is_ok_and(|words| String::from_utf8_lossy(&words).contains(mark))
        })
    }

    #[test]
    fn node_tells_its_version() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let version = runtime.block_on(node_version("/usr/bin/node".into()));
        let version = version.expect("node is installed where this is tested");
        assert!(version.split('.').count() == 3, "{version}");
        assert_eq!(runtime.block_on(node_version("/bin/true".into())), None);
    }
}
