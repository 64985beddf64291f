//! What a service manager does at a boot, with the command line of the unit that `tine startup` writes.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Stdio},
};

use crate::manager::{Manager, SOON, gone, sleeper, targets};
use tine::api::apps::{AppRequest, Status};

/// What the unit executes, without the path of the program.
fn exec_start(manager: &Manager) -> Vec<String> {
    let shown = manager.tine(&["startup", "systemd", "--dry-run"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line = shown.lines().find_map(|line| line.trim().strip_prefix("ExecStart=")).unwrap();
    line.split_whitespace().skip(1).map(ToOwned::to_owned).collect()
}

/// Starts the service as systemd would, and waits until it says that it has started.
fn boot(manager: &Manager) -> Child {
    let path = manager.root.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let args = exec_start(manager);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut service = manager.command(&args);
    service.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(Stdio::null());
    let service = service.spawn().unwrap();
    let mut word = [0; 64];
    let length = socket.recv(&mut word).expect("it says that it is ready");
    assert_eq!(&word[..length], b"READY=1");
    fs::remove_file(path).unwrap();
    service
}

fn statuses(manager: &Manager) -> Vec<(String, Vec<Status>)> {
    let apps = manager.list();
    let of = |app: &tine::api::apps::AppView| app.workers.iter().map(|it| it.status).collect();
    apps.iter().map(|app| (app.name.clone(), of(app))).collect()
}

fn shut_down(manager: &Manager, service: Child) {
    let pid = manager.pid().unwrap();
    let watchdog = rustix::process::Pid::from_child(&service);
    rustix::process::kill_process(watchdog, rustix::process::Signal::TERM).unwrap();
    assert!({ service }.wait().unwrap().success());
    gone(pid);
}

#[test]
fn at_a_boot_what_was_saved_runs_once_and_what_was_stopped_stays_stopped() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 2), sleeper("two", 1)]).unwrap();
    manager.done(&AppRequest::Stop(targets(&["two"])));
    manager.done(&AppRequest::Save { force: false, no_env: false });
    let state = manager.home.state_file();
    manager.until("the state is written", |_| {
        fs::read_to_string(&state).is_ok_and(|text| text.contains("\"wanted\":false"))
    });
    // As after a power cut: the list of what ran is there as well, with numbers of another boot's.
    let left = fs::read_to_string(&state).unwrap();
    let pid = manager.pid().unwrap();
    manager.done(&AppRequest::KillManager);
    gone(pid);
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&state, left.replace(boot_id.trim(), "another")).unwrap();
    let saved = vec![
        ("one".to_owned(), vec![Status::Online, Status::Online]),
        ("two".to_owned(), vec![Status::Stopped]),
    ];
    let service = boot(&manager);
    assert_eq!(statuses(&manager), saved);
    shut_down(&manager, service);
    // And after an orderly end, when the saved list alone is there.
    assert!(!state.exists());
    let service = boot(&manager);
    assert_eq!(statuses(&manager), saved);
    shut_down(&manager, service);
}

#[test]
fn a_service_with_nothing_saved_has_started_all_the_same() {
    let manager = Manager::new();
    let service = boot(&manager);
    assert_eq!(manager.list(), []);
    shut_down(&manager, service);
}
