//! A manager is killed while it carries something out: what it had begun is there or is not, nothing is left
//! half done, and nobody who serves is touched.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread::JoinHandle,
};

use super::*;
use crate::manager::SOON;

/// Says that it has begun by a file, and listens when there is a file `go`.
const PATIENT: &str = "
import time
open('begun-%d' % os.getpid(), 'w').close()
while not os.path.exists('go'):
    time.sleep(0.01)
";

/// Its workers listen when they may.
fn patient(manager: &Manager, port: u16, instances: u32) -> Patch {
    let patch = server(manager, "python", port, instances);
    let (imports, rest) = PYTHON.split_once('\n').unwrap();
    fs::write(manager.root.join("server.py"), format!("{imports}\n{PATIENT}{rest}")).unwrap();
    fs::write(manager.root.join("go"), "").unwrap();
    patch
}

fn begun(root: &Path) -> usize {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("begun-")).count()
}

/// Kills the manager when the request has made so many workers begin.
fn kill_amidst(manager: &Manager, request: AppRequest, workers: usize) {
    fs::remove_file(manager.root.join("go")).unwrap();
    let wanted = begun(&manager.root) + workers;
    let home = manager.home.clone();
    let asked: JoinHandle<_> = std::thread::spawn(move || {
        let mut client = Client::connect(&home).unwrap().unwrap();
        client.ask(&request, &mut |_| {}).map(drop)
    });
    manager.until("it has begun", |_| begun(&manager.root) == wanted);
    replace(manager);
    let told = asked.join().unwrap();
    assert!(told.is_err(), "nobody knows what became of it");
    fs::write(manager.root.join("go"), "").unwrap();
}

#[test]
fn what_was_scaled_up_when_the_manager_was_killed_is_there_and_can_be_scaled_down() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![patient(&manager, port, 2)]);
    let before = pids(&manager.list()[0]);
    let load = Load::on(port);
    let to = |count: &str| {
        let target = "python".to_owned();
        AppRequest::Scale { target, to: count.to_owned(), drain_timeout: None }
    };
    kill_amidst(&manager, to("5"), 3);
    let all =
        manager.until("all five serve", |apps| apps[0].workers.len() == 5 && all_online(&apps[0]));
    assert!(before.iter().all(|pid| pids(&all[0]).contains(pid)), "{before:?} {all:?}");
    load.served_by_all(&pids(&all[0]));
    everything_works(&manager, &load, "python");
    load.end();
}

#[test]
fn a_reload_that_the_managers_death_ended_has_touched_nobody_who_serves() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![patient(&manager, port, 3)]);
    let before = manager.list();
    let load = Load::on(port);
    kill_amidst(&manager, AppRequest::Reload(change("python")), 1);
    let after = manager.list();
    assert_eq!((pids(&after[0]), restarts(&after[0])), (pids(&before[0]), restarts(&before[0])));
    assert!(all_online(&after[0]), "{after:?}");
    load.served_by_all(&pids(&before[0]));
    everything_works(&manager, &load, "python");
    load.end();
}

#[test]
fn those_that_do_not_serve_are_scaled_away_first() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![patient(&manager, port, 3)]);
    let before = manager.list();
    let first = before[0].workers[0].id;
    succeeds(&manager, &AppRequest::Stop(targets(&[&before[0].workers[2].id.to_string()])));
    let to =
        AppRequest::Scale { target: "python".to_owned(), to: "2".to_owned(), drain_timeout: None };
    succeeds(&manager, &to);
    let after = manager.list();
    assert_eq!(after[0].workers.iter().map(|it| it.id).collect::<Vec<_>>(), [first, first + 1]);
    assert!(all_online(&after[0]), "{after:?}");
}

#[test]
fn a_restart_that_waits_for_its_time_comes_at_that_time_however_often_managers_follow() {
    let manager = Manager::new();
    let mut patch = shell("late", "test -e again && exec sleep 1000; touch again; exit 1");
    patch.set("cwd", manager.root.to_str().unwrap());
    patch.set("restart_delay", 4_000);
    patch.set("min_uptime", 1);
    // The start is over long before.
    patch.set("listen_timeout", 100);
    let _ = manager.start(vec![patch]);
    manager.until("it waits", |apps| apps[0].workers[0].status == Status::Waiting);
    let since = std::time::Instant::now();
    let waits = || manager.list()[0].workers[0].status == Status::Waiting;
    // Each of them begins a second after the one before, as long as it takes.
    let mut managers = 0;
    while waits() && since.elapsed() < SOON {
        replace(&manager);
        managers += 1;
        let next = since + managers * std::time::Duration::from_secs(1);
        while waits() && std::time::Instant::now() < next {
            std::thread::yield_now();
        }
    }
    manager.until("it runs", |apps| all_online(&apps[0]));
    assert!((1..=6).contains(&managers), "{managers} managers");
}

/// One worker, that is busy with nothing else for two seconds when it is asked for `/busy`.
const BUSY: &str = "\
require('http').createServer((request, response) => {
  if (request.url === '/busy') for (const end = Date.now() + 2000; Date.now() < end;);
  response.setHeader('Connection', 'close');
  response.end('pid ' + process.pid);
}).listen(Number(process.argv[2]), '127.0.0.1');
";

fn ask(port: u16, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client
}

#[test]
fn under_hand_over_what_waits_for_a_busy_worker_outlives_the_manager() {
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIP: no node here");
        return;
    }
    let manager = Manager::new();
    let port = free_port();
    let mut patch = server(&manager, "node", port, 1);
    fs::write(manager.root.join("server.js"), BUSY).unwrap();
    patch.set("mechanism", "hand-over");
    succeeds_to_start(&manager, vec![patch]);
    let before = pids(&manager.list()[0]);
    let mut clients = vec![ask(port, "/busy")];
    clients.extend((0..20).map(|_| ask(port, "/")));
    // The manager has had a turn after each of them.
    for _ in 0..5 {
        manager.list();
    }
    replace(&manager);
    let answer = |client: &mut TcpStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    };
    let answers: Vec<_> = clients.iter_mut().map(answer).collect();
    let expected = format!("pid {}", before[0].unwrap());
    let lost = answers.iter().filter(|it| !it.as_ref().is_ok_and(|it| it.ends_with(&expected)));
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_manager_with_few_descriptors_is_followed_by_one_that_needs_no_more() {
    let manager = Manager::new();
    let tine = manager.command(&["daemon"]);
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=256:256").arg(tine.get_program()).args(tine.get_args());
    limited.envs(tine.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(limited.stdout(Stdio::null()).status().unwrap().success(), "it starts");
    // Each takes some twenty.
    succeeds_to_start(&manager, vec![sleeper("many", 10)]);
    let before = pids(&manager.list()[0]);
    replace(&manager);
    let after = manager.until("they are taken over", |apps| all_online(&apps[0]));
    assert_eq!(pids(&after[0]), before);
}
