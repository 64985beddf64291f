//! Has another program take over.

use std::{
    io::{Read, pipe},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Manager, Word, leaving::Next, start::refuse};
use crate::{
    api::apps::AppResponse,
    control::Replies,
    watchdog::{self, CAN_ADOPT},
};

/// A program that does not say whether it can take over for so long cannot.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// More of what it says is of no interest.
const MOST_SAID: u64 = 4096;

impl Manager {
    /// Asks the program first whether it can: nothing is given up before.
    pub(super) fn update(&self, program: PathBuf, replies: Replies) {
        let words = self.words.clone();
        tokio::spawn(async move {
            let check = move || can_adopt(&program).map(|()| program);
            let checked = tokio::task::spawn_blocking(check).await;
            let checked = checked.unwrap_or_else(|error| Err(error.to_string()));
            let _ = words.send(Word::Adoptable(checked, replies)).await;
        });
    }

    pub(super) fn update_checked(&mut self, checked: Result<PathBuf, String>, replies: Replies) {
        match checked {
            Ok(program) => {
                let text = "every app finishes what it has to do".to_owned();
                let _ = replies.try_send(AppResponse::Progress(text));
                self.leave(Next::Program(program), Some(replies));
            }
            Err(error) => refuse(&replies, error),
        }
    }
}

/// Runs it, and has it say so.
fn can_adopt(program: &Path) -> Result<(), String> {
    let version = watchdog::versions().end().to_string();
    let failed = |error| format!("{} cannot be executed: {error}", program.display());
    let (mut said, says) = pipe().map_err(failed)?;
    let errors = says.try_clone().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["daemon", "--can-adopt", &version]);
    command.stdin(Stdio::null()).stdout(says).stderr(errors);
    let mut child = command.spawn().map_err(failed)?;
    // Its copies of the pipe's end.
    drop(command);
    let until = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > until {
            end(&child);
            let _ = child.wait();
            return Err(format!("{} is no tine that can take over", program.display()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let status = child.wait().map_err(failed)?;
    let said = read(&mut said);
    let yes = status.success() && said.starts_with(&format!("{CAN_ADOPT}{version}:"));
    if yes { Ok(()) } else { Err(refusal(program, said.trim())) }
}

/// What is there, without waiting for who may still have the other end.
fn read(from: &mut std::io::PipeReader) -> String {
    let mut bytes = Vec::new();
    let _ = rustix::io::ioctl_fionbio(&*from, true);
    let _ = from.take(MOST_SAID).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn end(child: &std::process::Child) {
    use tine_linux::process::Process;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    // It was not waited for yet, so the number is its own.
    if let Some(process) = pid.and_then(|pid| Process::open(pid).ok()) {
        let _ = process.signal(rustix::process::Signal::KILL);
    }
}

fn refusal(program: &Path, said: &str) -> String {
    let program = program.display();
    match said.lines().next().and_then(|line| line.strip_prefix("tine: ")) {
        Some(reason) => format!("{program} cannot take over: {reason}; nothing was changed"),
        None => format!("{program} is no tine that can take over; nothing was changed"),
    }
}
