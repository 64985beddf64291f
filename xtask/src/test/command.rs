//! Programs run to their end, with a limit in time and all their output.

use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::report::Case;

/// A program that ended, or was ended.
pub(crate) struct Finished {
    /// Why the run is no success.
    pub(crate) trouble: Option<String>,
    /// Standard output and standard error, as they came.
    pub(crate) output: String,
}

impl Finished {
    /// The case of a check that is this one run.
    pub(crate) fn into_case(self, name: &str) -> Case {
        match self.trouble {
            None => Case::passed(name),
            Some(trouble) => Case::failed(name, format!("{}{trouble}\n", self.output)),
        }
    }
}

/// Runs `command` until it ends, or kills it after `limit`.
///
/// The output goes to memory and not through a pipe: what the program left running may hold a
/// pipe open for ever.
pub(crate) fn run(command: &mut Command, limit: Duration) -> anyhow::Result<Finished> {
    let mut memory = File::from(memfd_create("output", MemfdFlags::CLOEXEC)?);
    command.stdin(Stdio::null()).stdout(memory.try_clone()?).stderr(memory.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let in_time = wait(&child, limit)?;
    let status = child.wait()?;

    let mut output = Vec::new();
    memory.rewind()?;
    memory.read_to_end(&mut output)?;
    let output = String::from_utf8_lossy(&output).into_owned();
    Ok(Finished { trouble: trouble(status, in_time, limit), output })
}

/// Waits for the end, which the child has come to, willingly or not, on return.
fn wait(child: &Child, limit: Duration) -> anyhow::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit)?;
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
    if ended == 0 {
        pidfd_send_signal(&pidfd, Signal::KILL)?;
    }
    Ok(ended > 0)
}

fn trouble(status: ExitStatus, in_time: bool, limit: Duration) -> Option<String> {
    if !in_time {
        return Some(format!("killed: still running after {} s", limit.as_secs()));
    }
    (!status.success()).then(|| status.to_string())
}

/// The cargo that runs us, at the top of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// Where `program` is in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        run(Command::new("sh").args(["-c", script]), limit).expect("a shell runs")
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let finished = shell("echo one; echo two >&2; echo three", Duration::from_secs(30));
        assert_eq!(finished.output, "one\ntwo\nthree\n");
        assert_eq!(finished.trouble, None);
    }

    #[test]
    fn an_exit_code_is_told() {
        let finished = shell("exit 3", Duration::from_secs(30));
        assert_eq!(finished.trouble.as_deref(), Some("exit status: 3"));
    }

    #[test]
    fn a_program_over_its_limit_is_killed_and_its_output_kept() {
        let finished = shell("echo early; exec sleep 600", Duration::from_millis(300));
        assert_eq!(finished.trouble.as_deref(), Some("killed: still running after 0 s"));
        assert_eq!(finished.output, "early\n");
    }

    #[test]
    fn a_process_left_running_holds_nothing_up() {
        let start = std::time::Instant::now();
        let finished = shell("sleep 5 & echo done", Duration::from_secs(30));
        assert_eq!(finished.output, "done\n");
        assert!(start.elapsed() < Duration::from_secs(4));
    }
}
