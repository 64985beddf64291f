//! How a `tine` is started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build;
use crate::output::Output;
use crate::process::MARK;
use crate::scratch::Scratch;
use crate::spawn;
use crate::tine::Tine;
use crate::who::{NOBODY, Who, is_open_to_all, search_path};

/// A `tine` to be started: its arguments, its user and the files it finds in its folder.
#[derive(Debug)]
#[must_use = "nothing runs before start()"]
pub struct Run {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    files: Vec<(String, String)>,
    copies: Vec<PathBuf>,
    through: Vec<OsString>,
    denied: Option<&'static str>,
    who: Who,
}

impl Run {
    pub(crate) fn new(args: Vec<OsString>) -> Self {
        let (env, files) = (Vec::new(), Vec::new());
        let (copies, through) = (Vec::new(), Vec::new());
        Self { args, env, files, copies, through, denied: None, who: Who::Root }
    }

    /// A variable in the environment of `tine`, which holds no other but `PATH`, `HOME`, `LANG`,
    /// `TINE_HOME` and the run's mark.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A file, readable and executable by all, in the folder where `tine` runs.
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// A folder with copies of files that are in the run's own folder by [`Self::file`].
    pub fn folder(mut self, folder: &str, names: &[&str]) -> Self {
        let wanted = |file: &&(String, String)| names.contains(&file.0.as_str());
        let copies = self.files.iter().filter(wanted);
        let copies = copies.map(|(name, text)| (format!("{folder}/{name}"), text.clone()));
        let copies: Vec<(String, String)> = copies.collect();
        self.files.extend(copies);
        self
    }

    /// A copy, under its own name, of a file or folder.
    pub fn copy(mut self, from: impl Into<PathBuf>) -> Self {
        self.copies.push(from.into());
        self
    }

    /// Started by this command, which gets the path of `tine` and its arguments as its last words:
    /// `prlimit --nofile=64`, `env -u HOME`.
    pub fn through(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.through = words.into_iter().map(Into::into).collect();
        self
    }

    /// Under a filter that answers `EPERM` to this system call, as a container's profile does:
    /// `seccomp` or `pidfd_getfd`.
    pub fn without(mut self, call: &'static str) -> Self {
        self.denied = Some(call);
        self
    }

    /// As [`Who::User`] instead of the user who runs the tests.
    pub fn as_user(self) -> Self {
        self.as_who(Who::User)
    }

    /// As this user.
    pub fn as_who(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// Starts it. It dies with the thread that called this, should a test end without cleaning up.
    #[must_use]
    pub fn start(self) -> Tine {
        self.look_for_python();
        let scratch = self.furnish().expect("/tmp is writable");
        let launcher = Launcher::new((self.who, self.denied), self.env, &scratch);
        let (child, output) =
            launcher.spawn((scratch.path(), &scratch.mark()), &self.through, &self.args);
        Tine::new(child, output, scratch, launcher)
    }

    /// Most of the small programs here are python's, because it has the system calls as they are.
    fn look_for_python(&self) {
        let words = self.args.iter().chain(&self.through);
        let mut words = words.map(|word| word.to_string_lossy());
        let is_script = |word: &str| Path::new(word).extension().is_some_and(|it| it == "py");
        let is_python = |word: &str| word.contains("python3") || is_script(word);
        if self.denied.is_some() || words.any(|word| is_python(&word)) {
            crate::needs("python3");
        }
    }

    fn furnish(&self) -> std::io::Result<Scratch> {
        let scratch = Scratch::new(self.who)?;
        for (name, text) in &self.files {
            scratch.write(name, text)?;
        }
        for path in &self.copies {
            scratch.copy(path)?;
        }
        Ok(scratch)
    }
}

/// Starts any number of `tine` commands for one user, in one folder, with one home.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    who: Who,
    env: Vec<(OsString, OsString)>,
    denied: Option<&'static str>,
    program: PathBuf,
}

/// Gives the file what `tine doctor` tells to give it.
fn capable(program: PathBuf) -> PathBuf {
    let mut setcap = Command::new("setcap");
    let child = spawn::spawn(setcap.arg("cap_bpf,cap_perfmon+ep").arg(&program));
    let status = child.and_then(|mut child| child.wait());
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "setcap: {status:?}");
    program
}

/// Denies the system call named first to the program that it becomes.
const DENY: &str = include_str!("deny.py");

impl Launcher {
    fn new(
        (who, denied): (Who, Option<&'static str>),
        env: Vec<(OsString, OsString)>,
        scratch: &Scratch,
    ) -> Self {
        Self::of(&build::tine(), (who, denied), env, scratch)
    }

    /// One that starts this `tine`.
    pub(crate) fn of(
        built: &Path,
        (who, denied): (Who, Option<&'static str>),
        env: Vec<(OsString, OsString)>,
        scratch: &Scratch,
    ) -> Self {
        let copy = || scratch.copy(built).expect("/tmp has room for tine");
        let program = match who {
            Who::Capable => capable(copy()),
            Who::User if who.drops_rights() && !is_open_to_all(built) => copy(),
            Who::Root | Who::User => built.to_owned(),
        };
        Self { who, env, denied, program }
    }

    pub(crate) fn spawn(
        &self,
        (folder, mark): (&Path, &str),
        through: &[OsString],
        args: &[OsString],
    ) -> (std::process::Child, Output) {
        let mut command = self.command(folder, through);
        command.args(args).env(MARK, mark);
        let mut child =
            spawn::spawn(&mut command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("it was asked to be a pipe");
        let stderr = child.stderr.take().expect("it was asked to be a pipe");
        (child, Output::collect(stdout, stderr))
    }

    /// setpriv(1) changes the user, asks for death with the parent, and becomes `tine`.
    fn command(&self, folder: &Path, through: &[OsString]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if self.who.drops_rights() {
            let nobody = NOBODY.to_string();
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        }
        if let Some(call) = self.denied {
            command.args(["python3", "-c", DENY, call]);
        }
        command.args(through).arg(&self.program);
        command.env_clear().env("PATH", search_path()).env("LANG", "C.UTF-8");
        command.env("HOME", folder).env("TINE_HOME", folder.join(".tine"));
        command.envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
