//! A background manager of a test's own, which ends with the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tine::{
    api::{
        apps::{AppRequest, AppResponse, AppView, Detail, Known, Outcome, Start, Targets},
        reload::Rolling,
    },
    client::{Client, ClientError},
    home::Home,
    spec::{Instances, Patch},
};
use tine_linux::tree::{self, Table};

/// Anything takes less.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// A home of a test's own.
pub(crate) struct Manager {
    pub(crate) root: PathBuf,
    pub(crate) home: Home,
}

impl Manager {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(format!("tine-daemon-{pid}-{number}"));
        fs::DirBuilder::new().mode(0o700).create(&root).expect("a name of this test's own");
        Self::at(root)
    }

    pub(crate) fn at(root: PathBuf) -> Self {
        Self { home: Home::at(root.join("home")), root }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tine"));
        command.args(args).env("TINE_HOME", self.home.root());
        command
    }

    pub(crate) fn tine(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program is built")
    }

    /// A conversation with the manager, which is started if need be.
    pub(crate) fn client(&self) -> Client {
        if let Some(client) = Client::connect(&self.home).expect("a manager of this version") {
            return client;
        }
        let output = self.tine(&["daemon"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Client::connect(&self.home).expect("it speaks").expect("it was started")
    }

    pub(crate) fn ask(&self, request: &AppRequest) -> Result<AppResponse, ClientError> {
        self.client().ask(request, &mut |_| {})
    }

    pub(crate) fn done(&self, request: &AppRequest) -> Vec<Outcome> {
        match self.ask(request).expect("it is carried out") {
            AppResponse::Done(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn list(&self) -> Vec<AppView> {
        self.list_of(&[], Detail::Full)
    }

    pub(crate) fn list_of(&self, targets: &[&str], detail: Detail) -> Vec<AppView> {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        match self.ask(&AppRequest::List { detail, targets }).expect("a list") {
            AppResponse::Apps(apps) => apps,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start(&self, apps: Vec<Patch>) -> Result<Vec<Outcome>, ClientError> {
        match self.ask(&AppRequest::Start(start(apps)))? {
            AppResponse::Done(outcomes) => Ok(outcomes),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until something is so in the list.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&[AppView]) -> bool) -> Vec<AppView> {
        let deadline = Instant::now() + SOON;
        loop {
            let apps = self.list();
            if is_so(&apps) {
                return apps;
            }
            assert!(Instant::now() < deadline, "never so: {what}: {apps:#?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.home.root().join("run/daemon.lock")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}

impl Manager {
    /// Ends it in whatever way, with its watchdog and all that they have started.
    pub(crate) fn kill(&self) {
        let deadline = Instant::now() + SOON;
        while let Some(pid) = self.pid().filter(|pid| is_manager(*pid)) {
            let first = first_of(pid);
            // Stopped, so that it cannot have another one follow, nor that one another worker.
            for one in [first, pid] {
                let _ = kill_process(one, Signal::STOP);
            }
            let members = Table::read(None).unwrap_or_default().members(Some(first), None);
            tree::signal_all(&members, Signal::KILL);
            let _ = kill_process(first, Signal::KILL);
            assert!(Instant::now() < deadline, "the manager of {first} lives on");
        }
    }

    /// The process above the manager.
    pub(crate) fn watchdog(&self) -> Pid {
        first_of(self.pid().unwrap())
    }
}

/// The watchdog of this manager; itself, if it has none.
fn first_of(manager: Pid) -> Pid {
    let parent = tree::entry(manager).ok().and_then(|entry| entry.parent);
    parent.filter(|pid| is_manager(*pid)).unwrap_or(manager)
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Waits until the process is gone.
pub(crate) fn gone(pid: Pid) {
    let deadline = Instant::now() + SOON;
    while is_there(pid) {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::yield_now();
    }
}

/// A number in an old lock may have come to mean another process.
fn is_manager(pid: Pid) -> bool {
    if !is_there(pid) {
        return false;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("daemon")
}

/// Zombies are gone.
pub(crate) fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}

pub(crate) fn start(apps: Vec<Patch>) -> Start {
    let inherited = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").expect("a path"))]);
    Start {
        apps,
        inherited,
        known: Known::Refuse,
        update_env: false,
        whole: false,
        idle: BTreeSet::new(),
        rolling: Rolling::default(),
    }
}

pub(crate) fn targets(targets: &[&str]) -> Targets {
    Targets::of(targets.iter().map(|target| (*target).to_owned()).collect())
}

/// An app that runs a line of shell.
pub(crate) fn shell(name: &str, line: &str) -> Patch {
    let mut patch = Patch::new();
    patch.set("name", name);
    patch.set("script", "/bin/sh");
    patch.set("args", ["-c", line]);
    patch.set("cwd", "/");
    patch.set("min_uptime", 100);
    patch
}

/// An app that stays until it is told to go.
pub(crate) fn sleeper(name: &str, instances: u32) -> Patch {
    let mut patch = shell(name, "exec sleep 1000");
    patch.set("instances", Instances::Count(instances));
    patch
}

/// Ends the test as one that cannot run here where there is no python: the runner knows the line.
pub(crate) fn needs_python() {
    if std::process::Command::new("python3").arg("-V").output().is_err() {
        println!("SKIP! no python3 here");
        std::panic::resume_unwind(Box::new("skipped"));
    }
}

/// An app that serves on a port of its own choice.
pub(crate) fn server(name: &str, port: u16, instances: u32) -> Patch {
    needs_python();
    let mut patch = Patch::new();
    patch.set("name", name);
    patch.set("script", "python3");
    patch.set("args", ["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
    patch.set("cwd", "/usr/share");
    patch.set("instances", Instances::Count(instances));
    // Ready when it listens: one that merely runs on counts as ready after this.
    patch.set("min_uptime", 60_000);
    patch
}

pub(crate) fn ids(app: &AppView) -> Vec<u32> {
    app.workers.iter().map(|worker| worker.id).collect()
}

pub(crate) fn pids(app: &AppView) -> Vec<Option<i32>> {
    app.workers.iter().map(|worker| worker.pid).collect()
}
