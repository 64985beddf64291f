//! Apps in the background: started, listed, stopped, changed, by many at once.

use std::{thread, time::Instant};

use crate::manager::{Manager, SOON, ids, pids, server, shell, sleeper, start, targets};
use tine::api::apps::{AppRequest, AppResponse, Change, Detail, Known, Status};

#[test]
fn the_manager_outlives_the_command_that_started_it_and_says_who_it_is() {
    let manager = Manager::new();
    let output = manager.tine(&["daemon"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pid = manager.pid().expect("it has written its pid");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("the manager runs with pid {pid}\n"));
    let AppResponse::Pong(view) = manager.ask(&AppRequest::Ping).unwrap() else { panic!() };
    assert_eq!((view.pid, view.apps), (pid.as_raw_pid().cast_unsigned(), 0));
    assert_eq!(view.home, manager.home.root());
    let again = manager.tine(&["daemon"]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), said);
}

#[test]
fn an_app_is_started_listed_stopped_started_again_and_deleted() {
    let manager = Manager::new();
    let done = manager.start(vec![sleeper("one", 2)]).unwrap();
    assert_eq!(
        (done[0].done.as_str(), &*done[0].ids, &done[0].error),
        ("started", &[0, 1][..], &None)
    );
    let apps = manager.list();
    let worker = &apps[0].workers[1];
    assert_eq!((worker.id, worker.instance, worker.status), (1, 1, Status::Online));
    assert!(crate::manager::is_there(rustix::process::Pid::from_raw(worker.pid.unwrap()).unwrap()));
    manager.done(&AppRequest::Stop(targets(&["one"])));
    let apps = manager.list();
    assert_eq!((pids(&apps[0]), apps[0].workers[0].status), (vec![None, None], Status::Stopped));
    let change = Change { targets: vec!["one".into()], ..Change::default() };
    let done = manager.done(&AppRequest::Restart(change));
    assert_eq!(done[0].done, "restarted");
    let apps = manager.list();
    assert!(apps[0].workers.iter().all(|worker| worker.status == Status::Online));
    assert_eq!(apps[0].workers[0].restarts, 0, "a stopped one is started, which is no restart");
    manager.done(&AppRequest::Delete(targets(&["all"])));
    assert_eq!(manager.list(), []);
    let done = manager.start(vec![sleeper("two", 1)]).unwrap();
    assert_eq!(done[0].ids, [0], "numbers begin anew when the list was empty");
}

#[test]
fn one_worker_of_several_is_stopped_and_started_while_the_others_stay() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 3)]).unwrap();
    let before = pids(&manager.list()[0]);
    manager.done(&AppRequest::Stop(targets(&["1"])));
    assert_eq!(pids(&manager.list()[0]), [before[0], None, before[2]]);
    let change = Change { targets: vec!["1".into(), "2".into()], ..Change::default() };
    manager.done(&AppRequest::Restart(change));
    let apps = manager.list();
    let counts: Vec<u32> = apps[0].workers.iter().map(|worker| worker.restarts).collect();
    assert_eq!(counts, [0, 0, 1], "of those that ran");
    assert_eq!(pids(&apps[0])[0], before[0]);
    assert!(pids(&apps[0]).iter().all(Option::is_some));
}

#[test]
fn the_lowest_go_first_when_there_are_to_be_fewer_and_their_places_are_filled_first() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 3)]).unwrap();
    let scale = |to: &str| {
        let request = AppRequest::Scale { target: "one".into(), to: to.into() };
        let done = manager.done(&request);
        assert_eq!(done[0].error, None);
        let apps = manager.list();
        (ids(&apps[0]), apps[0].workers.iter().map(|worker| worker.instance).collect::<Vec<_>>())
    };
    assert_eq!(scale("-1"), (vec![1, 2], vec![1, 2]));
    assert_eq!(scale("+2"), (vec![3, 1, 2, 4], vec![0, 1, 2, 3]));
    assert_eq!(scale("1"), (vec![4], vec![3]));
    let apps = manager.list();
    assert_eq!(apps[0].workers[0].status, Status::Online);
    let zero = AppRequest::Scale { target: "one".into(), to: "0".into() };
    assert!(manager.done(&zero)[0].error.as_ref().unwrap().contains("at least one instance"));
}

#[test]
fn started_twice_at_the_same_time_it_is_one() {
    let manager = Manager::new();
    manager.client();
    let results = thread::scope(|scope| {
        let start = || manager.start(vec![sleeper("one", 1)]);
        let both = [scope.spawn(start), scope.spawn(start)];
        both.map(|one| one.join().unwrap())
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let refusal = results.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(refusal.starts_with("`one` is there already"), "{refusal}");
    assert_eq!(ids(&manager.list()[0]), [0]);
}

#[test]
fn what_cannot_be_started_is_refused_and_nothing_with_it() {
    let manager = Manager::new();
    let mut missing = sleeper("missing", 1);
    missing.set("script", "/no/such/program");
    let error = manager.start(vec![sleeper("one", 1), missing]).unwrap_err().to_string();
    assert!(error.starts_with("missing: `/no/such/program` is neither a file"), "{error}");
    assert_eq!(manager.list(), []);
}

#[test]
fn a_program_that_ends_at_once_fails_to_start_and_that_is_told() {
    let manager = Manager::new();
    let mut patch = shell("bad", "exit 3");
    patch.set("max_restarts", 3);
    patch.set("exp_backoff_restart_delay", 1);
    let done = manager.start(vec![patch]).unwrap();
    let error = done[0].error.clone().unwrap();
    assert!(error.contains("given up") && error.contains("exited with code 3"), "{error}");
    let apps = manager.list();
    let worker = &apps[0].workers[0];
    assert_eq!((worker.status, worker.exit_code), (Status::Errored, Some(3)));
    assert_eq!((worker.restarts, worker.restarts_by_reason.get("crash")), (2, Some(&2)));
    let what: Vec<&str> =
        apps[0].full.as_ref().unwrap().events.iter().map(|event| &*event.what).collect();
    assert_eq!(what.last(), Some(&"given-up"));
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_told_as_that_and_not_as_its_stop() {
    let manager = Manager::new();
    let mut patch = sleeper("late", 1);
    patch.set("wait_ready", true);
    patch.set("listen_timeout", 100);
    patch.set("max_restarts", 1);
    let error = manager.start(vec![patch]).unwrap()[0].error.clone().unwrap();
    assert!(error.contains("was not ready within 1"), "{error}");
}

#[test]
fn a_program_that_ends_with_0_is_started_again_until_it_is_too_often() {
    let manager = Manager::new();
    let mut job = shell("job", "exit 0");
    job.set("exp_backoff_restart_delay", 1);
    job.set("max_restarts", 3);
    let done = manager.start(vec![job]).unwrap();
    let error = done[0].error.as_ref().unwrap();
    assert!(error.contains("autorestart = false"), "{error}");
    let apps = manager.until("it is given up", |apps| apps[0].workers[0].status == Status::Errored);
    assert_eq!((apps[0].workers[0].restarts, apps[0].workers[0].exit_code), (2, Some(0)));
    let mut patient = shell("patient", "exec sleep 0.2");
    patient.set("min_uptime", 100);
    manager.start(vec![patient]).unwrap();
    let apps = manager.until("it comes again", |apps| apps[1].workers[0].restarts > 3);
    assert_eq!(apps[1].workers[0].unstable_restarts, 0);
}

#[test]
fn a_program_that_ends_with_0_is_done_where_that_was_said() {
    let manager = Manager::new();
    let mut once = shell("once", "exit 0");
    once.set("autorestart", false);
    let mut zero = shell("zero", "exit 0");
    zero.set("stop_exit_codes", [0]);
    for done in manager.start(vec![once, zero]).unwrap() {
        assert_eq!(done.error, None);
    }
    for app in manager.list() {
        assert_eq!((app.workers[0].status, app.workers[0].restarts), (Status::Stopped, 0));
    }
}

#[test]
fn a_crash_is_followed_and_counted_and_reset() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let kill = AppRequest::Signal { targets: vec!["one".into()], signal: "KILL".into() };
    manager.done(&kill);
    let apps = manager.until("it runs again", |apps| {
        let worker = &apps[0].workers[0];
        worker.restarts == 1 && worker.status == Status::Online
    });
    assert_eq!(apps[0].workers[0].exit_code, Some(137));
    manager.done(&AppRequest::Reset(targets(&["0"])));
    assert_eq!(manager.list()[0].workers[0].restarts, 0);
}

#[test]
fn a_server_is_ready_when_it_listens_and_its_port_is_shown() {
    let manager = Manager::new();
    let port = free_port();
    let began = Instant::now();
    let done = manager.start(vec![server("web", port, 2)]).unwrap();
    assert_eq!(done[0].error, None);
    assert!(began.elapsed() < SOON);
    let apps = manager.list_of(&["web"], Detail::Row);
    assert_eq!(apps[0].ports, [format!("127.0.0.1:{port}")]);
    assert_eq!(apps[0].spec, None);
    let AppResponse::Ports(ports) = manager.ask(&AppRequest::Ports).unwrap() else { panic!() };
    assert_eq!((ports[0].app.as_str(), ports[0].listeners[0].seats.len()), ("web", 2));
}

#[test]
fn a_reload_replaces_all_workers_with_the_change_and_a_bad_one_leaves_the_old() {
    let manager = Manager::new();
    let port = free_port();
    manager.start(vec![server("web", port, 2)]).unwrap();
    let before = pids(&manager.list()[0]);
    let mut change = Change { targets: vec!["web".into()], ..Change::default() };
    change
        .patch
        .set("env", [("COLOUR", "blue")].into_iter().collect::<std::collections::BTreeMap<_, _>>());
    let done = manager.done(&AppRequest::Reload(change));
    assert_eq!((&*done[0].done, &done[0].error), ("reloaded", &None));
    let apps = manager.list();
    assert!(pids(&apps[0]).iter().all(|pid| pid.is_some() && !before.contains(pid)));
    assert_eq!(apps[0].workers[0].restarts_by_reason.get("reload"), Some(&1));
    assert_eq!(apps[0].spec.as_ref().unwrap().env["COLOUR"], "blue");
    let mut bad = Change { targets: vec!["web".into()], ..Change::default() };
    bad.patch.set("args", ["-c", "raise SystemExit(4)"]);
    let done = manager.done(&AppRequest::Reload(bad));
    assert!(done[0].error.as_ref().unwrap().contains("ended before it was ready"), "{done:?}");
    let after = manager.list();
    assert_eq!(pids(&after[0]), pids(&apps[0]), "the old ones were never touched");
    assert_eq!(after[0].spec, apps[0].spec);
}

#[test]
fn an_unknown_target_is_an_error_with_a_suggestion_and_nothing_is_done() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 1)]).unwrap();
    let error = manager.ask(&AppRequest::Stop(targets(&["one", "ona"]))).unwrap_err();
    assert_eq!(error.to_string(), "there is no app `ona`; is `one` meant?");
    assert_eq!(manager.list()[0].workers[0].status, Status::Online);
}

#[test]
fn an_app_waits_for_those_it_comes_after() {
    let manager = Manager::new();
    let mut second = sleeper("second", 1);
    second.set("after", ["first"]);
    let done = manager.start(vec![second.clone(), sleeper("first", 1)]).unwrap();
    assert!(done.iter().all(|done| done.error.is_none()), "{done:?}");
    let apps = manager.list();
    let started = |app: usize| apps[app].workers[0].started_at.unwrap();
    assert!(started(0) >= started(1));
    let mut third = sleeper("third", 1);
    third.set("after", ["nobody"]);
    let error = manager.start(vec![third]).unwrap_err().to_string();
    assert_eq!(error, "`third` is to start after `nobody`, but there is no app of that name");
    let (mut a, mut b) = (sleeper("a", 1), sleeper("b", 1));
    a.set("after", ["b"]);
    b.set("after", ["a"]);
    assert!(manager.start(vec![a, b]).unwrap_err().to_string().contains("wait for one another"));
}

#[test]
fn a_known_app_is_started_anew_with_what_was_changed_or_wholly() {
    let manager = Manager::new();
    let mut first = sleeper("one", 1);
    first.set("env", serde_json::json!({"A": "1", "B": "2"}));
    manager.start(vec![first]).unwrap();
    let mut second = sleeper("one", 2);
    second.set("env", serde_json::json!({"A": "3"}));
    let mut again = start(vec![second.clone()]);
    again.known = Known::Restart;
    manager.done(&AppRequest::Start(again.clone()));
    let spec = manager.list()[0].spec.clone().unwrap();
    assert_eq!(spec.env, [("A".into(), "3".into()), ("B".into(), "2".into())].into());
    again.whole = true;
    manager.done(&AppRequest::Start(again));
    let apps = manager.list();
    assert_eq!(apps[0].spec.as_ref().unwrap().env, [("A".into(), "3".into())].into());
    assert_eq!((ids(&apps[0]), apps[0].workers[0].restarts), (vec![0, 1], 2));
}

#[test]
fn the_manager_ends_with_all_its_apps_when_it_is_told_to() {
    let manager = Manager::new();
    manager.start(vec![sleeper("one", 2)]).unwrap();
    let worker = rustix::process::Pid::from_raw(pids(&manager.list()[0])[0].unwrap()).unwrap();
    let pid = manager.pid().unwrap();
    manager.done(&AppRequest::KillManager);
    crate::manager::gone(pid);
    assert!(!crate::manager::is_there(worker));
    assert!(tine::client::Client::connect(&manager.home).unwrap().is_none());
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
