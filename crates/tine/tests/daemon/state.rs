//! What a manager leaves for the next one, and lists that are saved, brought back and applied.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::manager::{Manager, ids, is_there, pids, sleeper, targets};
use rustix::process::{Pid, Signal, kill_process};
use tine::{
    api::apps::{AppRequest, AppView, Detail, Status},
    client::Client,
    spec::{Env, Patch},
};

const SAVE: AppRequest = AppRequest::Save { force: false, no_env: false };

fn end(manager: &Manager) {
    let pid = manager.pid().unwrap();
    manager.done(&AppRequest::KillManager);
    crate::manager::gone(pid);
}

/// What a list is to be again after it was brought back.
fn shape(apps: &[AppView]) -> Vec<(String, Vec<u32>, Vec<Status>, Env)> {
    let one = |app: &AppView| {
        let statuses = app.workers.iter().map(|worker| worker.status).collect();
        (app.name.clone(), ids(app), statuses, app.spec.as_ref().unwrap().inherited.clone())
    };
    apps.iter().map(one).collect()
}

#[test]
fn what_was_saved_is_there_again_with_its_numbers_and_what_was_stopped_stays_stopped() {
    let manager = Manager::new();
    manager.start(vec![sleeper("gone", 1), sleeper("one", 3), sleeper("two", 2)]).unwrap();
    manager.done(&AppRequest::Delete(targets(&["gone"])));
    manager.done(&AppRequest::Stop(targets(&["two", "2"])));
    let before = shape(&manager.list());
    assert_eq!(manager.done(&SAVE).len(), 2);
    let dump = manager.home.dump_file();
    assert_eq!(fs::metadata(&dump).unwrap().permissions().mode() & 0o777, 0o600);
    end(&manager);
    assert_eq!(manager.list(), []);
    manager.done(&AppRequest::Resurrect);
    assert_eq!(shape(&manager.list()), before);
    let pids = || manager.list().iter().map(crate::manager::pids).collect::<Vec<_>>();
    let there = pids();
    let said = manager.done(&AppRequest::Resurrect);
    assert!(said.iter().all(|outcome| outcome.done == "is there already") && said.len() == 2);
    assert_eq!(pids(), there, "what is there is left alone");
    manager.done(&AppRequest::ClearDump);
    let error = manager.ask(&AppRequest::Resurrect).unwrap_err().to_string();
    assert_eq!(error, "there is no saved list; `tine save` makes one");
}

#[test]
fn a_broken_list_is_set_aside_and_the_one_before_is_taken() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    manager.done(&SAVE);
    manager.done(&SAVE);
    manager.done(&AppRequest::Delete(targets(&["all"])));
    fs::write(manager.home.dump_file(), "{\"version\":1").unwrap();
    let mut said = Vec::new();
    manager
        .client()
        .ask(&AppRequest::Resurrect, &mut |news| said.push(news.text().to_owned()))
        .unwrap();
    assert!(said[0].contains("was set aside as"), "{said:?}");
    assert_eq!(manager.list()[0].name, "one");
    assert!(!manager.home.dump_file().exists());
}

#[test]
fn an_empty_list_is_saved_only_by_force_and_secrets_can_be_left_out() {
    let manager = Manager::new();
    let error = manager.ask(&SAVE).unwrap_err().to_string();
    assert!(error.contains("--force"), "{error}");
    manager.done(&AppRequest::Save { force: true, no_env: false });
    let mut secret = sleeper("one", 1);
    secret.set("env", serde_json::json!({"PASSWORD": "xyzzy"}));
    manager.start(vec![secret]).unwrap();
    manager.done(&AppRequest::Save { force: false, no_env: true });
    assert!(!fs::read_to_string(manager.home.dump_file()).unwrap().contains("xyzzy"));
    manager.done(&AppRequest::Delete(targets(&["all"])));
    let done = manager.done(&AppRequest::Resurrect);
    assert_eq!(done[0].error, None);
}

/// The state is written by and by.
fn until_noted(manager: &Manager, what: &str) {
    manager.until(what, |_| {
        fs::read_to_string(manager.home.state_file()).is_ok_and(|text| text.contains(what))
    });
}

#[test]
fn a_state_that_is_broken_is_set_aside_and_one_of_a_newer_tine_is_refused() {
    let manager = Manager::new();
    manager.client();
    end(&manager);
    fs::write(manager.home.state_file(), "nonsense").unwrap();
    assert_eq!(manager.list(), []);
    let names = fs::read_dir(manager.home.root()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().starts_with("state.json.broken-"));
    assert_eq!(aside.count(), 1);
    end(&manager);
    fs::write(manager.home.state_file(), "{\"version\":99}").unwrap();
    let error = Client::connect_or_start_with(&manager.home, env!("CARGO_BIN_EXE_tine").as_ref());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("written by a newer tine (version 99"), "{error}");
}

#[test]
fn a_file_is_applied_what_is_unchanged_is_untouched_and_what_is_gone_goes() {
    let manager = Manager::new();
    let origin = PathBuf::from("/etc/tine.toml");
    let apply = |apps: Vec<Patch>, prune: bool, dry_run: bool| {
        let inherited = crate::manager::start(Vec::new()).inherited;
        let origin = origin.clone();
        let request = AppRequest::Apply { apps, inherited, prune, origin, dry_run };
        let mut said = Vec::new();
        let answer = manager.client().ask(&request, &mut |news| said.push(news.text().to_owned()));
        (answer.map(|answer| format!("{answer:?}")), said)
    };
    let first = vec![sleeper("one", 1), sleeper("two", 1)];
    let (_, said) = apply(first.clone(), false, true);
    assert_eq!(said, ["one: new", "two: new"]);
    assert_eq!(manager.list(), [], "nothing is done");
    apply(first.clone(), false, false).0.unwrap();
    let before = manager.list();
    let mut changed = sleeper("two", 2);
    changed.set("kill_timeout", 100);
    let (_, said) = apply(vec![sleeper("one", 2), changed], false, false);
    assert_eq!(said[0], "one: instances {\"count\":1} → {\"count\":2}");
    let after = manager.list();
    assert_eq!(pids(&after[0])[0], pids(&before[0])[0], "only the count was different");
    assert_ne!(pids(&after[1])[0], pids(&before[1])[0]);
    assert_eq!((ids(&after[0]), ids(&after[1])), (vec![0, 2], vec![1, 3]));
    let again = vec![sleeper("one", 2)];
    apply(again.clone(), false, false).0.unwrap();
    assert_eq!(pids(&manager.list()[0]), pids(&after[0]));
    assert_eq!(manager.list_of(&["two"], Detail::Row).len(), 1, "it is kept without prune");
    apply(again, true, false).0.unwrap();
    assert_eq!(manager.list().len(), 1);
    let mut bad = sleeper("bad", 1);
    bad.set("script", "/no/such");
    let (answer, _) = apply(vec![bad], true, false);
    assert!(answer.unwrap_err().to_string().starts_with("bad: "));
    assert_eq!(manager.list()[0].name, "one", "refused as a whole");
}

#[test]
fn after_a_kill_of_the_watchdog_and_the_manager_nothing_runs_twice_either() {
    let manager = Manager::new();
    let child = manager.root.join("child");
    let line = format!("sleep 1000 & echo $! >{}; exec sleep 1000", child.display());
    manager.start(vec![crate::manager::shell("one", &line)]).unwrap();
    let child = fs::read_to_string(child).unwrap().trim().parse().ok().and_then(Pid::from_raw);
    until_noted(&manager, "\"wanted\":true");
    let state = manager.home.state_file();
    assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o600);
    let before = manager.list();
    let old = pids(&before[0])[0].and_then(Pid::from_raw).unwrap();
    let pid = manager.pid().unwrap();
    let watchdog = tine_linux::tree::entry(pid).unwrap().parent.unwrap();
    for one in [watchdog, pid] {
        kill_process(one, Signal::KILL).unwrap();
    }
    crate::manager::gone(pid);
    let after = manager.until("it runs again", |apps| {
        apps.iter().any(|app| app.workers.iter().all(|it| it.status == Status::Online))
    });
    assert_eq!((pids(&after[0]), shape(&after)), (pids(&before[0]), shape(&before)));
    assert!(is_there(old) && is_there(child.unwrap()), "with what it had started");
    end(&manager);
    assert!(!is_there(old) && !is_there(child.unwrap()), "with what it had started");
}

/// Without anybody asking for it.
fn another_manager(manager: &Manager, old: Pid) -> Pid {
    let deadline = std::time::Instant::now() + crate::manager::SOON;
    loop {
        match manager.pid() {
            Some(pid) if pid != old => return pid,
            _ => assert!(std::time::Instant::now() < deadline, "nobody follows {old}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_manager_is_followed_by_another_one_unasked_again_and_again() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let (before, watchdog) = (shape(&manager.list()), manager.watchdog());
    let mut pid = manager.pid().unwrap();
    for _ in 0..5 {
        kill_process(pid, Signal::KILL).unwrap();
        pid = another_manager(&manager, pid);
        assert_eq!(manager.watchdog(), watchdog);
        let runs = |apps: &[AppView]| apps.iter().any(|it| it.workers[0].status == Status::Online);
        assert_eq!(shape(&manager.until("it runs", runs)), before);
    }
    end(&manager);
    crate::manager::gone(watchdog);
}

#[test]
fn commands_wait_while_there_is_no_manager() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let (pid, watchdog) = (manager.pid().unwrap(), manager.watchdog());
    kill_process(watchdog, Signal::STOP).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    crate::manager::gone(pid);
    let home = manager.home.clone();
    let command = std::thread::spawn(move || Client::connect(&home));
    // Connected: it waits for whoever comes.
    let state = || fs::read_to_string("/proc/net/unix").unwrap();
    let path = manager.home.root().join("run/daemon.sock");
    let queued = || state().lines().filter(|line| line.ends_with(path.to_str().unwrap())).count();
    let deadline = std::time::Instant::now() + crate::manager::SOON;
    while queued() < 2 {
        assert!(std::time::Instant::now() < deadline, "the command does not connect");
        std::thread::yield_now();
    }
    assert!(!command.is_finished());
    kill_process(watchdog, Signal::CONT).unwrap();
    let client = command.join().unwrap().unwrap().expect("a manager");
    assert_ne!(i32::try_from(client.manager_pid()), Ok(pid.as_raw_pid()));
}

#[test]
fn a_manager_that_was_told_to_stop_is_not_followed_however_it_ends() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let worker = pids(&manager.list()[0])[0].and_then(Pid::from_raw).unwrap();
    let (pid, watchdog) = (manager.pid().unwrap(), manager.watchdog());
    kill_process(watchdog, Signal::STOP).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    crate::manager::gone(pid);
    kill_process(watchdog, Signal::TERM).unwrap();
    kill_process(watchdog, Signal::CONT).unwrap();
    crate::manager::gone(watchdog);
    assert!(!is_there(worker));
    assert_eq!(manager.pid(), Some(pid), "nobody has come");
}
