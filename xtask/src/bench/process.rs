//! Processes that a benchmark starts: each in a group of its own, drained, and stopped for certain.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use super::guard::Guard;

/// How long a stop may take before it is made with SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(15);
/// How long a start may take.
const START: Duration = Duration::from_secs(30);
/// How many lines an error quotes.
const QUOTED: usize = 8;

/// A process, by descriptor, and its process group, which it leads.
pub(crate) struct Target {
    pid: Pid,
    fd: OwnedFd,
}

impl Target {
    pub(crate) fn open(pid: Pid) -> Result<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty()).context("open a pidfd")?;
        Ok(Self { pid, fd })
    }

    /// Asks it to stop. SIGTERM, because a job that a shell started in the background, and all it
    /// starts, ignores SIGINT.
    pub(crate) fn terminate(&self) {
        // Only one that has ended refuses a signal from its owner, and that is what is wanted.
        let _ = pidfd_send_signal(&self.fd, Signal::TERM);
    }

    /// Waits until it has ended or the deadline is there, then kills what is left of it and of its
    /// group: a primary may leave a worker that does not listen to it.
    pub(crate) fn end(&self, deadline: Instant) {
        if !self.ended_within(deadline.saturating_duration_since(Instant::now())) {
            let _ = pidfd_send_signal(&self.fd, Signal::KILL);
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended_within(Duration::ZERO)
    }

    /// `poll(2)` on the pidfd: readable once the process has ended, reaped or not.
    fn ended_within(&self, time: Duration) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
        let tv_nsec = i64::from(time.subsec_nanos());
        let limit = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec };
        matches!(poll(&mut fds, Some(&limit)), Ok(1))
    }
}

/// A started process. Dropping it stops it and waits.
pub(crate) struct Running {
    target: Target,
    /// `None` for a daemon that made itself someone else's child.
    child: Option<Child>,
    lines: Receiver<String>,
}

/// A command that leads a session of its own, as services do: with autogroups (sched(7)) the scheduler
/// shares the processors out among sessions first, and a contender is not to share with its clients.
pub(crate) fn leader(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setsid");
    command.arg(program);
    command
}

impl Running {
    /// Starts a command that [`leader`] began, told to the guard, with its output read from now on. The
    /// standard input is left as the command has it.
    pub(crate) fn start(guard: &Guard, mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let named = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("start {named}"))?;
        let pid = Pid::from_child(&child);
        // Whatever fails from here on, one of the two will stop the child.
        let watched = guard.watch(pid);
        let (sender, lines) = mpsc::channel();
        drain(child.stdout.take(), sender.clone());
        drain(child.stderr.take(), sender);
        let running = Self { target: Target::open(pid)?, child: Some(child), lines };
        watched?;
        Ok(running)
    }

    /// Takes charge of a daemon that leads its own process group.
    pub(crate) fn adopt(guard: &Guard, pid: Pid) -> Result<Self> {
        guard.watch(pid)?;
        let (_, lines) = mpsc::channel();
        Ok(Self { target: Target::open(pid)?, child: None, lines })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.target.pid
    }

    /// Waits for `count` lines of output that contain `needle`. An end before that, or silence for
    /// half a minute, is an error that quotes the last lines.
    pub(crate) fn wait_for(&self, needle: &str, count: usize) -> Result<()> {
        let deadline = Instant::now() + START;
        let mut seen = 0;
        let mut last = VecDeque::new();
        while seen < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    seen += usize::from(line.contains(needle));
                    remember(&mut last, line);
                }
                Err(RecvTimeoutError::Timeout) => bail!("not ready in time{}", quote(&last)),
                Err(RecvTimeoutError::Disconnected) => bail!("ended{}", quote(&last)),
            }
        }
        Ok(())
    }

    /// An error that quotes its output if it has ended.
    pub(crate) fn must_be_alive(&self) -> Result<()> {
        if self.target.has_ended() {
            let last: VecDeque<_> = self.lines.try_iter().collect();
            bail!("ended{}", quote(&last));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.target.terminate();
        // The group dies before its leader is reaped: until then its number cannot be given anew.
        self.target.end(Instant::now() + GRACE);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// Reads a pipe to its end, so that no server ever waits for a reader.
fn drain(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody asks for lines any more once it runs; they are read all the same.
            let _ = lines.send(line);
        }
    });
}

fn remember(last: &mut VecDeque<String>, line: String) {
    if last.len() == QUOTED {
        last.pop_front();
    }
    last.push_back(line);
}

fn quote(last: &VecDeque<String>) -> String {
    let skipped = last.len().saturating_sub(QUOTED);
    last.iter().skip(skipped).fold(String::new(), |text, line| text + "\n    " + line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn an_error_quotes_the_last_lines_only() {
        let mut last = VecDeque::new();
        for number in 0..20 {
            remember(&mut last, number.to_string());
        }
        assert_eq!(last.len(), QUOTED);
        assert_eq!(quote(&last).lines().last(), Some("    19"));
    }

    #[test]
    fn a_group_dies_with_its_leader() {
        let script = "sh -c 'echo inner $$; exec sleep 60' & exec cat";
        let mut leader = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh is there");
        let mut line = String::new();
        let mut output = BufReader::new(leader.stdout.take().expect("it is piped"));
        output.read_line(&mut line).expect("the inner shell tells its pid");
        let inner = line.trim().strip_prefix("inner ").and_then(|pid| pid.parse().ok());
        let inner = Target::open(inner.and_then(Pid::from_raw).expect("a pid")).expect("alive");

        let target = Target::open(Pid::from_child(&leader)).expect("alive");
        target.terminate();
        target.end(Instant::now() + GRACE);
        leader.wait().expect("it is our child");
        assert!(inner.ended_within(Duration::from_secs(5)));
    }
}
