//! The manager and its watchdog are killed together: workers hold what the next one needs.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;
use crate::manager::needs_python;

type Line = (String, Option<String>);

fn journal(manager: &Manager) -> PathBuf {
    manager.home.root().join("run/daemon.kept")
}

/// What is written down, by key.
fn written_down(manager: &Manager) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let text = fs::read_to_string(journal(manager)).unwrap_or_default();
    for (key, value) in text.lines().skip(1).filter_map(|it| serde_json::from_str::<Line>(it).ok())
    {
        match value.and_then(|value| BASE64_STANDARD.decode(value).ok()) {
            Some(value) => drop(values.insert(key, String::from_utf8(value).unwrap())),
            None => drop(values.remove(&key)),
        }
    }
    values
}

/// Waits until so many workers are written down as ready, and kills both, so that neither sees the other's
/// end.
fn kill_both(manager: &Manager, ready: usize) {
    manager.until("all are written down", |_| {
        let values = written_down(manager);
        let states = values.iter().filter(|(key, _)| key.contains("/worker/"));
        states.filter(|(_, value)| value.contains("\"ready\":true")).count() == ready
    });
    let (pid, watchdog) = (manager.pid().unwrap(), manager.watchdog());
    for signal in [Signal::STOP, Signal::KILL] {
        kill_process(watchdog, signal).unwrap();
        kill_process(pid, signal).unwrap();
    }
    gone(pid);
    gone(watchdog);
}

/// Workers that were taken over are nobody's descendants: they do not end with the watchdog's.
struct Ending<'a>(&'a Manager);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let _ = self.0.tine(&["kill"]);
    }
}

fn events(app: &AppView) -> String {
    let events = app.full.as_ref().unwrap().events.iter();
    events.map(|event| event.text.clone()).collect::<Vec<_>>().join("\n")
}

fn workers(app: &AppView) -> Vec<Pid> {
    pids(app).into_iter().flatten().filter_map(Pid::from_raw).collect()
}

const TOLD: &str = "taken over after the manager was killed together with its watchdog";

fn both_killed_cost_nothing(language: &str) {
    let manager = Manager::new();
    let _ending = Ending(&manager);
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, language, port, 2)]);
    let before = manager.list();
    let load = Load::on(port);
    load.served_by_all(&pids(&before[0]));
    kill_both(&manager, 2);
    let asked = load.asked();
    load.served_by_all(&pids(&before[0]));
    assert!(workers(&before[0]).into_iter().all(is_there));
    let output = manager.tine(&["ls"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(language), "{output:?}");
    let after = manager.list();
    assert!(all_online(&after[0]), "{after:?}");
    assert_eq!(pids(&after[0]), pids(&before[0]));
    assert_eq!(restarts(&after[0]), restarts(&before[0]));
    assert_eq!(events(&after[0]).matches(TOLD).count(), 1, "{}", events(&after[0]));
    load.served_by_all(&pids(&after[0]));
    everything_works(&manager, &load, language);
    let served = load.end();
    wrote(&after[0], &since(&served, asked));
    succeeds(&manager, &AppRequest::Stop(targets(&["all"])));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    assert!(workers(&before[0]).into_iter().all(|pid| !is_there(pid)));
}

#[test]
fn both_killed_cost_python_no_request_and_the_next_command_takes_over() {
    needs_python();
    both_killed_cost_nothing("python");
}

#[test]
fn both_killed_cost_node_no_request_and_the_next_command_takes_over() {
    both_killed_cost_nothing("node");
}

#[test]
fn whoever_took_over_can_be_killed_alone_and_together_with_the_watchdog() {
    let manager = Manager::new();
    let _ending = Ending(&manager);
    succeeds_to_start(&manager, vec![sleeper("one", 2), sleeper("still", 1)]);
    succeeds(&manager, &AppRequest::Stop(targets(&["still"])));
    let before = manager.list();
    kill_both(&manager, 2);
    assert_eq!(pids(app(&manager.list(), "one")), pids(app(&before, "one")));
    replace(&manager);
    assert_eq!(pids(app(&manager.list(), "one")), pids(app(&before, "one")));
    kill_both(&manager, 2);
    let after = manager.list();
    assert_eq!(pids(app(&after, "one")), pids(app(&before, "one")));
    assert_eq!(app(&after, "still").workers[0].status, Status::Stopped);
    succeeds(&manager, &AppRequest::Restart(change("one")));
    assert!(workers(app(&before, "one")).into_iter().all(|pid| !is_there(pid)));
}

#[test]
fn a_worker_that_ends_while_there_is_nobody_is_followed_by_another_one() {
    let manager = Manager::new();
    let _ending = Ending(&manager);
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = manager.list();
    kill_both(&manager, 2);
    let worker = workers(&before[0])[0];
    kill_process(worker, Signal::KILL).unwrap();
    gone(worker);
    let after = manager.until("it is followed", |apps| {
        let app = app(apps, "one");
        all_online(app) && pids(app)[0] != pids(&before[0])[0]
    });
    assert_eq!(pids(&after[0])[1], pids(&before[0])[1]);
    assert_eq!(restarts(&after[0]), [1, 0]);
}

#[test]
fn a_pid_that_means_another_process_by_now_is_not_touched() {
    let manager = Manager::new();
    let _ending = Ending(&manager);
    succeeds_to_start(&manager, vec![sleeper("one", 1)]);
    let before = manager.list();
    kill_both(&manager, 1);
    let worker = workers(&before[0])[0];
    kill_process(worker, Signal::KILL).unwrap();
    gone(worker);
    let mut other = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    let there = Pid::from_child(&other);
    let all = written_down(&manager).into_iter().map(|(key, value)| {
        let value = value.replace(&format!("\"pid\":{worker}"), &format!("\"pid\":{there}"));
        let line: Line = (key, Some(BASE64_STANDARD.encode(value)));
        serde_json::to_string(&line).unwrap() + "\n"
    });
    let text = fs::read_to_string(journal(&manager)).unwrap();
    let head = text.lines().next().unwrap();
    fs::write(journal(&manager), format!("{head}\n{}", all.collect::<String>())).unwrap();
    let after = manager.until("it is followed", |apps| all_online(app(apps, "one")));
    assert_ne!(workers(&after[0])[0], there);
    succeeds(&manager, &AppRequest::Delete(targets(&["all"])));
    assert!(is_there(there));
    kill_process(there, Signal::KILL).unwrap();
    other.wait().unwrap();
}

#[test]
fn where_descriptors_may_not_be_taken_workers_are_replaced_and_it_is_said_why() {
    needs_python();
    let manager = Manager::new();
    let _ending = Ending(&manager);
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = manager.list();
    kill_both(&manager, 2);
    // As Yama does to an ordinary user who is no ancestor.
    let script = include_str!("../../../../../compliance/src/deny.py");
    let mut denied = Command::new("python3");
    denied.args(["-c", script, "pidfd_getfd", env!("CARGO_BIN_EXE_tine"), "daemon"]);
    let output = denied.env("TINE_HOME", manager.home.root()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = manager.until("they are replaced", |apps| all_online(app(apps, "one")));
    assert!(workers(&before[0]).into_iter().all(|pid| !is_there(pid)));
    let said = events(&after[0]);
    assert!(said.contains("could not be taken over, and is started anew: process"), "{said}");
    assert!(said.contains("(pidfd_getfd)") && said.contains("kernel.yama.ptrace_scope"), "{said}");
}

#[test]
fn a_program_that_has_closed_what_it_did_not_know_is_replaced_and_no_other() {
    needs_python();
    let manager = Manager::new();
    let _ending = Ending(&manager);
    let text = "import os, time\nif os.environ['NODE_APP_INSTANCE'] == '0': os.close(240)\n\
                open('closed-' + os.environ['NODE_APP_INSTANCE'], 'w')\ntime.sleep(1000)\n";
    fs::write(manager.root.join("closes.py"), text).unwrap();
    let mut patch = Patch::new();
    patch.set("name", "one");
    patch.set("script", "closes.py");
    patch.set("cwd", manager.root.to_str().unwrap());
    patch.set("instances", tine::spec::Instances::Count(2));
    patch.set("min_uptime", 100);
    succeeds_to_start(&manager, vec![patch]);
    let closed = |number| manager.root.join(format!("closed-{number}")).exists();
    manager.until("both run", |_| closed(0) && closed(1));
    let before = manager.list();
    kill_both(&manager, 2);
    let after = manager.until("it is replaced", |apps| {
        let app = app(apps, "one");
        all_online(app) && pids(app)[0] != pids(&before[0])[0]
    });
    assert_eq!(pids(&after[0])[1], pids(&before[0])[1]);
    assert!(!is_there(workers(&before[0])[0]));
    let said = events(&after[0]);
    assert!(said.contains("its program has closed the descriptor"), "{said}");
}
