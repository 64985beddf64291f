//! The background manager with clients that do everything wrong, and homes that cannot be used.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    thread,
};

use crate::manager::{Manager, SOON, sleeper};
use rustix::process::{Pid, Signal, kill_process};
use tine::{
    api::apps::{AppRequest, Known, Status},
    client::{Client, ClientError},
};

struct Raw(BufReader<UnixStream>);

impl Raw {
    fn new(manager: &Manager) -> Self {
        manager.client();
        let stream = UnixStream::connect(manager.home.root().join("run/daemon.sock")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Self(BufReader::new(stream));
        let pid = manager.pid().unwrap();
        let hello = format!(r#"{{"hello":"tine","version":1,"manager_pid":{pid}}}"#);
        assert_eq!(raw.line(), hello);
        raw
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    fn write(&mut self, bytes: &[u8]) {
        // The manager may close in the middle of it.
        let _ = self.0.get_mut().write_all(bytes);
    }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nonsense_is_answered_and_the_conversation_goes_on() {
    let manager = Manager::new();
    let mut raw = Raw::new(&manager);
    for nonsense in [&b"\xff\xfe\x00"[..], b"{", b"[]", b"{\"request\":\"explode\"}", b""] {
        raw.write(nonsense);
        raw.write(b"\n");
        let answer = raw.line();
        assert!(
            answer.starts_with(r#"{"response":"error","body":"this is no request: "#),
            "{answer}"
        );
    }
    raw.write(b"{\"request\":\"list\",\"detail\":\"row\"}\n");
    assert_eq!(raw.line(), r#"{"response":"apps","body":[]}"#);
}

#[test]
fn a_request_without_end_is_cut_off_and_silent_clients_hold_up_nobody() {
    let manager = Manager::new();
    let _silent: Vec<Raw> = (0..20).map(|_| Raw::new(&manager)).collect();
    let mut bad = Raw::new(&manager);
    bad.write(&vec![b'x'; 5 << 20]);
    let line = bad.line();
    assert_eq!(line, r#"{"response":"error","body":"a line is longer than 4194304 bytes"}"#);
    let mut rest = Vec::new();
    let _ = bad.0.read_to_end(&mut rest);
    assert_eq!(manager.list(), []);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_request_changes_nothing_about_it() {
    let manager = Manager::new();
    let mut raw = Raw::new(&manager);
    let start = AppRequest::Start(crate::manager::start(vec![sleeper("one", 2)]));
    raw.write(&serde_json::to_vec(&start).unwrap());
    raw.write(b"\n");
    drop(raw);
    manager.until("both run", |apps| {
        apps.iter().any(|app| app.workers.iter().all(|it| it.status == Status::Online))
    });
}

#[test]
fn many_clients_ask_at_once_and_each_gets_its_own_answer() {
    let manager = Manager::new();
    manager.client();
    thread::scope(|scope| {
        for number in 0..8 {
            let manager = &manager;
            scope.spawn(move || {
                let name = format!("app-{number}");
                let done = manager.start(vec![sleeper(&name, 1)]).unwrap();
                assert_eq!((done[0].app.as_str(), &done[0].error), (&*name, &None));
            });
        }
    });
    let apps = manager.list();
    let mut ids: Vec<u32> = apps.iter().flat_map(crate::manager::ids).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..8).collect::<Vec<_>>());
}

#[test]
fn who_watches_hears_of_everything_and_of_the_end() {
    let manager = Manager::new();
    let mut events = manager.client().watch().unwrap();
    // The answer to a later request shows that the first one has been heard.
    manager.list();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let first = events.next().unwrap().unwrap();
    assert_eq!((&*first.app, &*first.what, first.id), ("one", "start", Some(0)));
    assert!(first.text.starts_with("started with pid "), "{}", first.text);
    manager.done(&AppRequest::KillManager);
    let rest: Vec<String> = events.map(|event| event.unwrap().what).collect();
    assert_eq!(rest.last().map(String::as_str), Some("stop"), "{rest:?}");
}

#[test]
fn the_socket_is_private_and_the_home_too() {
    let manager = Manager::new();
    manager.client();
    assert_eq!(mode(manager.home.root()), 0o700);
    assert_eq!(mode(&manager.home.root().join("run/daemon.sock")), 0o600);
    assert_eq!(mode(&manager.home.daemon_log()), 0o600);
}

#[test]
fn a_second_manager_is_refused_and_many_that_start_at_once_become_one() {
    let manager = Manager::new();
    let pids: Vec<u32> = thread::scope(|scope| {
        let start = || manager.client().manager_pid();
        let all: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    let second = manager.tine(&["daemon", "--foreground"]);
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(said, format!("tine: a manager runs already, with pid {}\n", pids[0]));
    assert_eq!(second.status.code(), Some(1));
}

#[test]
fn a_manager_of_another_version_is_named_with_what_to_do() {
    let manager = Manager::new();
    let directory = manager.home.run_dir().unwrap();
    let listener = UnixListener::bind(directory.daemon_socket()).unwrap();
    let old = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"hello\":\"tine\",\"version\":7,\"manager_pid\":42}\n").unwrap();
    });
    let error = Client::connect(&manager.home).unwrap_err();
    assert!(matches!(error, ClientError::Version { pid: 42, version: 7 }), "{error}");
    assert!(error.to_string().contains("run `tine save` and `tine kill`"), "{error}");
    old.join().unwrap();
}

#[test]
fn a_signal_ends_the_manager_with_its_apps_and_a_hangup_does_not() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let worker = manager.list()[0].workers[0].pid.and_then(Pid::from_raw).unwrap();
    let pid = manager.pid().unwrap();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        kill_process(pid, signal).unwrap();
    }
    assert_eq!(manager.list().len(), 1);
    kill_process(pid, Signal::TERM).unwrap();
    crate::manager::gone(pid);
    assert!(!crate::manager::is_there(worker));
    assert!(!manager.home.state_file().exists());
}

#[test]
fn nobody_waits_for_the_manager_who_waits_for_the_command_and_its_pipes() {
    let manager = Manager::new();
    let mut shell = Command::new("/bin/sh");
    // Descriptor 5 is a pipe to this test, which the shell leaves open for its children.
    shell.args(["-c", r#"exec 5>&1; "$TINE" daemon >/dev/null"#]);
    shell.env("TINE", env!("CARGO_BIN_EXE_tine")).env("TINE_HOME", manager.home.root());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pid = manager.pid().unwrap();
    let mut targets = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_pipe = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.unwrap().path()).unwrap_or_default();
        target.as_os_str().as_encoded_bytes().starts_with(b"pipe:")
    };
    assert!(!targets.any(is_pipe), "no pipe of the caller's is left");
}

#[test]
fn a_home_that_cannot_be_used_is_named() {
    let manager = Manager::new();
    fs::write(manager.root.join("home"), "a file").unwrap();
    let output = manager.tine(&["daemon"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("home is no directory"), "{said}");
}

/// A small file system of its own, which goes with the test.
pub(crate) struct Mount<'a>(&'a Manager, std::path::PathBuf);

impl<'a> Mount<'a> {
    /// `None` without the right to mount.
    pub(crate) fn new(manager: &'a Manager, options: &str) -> Option<Self> {
        let path = manager.root.join("home");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path);
        mount.status().is_ok_and(|status| status.success()).then_some(Self(manager, path))
    }

    pub(crate) fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(&self.1).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Its pid is in there.
        self.0.kill();
        let _ = Command::new("umount").arg("-l").arg(&self.1).status();
    }
}

#[test]
fn a_home_that_is_read_only_is_named_with_the_file() {
    let manager = Manager::new();
    let Some(mount) = Mount::new(&manager, "size=1m,mode=0700") else {
        return println!("skipped: needs the right to mount");
    };
    mount.remount("remount,ro");
    let output = manager.tine(&["daemon"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("Read-only file system"), "{said}");
}

/// The state that is written in the background would give back the room of the state before, after
/// the disk was filled. Where its new file is to be made is a directory from now on.
pub(crate) fn hold_state_file(manager: &Manager) -> std::path::PathBuf {
    let path = manager.home.root().join("state.json.new");
    while let Err(error) = fs::create_dir(&path) {
        // One is being written just now.
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        thread::yield_now();
    }
    path
}

#[test]
fn a_full_disk_ends_nothing_and_is_said_where_something_is_to_be_saved() {
    let manager = Manager::new();
    let Some(_mount) = Mount::new(&manager, "size=256k,mode=0700") else {
        return println!("skipped: needs the right to mount");
    };
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let save = AppRequest::Save { force: false, no_env: false };
    manager.done(&save);
    let saved = fs::read(manager.home.dump_file()).unwrap();
    let mut filler = fs::File::create(manager.home.root().join("filler")).unwrap();
    let mut fill = || while filler.write_all(&[0; 4096]).is_ok() {};
    let held = hold_state_file(&manager);
    fill();
    let error = manager.ask(&save).unwrap_err().to_string();
    assert!(error.contains("dump.json") && error.contains("No space left"), "{error}");
    assert_eq!(fs::read(manager.home.dump_file()).unwrap(), saved, "the old one is whole");
    fs::remove_dir(held).unwrap();
    fill();
    let mut again = crate::manager::start(vec![sleeper("one", 2)]);
    again.known = Known::Restart;
    manager.done(&AppRequest::Start(again));
    assert_eq!(manager.list()[0].workers.len(), 2);
    drop(filler);
    fs::remove_file(manager.home.root().join("filler")).unwrap();
    manager.done(&save);
    manager.done(&AppRequest::KillManager);
}
