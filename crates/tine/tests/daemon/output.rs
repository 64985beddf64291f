//! What workers of the background manager write: files, last lines, pid files; and what watches them.

use std::fs;

use crate::manager::{Manager, shell, sleeper, targets};
use tine::{
    api::apps::{AppRequest, Change, Status},
    spec::{Action, Instances, Watch},
};

#[test]
fn each_stream_of_each_worker_has_its_file_and_last_lines_are_told() {
    let manager = Manager::new();
    let mut patch = shell("one", "echo out; echo err >&2; exec sleep 1000");
    patch.set("instances", Instances::Count(2));
    manager.start(vec![patch]).unwrap();
    let apps = manager.until("both have written", |apps| {
        let lines = &apps[0].full.as_ref().unwrap().last_lines;
        lines.values().all(|lines| lines.len() == 2)
    });
    for worker in &apps[0].workers {
        let read = |path: &Option<std::path::PathBuf>| fs::read_to_string(path.as_ref().unwrap());
        assert_eq!(read(&worker.out_log).unwrap(), "out\n");
        assert_eq!(read(&worker.err_log).unwrap(), "err\n");
    }
    let (out, other) = (&apps[0].workers[0].out_log, &apps[0].workers[1].out_log);
    assert_ne!(out, other);
    manager.done(&AppRequest::Flush(targets(&["0"])));
    manager.until("it is empty", |_| fs::metadata(out.as_ref().unwrap()).unwrap().len() == 0);
    assert_eq!(fs::read_to_string(other.as_ref().unwrap()).unwrap(), "out\n");
}

#[test]
fn moved_files_are_opened_anew_when_that_is_asked_for() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let log = manager.list()[0].workers[0].out_log.clone().unwrap();
    fs::rename(&log, manager.root.join("moved.log")).unwrap();
    manager.done(&AppRequest::ReopenLogs);
    manager.until("it is there again", |_| log.exists());
}

#[test]
fn a_start_that_fails_is_told_with_the_last_lines() {
    let manager = Manager::new();
    let mut patch = shell("bad", "echo no database >&2; exit 1");
    patch.set("max_restarts", 1);
    let done = manager.start(vec![patch]).unwrap();
    assert!(done[0].error.is_some());
    assert_eq!(done[0].last_lines, ["no database"]);
}

#[test]
fn a_reload_that_fails_is_told_with_the_last_lines_of_the_new_worker() {
    let manager = Manager::new();
    manager.start(vec![shell("one", "echo old; exec sleep 1000")]).unwrap();
    let mut change = Change { targets: vec!["one".into()], ..Change::default() };
    change.patch.set("args", ["-c", "echo new; exit 1"]);
    let done = manager.done(&AppRequest::Reload(change));
    assert_eq!(done[0].last_lines, ["new"]);
    let apps = manager.list();
    assert!(apps[0].note.as_ref().unwrap().starts_with("the last reload failed"));
    assert_eq!(apps[0].workers[0].status, Status::Online);
}

#[test]
fn the_pid_is_in_a_file_while_the_worker_runs() {
    let manager = Manager::new();
    let mut patch = sleeper("one", 1);
    patch.set("pid_file", manager.root.join("one.pid"));
    manager.start(vec![patch]).unwrap();
    let worker = manager.list()[0].workers[0].clone();
    let file = manager.root.join("one-0.pid");
    assert_eq!(worker.pid_file.as_ref(), Some(&file));
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), worker.pid.unwrap().to_string());
    manager.done(&AppRequest::Stop(targets(&["one"])));
    assert!(!file.exists());
}

#[test]
fn a_changed_file_restarts_the_app_and_that_is_the_reason() {
    let manager = Manager::new();
    let watched = manager.root.join("watched");
    fs::create_dir(&watched).unwrap();
    let mut patch = sleeper("one", 1);
    let paths = vec![watched.clone()];
    let watch = Watch { paths, action: Action::Restart, ..Watch::default() };
    patch.set("watch", watch);
    manager.start(vec![patch]).unwrap();
    let apps = manager.until("it is restarted", |apps| {
        fs::write(watched.join("file"), "changed").unwrap();
        apps[0].workers[0].restarts_by_reason.contains_key("watch")
    });
    assert!(apps[0].watching);
}

#[test]
fn what_a_worker_takes_is_shown_and_too_much_of_it_is_a_reason() {
    let manager = Manager::new();
    let mut patch = sleeper("one", 1);
    patch.set("max_memory_restart", 1000);
    manager.start(vec![patch]).unwrap();
    let apps = manager.until("it is replaced", |apps| {
        apps[0].workers[0].restarts_by_reason.contains_key("memory")
    });
    assert!(apps[0].workers[0].memory > 1000, "{apps:?}");
}
