//! A background manager with a home of its own, or another's manager in its place.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::build;
use crate::desk::Desk;
use crate::process::{self, MARK, Process};
use crate::run::Launcher;
use crate::scratch::Scratch;
use crate::spawn;
use crate::tine::{Exit, eventually};
use crate::who::{Who, search_path};

/// A folder with a `TINE_HOME` in it, whose manager is started by `tine start` as people do it.
/// Dropping it kills all that was started here.
#[derive(Debug)]
pub struct Home {
    scratch: Scratch,
    launcher: Launcher,
}

impl Home {
    /// One of this user's own.
    #[must_use]
    pub fn new(who: Who) -> Self {
        Self::with(&build::tine(), who)
    }

    /// One where this `tine` is used.
    #[must_use]
    pub fn with(tine: &Path, who: Who) -> Self {
        let scratch = Scratch::new(who).expect("/tmp is writable");
        let launcher = Launcher::of(tine, (who, None), Vec::new(), &scratch);
        Self { scratch, launcher }
    }

    /// One of this user's, where a filter answers `EPERM` to this system call: `pidfd_getfd`, say.
    #[must_use]
    pub fn without(call: &'static str, who: Who) -> Self {
        crate::needs("python3");
        let scratch = Scratch::new(who).expect("/tmp is writable");
        let launcher = Launcher::of(&build::tine(), (who, Some(call)), Vec::new(), &scratch);
        Self { scratch, launcher }
    }

    /// One of this user's, with these variables in the environment of every command. `{}` in one is the
    /// [`Self::folder`].
    #[must_use]
    pub fn with_env(who: Who, env: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(who).expect("/tmp is writable");
        let folder = scratch.path().display().to_string();
        let env =
            env.iter().map(|(name, value)| ((*name).into(), value.replace("{}", &folder).into()));
        let launcher = Launcher::of(&build::tine(), (who, None), env.collect(), &scratch);
        Self { scratch, launcher }
    }

    /// Where everything here runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// What the processes started here have in their environment.
    #[must_use]
    pub fn mark(&self) -> String {
        self.scratch.mark()
    }

    /// A `tine` command, run to its end.
    #[must_use]
    pub fn tine(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Exit {
        self.desk().ask(args)
    }

    /// Where any thread can ask.
    #[must_use]
    pub fn desk(&self) -> Desk {
        let folder = self.scratch.path().to_owned();
        Desk { launcher: self.launcher.clone(), folder, mark: self.scratch.mark() }
    }

    /// Puts a file here, in place of one of this name: who reads it meanwhile has the one or the other.
    pub fn write(&self, name: &str, text: &str) {
        let new = format!("{name}.new");
        let written = self.scratch.write(&new, text);
        let folder = self.scratch.path();
        let renamed = written.and_then(|()| fs::rename(folder.join(&new), folder.join(name)));
        renamed.expect("/tmp is writable");
    }

    /// Copies a file or folder here, under its own name.
    pub fn copy(&self, from: &Path) {
        self.scratch.copy(from).expect("/tmp is writable");
    }

    /// Another program in this folder, as the user who runs the tests, to be started by the caller.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let folder = self.scratch.path();
        let mut command = Command::new(program);
        command.env_clear().env("PATH", search_path()).env("LANG", "C.UTF-8").env("HOME", folder);
        command.env(MARK, self.scratch.mark()).current_dir(folder).stdin(Stdio::null());
        command
    }

    /// Likewise, started in a session of its own with its output in a file of this name.
    pub fn spawn(&self, command: &Command, output: &str) -> io::Result<Child> {
        let file = fs::File::create(self.scratch.path().join(output))?;
        let mut own = self.command("setsid");
        own.arg(command.get_program()).args(command.get_args());
        own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        spawn::spawn(own.stdout(file.try_clone()?).stderr(file))
    }

    /// The pid of the background manager, when one runs.
    #[must_use]
    pub fn manager(&self) -> Option<u32> {
        let file = self.scratch.path().join(".tine/run/daemon.lock");
        let pid: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        process::is_alive(pid).then_some(pid)
    }

    /// The pid of the manager's watchdog, when both run.
    #[must_use]
    pub fn watchdog(&self) -> Option<u32> {
        Process::read(self.manager()?).map(|manager| manager.parent)
    }

    /// Kills a process that was started here with SIGKILL, and waits until it is gone.
    pub fn kill(&self, pid: u32) {
        self.signal(pid, Signal::KILL);
        eventually("the killed process is gone", || !process::is_alive(pid));
    }

    /// Signals a process that was started here.
    pub fn signal(&self, pid: u32, signal: Signal) {
        let mine = process::marked(&self.mark()).into_iter().find(|process| process.pid == pid);
        // It may have ended by itself.
        if let Some(process) = mine {
            process.signal(signal);
        }
    }

    /// Kills all that was started here, whoever's child it has become.
    pub fn clear(&self) {
        sweep(&self.mark());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The manager ends its apps in good order, with what they have in the kernel.
        if self.manager().is_some() {
            drop(self.tine(["kill", "-s"]));
        }
        self.clear();
    }
}

/// Kills whoever was started in the [`Home`] of this [mark](Home::mark), until nobody is left.
pub fn sweep(mark: &str) {
    loop {
        let left = process::marked(mark);
        if left.is_empty() {
            return;
        }
        for process in &left {
            process.signal(Signal::KILL);
        }
        for process in &left {
            process.ends_within(std::time::Duration::from_millis(200));
        }
    }
}
