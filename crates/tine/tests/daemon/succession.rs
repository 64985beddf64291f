//! From one manager to the next: workers and their clients notice nothing.

mod amidst;
mod both;
mod calls;
pub(crate) mod load;
mod update;
mod watchdog;

use std::{fs, path::PathBuf};

use load::Load;
use rustix::process::{Pid, Signal, kill_process};
use tine::{
    api::{
        apps::{AppRequest, AppView, Change, Status},
        reload::Rolling,
    },
    client::Client,
    spec::Patch,
};

use crate::manager::{Manager, gone, is_there, pids, shell, sleeper, targets};

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

const PYTHON: &str = "\
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        os.write(1, b'served %s\\n' % self.path.encode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'pid %d' % os.getpid())
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

const NODE: &str = "\
require('http').createServer((request, response) => {
  console.log('served ' + request.url);
  response.setHeader('Connection', 'close');
  response.end('pid ' + process.pid);
}).listen(Number(process.argv[2]), '127.0.0.1');
";

/// A server that answers with its pid.
pub(crate) fn server(manager: &Manager, language: &str, port: u16, instances: u32) -> Patch {
    let (file, text) = match language {
        "node" => ("server.js", NODE),
        _ => ("server.py", PYTHON),
    };
    fs::write(manager.root.join(file), text).unwrap();
    let mut patch = Patch::new();
    patch.set("name", language);
    patch.set("script", file);
    patch.set("args", [port.to_string()]);
    patch.set("cwd", manager.root.to_str().unwrap());
    patch.set("instances", tine::spec::Instances::Count(instances));
    // Ready when it listens: one that merely runs on counts as ready after this.
    patch.set("min_uptime", 60_000);
    patch.set("listen_timeout", 60_000);
    patch
}

/// Kills the manager, and waits for the next one.
pub(crate) fn replace(manager: &Manager) -> Pid {
    let pid = manager.pid().unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    gone(pid);
    let next = manager.client().manager_pid();
    assert_ne!(i32::try_from(next), Ok(pid.as_raw_pid()));
    Pid::from_raw(i32::try_from(next).unwrap()).unwrap()
}

fn app<'a>(apps: &'a [AppView], name: &str) -> &'a AppView {
    apps.iter().find(|app| app.name == name).unwrap()
}

fn change(target: &str) -> Change {
    let targets = vec![target.to_owned()];
    Change { targets, patch: Patch::new(), inherited: None, rolling: Rolling::default() }
}

pub(crate) fn succeeds(manager: &Manager, request: &AppRequest) {
    let outcomes = manager.done(request);
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none()), "{outcomes:?}");
}

fn restarts(app: &AppView) -> Vec<u32> {
    app.workers.iter().map(|worker| worker.restarts).collect()
}

pub(crate) fn all_online(app: &AppView) -> bool {
    app.workers.iter().all(|worker| worker.status == Status::Online)
}

/// What an order does is the same under the next manager, and costs no request either.
fn everything_works(manager: &Manager, load: &Load, name: &str) {
    let before = manager.list();
    let scale = |to: &str| AppRequest::Scale {
        target: name.to_owned(),
        to: to.to_owned(),
        drain_timeout: None,
    };
    succeeds(manager, &AppRequest::Reload(change(name)));
    let after = manager.list();
    assert!(pids(app(&after, name)).iter().all(|pid| !pids(app(&before, name)).contains(pid)));
    let counted: Vec<u32> = restarts(app(&before, name)).iter().map(|count| count + 1).collect();
    assert_eq!(restarts(app(&after, name)), counted);
    succeeds(manager, &scale("3"));
    succeeds(manager, &scale("2"));
    load.served_by_all(&pids(app(&manager.list(), name)));
}

fn a_killed_manager_costs_nothing(language: &str) {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, language, port, 2)]);
    let worker = app(&manager.list(), language).workers[0].clone();
    succeeds(&manager, &AppRequest::Restart(change(&worker.id.to_string())));
    let before = manager.list();
    let load = Load::on(port);
    load.served_by_all(&pids(&before[0]));
    replace(&manager);
    let asked = load.asked();
    let after = manager.until("it is taken over", |apps| all_online(&apps[0]));
    assert_eq!(pids(&after[0]), pids(&before[0]));
    assert_eq!(restarts(&after[0]), restarts(&before[0]));
    let events = &after[0].full.as_ref().unwrap().events;
    let told = "taken over after the manager was killed by SIGKILL";
    assert_eq!(events.iter().filter(|event| event.text == told).count(), 1, "{events:?}");
    load.served_by_all(&pids(&after[0]));
    everything_works(&manager, &load, language);
    let served = load.end();
    wrote(&after[0], &since(&served, asked));
    succeeds(&manager, &AppRequest::Stop(targets(&["all"])));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    succeeds(&manager, &AppRequest::Start(crate::manager::start(vec![])));
}

/// Those that were asked for after so many others: what was written before may have been in the hands of the
/// manager that was killed, read and not yet in a file.
fn since(served: &[String], asked: u64) -> Vec<String> {
    let number = |path: &str| path[1..].parse::<u64>().expect("a number");
    served.iter().filter(|path| number(path) >= asked).cloned().collect()
}

/// It has written a line for each of these, and all of them are in its files by and by.
pub(crate) fn wrote(app: &AppView, served: &[String]) {
    let deadline = std::time::Instant::now() + crate::manager::SOON;
    loop {
        let logs = written(app);
        let lines: std::collections::BTreeSet<&str> = logs.lines().collect();
        let lost = |path: &&String| !lines.contains(&*format!("served {path}"));
        let lost: Vec<_> = served.iter().filter(lost).collect();
        if lost.is_empty() {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{} of {}: {lost:?}",
            lost.len(),
            served.len()
        );
        std::thread::yield_now();
    }
}

/// All that the app has written.
fn written(app: &AppView) -> String {
    let logs = app.workers.iter().filter_map(|worker| worker.out_log.clone());
    let directory: Option<PathBuf> = logs.clone().next().and_then(|it| Some(it.parent()?.into()));
    let files = fs::read_dir(directory.unwrap()).unwrap().map(|entry| entry.unwrap().path());
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

pub(crate) fn succeeds_to_start(manager: &Manager, apps: Vec<Patch>) {
    let outcomes = manager.start(apps).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none()), "{outcomes:?}");
}

#[test]
fn a_killed_manager_costs_python_no_request_and_the_next_one_does_all_that_it_could() {
    a_killed_manager_costs_nothing("python");
}

#[test]
fn a_killed_manager_costs_node_no_request_and_the_next_one_does_all_that_it_could() {
    a_killed_manager_costs_nothing("node");
}

#[test]
fn a_manager_that_is_killed_twice_in_a_row_is_followed_twice() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 2), sleeper("still", 1)]);
    succeeds(&manager, &AppRequest::Stop(targets(&["still"])));
    let before = manager.list();
    replace(&manager);
    replace(&manager);
    let after = manager.until("it is taken over", |apps| all_online(app(apps, "one")));
    assert_eq!(pids(app(&after, "one")), pids(app(&before, "one")));
    assert_eq!(app(&after, "still").workers[0].status, Status::Stopped);
    succeeds(&manager, &AppRequest::Restart(change("all")));
    assert!(all_online(app(&manager.list(), "still")));
}

#[test]
fn a_worker_that_ends_while_there_is_no_manager_is_followed_by_another_one() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = manager.list();
    let (pid, watchdog) = (manager.pid().unwrap(), manager.watchdog());
    let worker = pids(&before[0])[0].and_then(Pid::from_raw).unwrap();
    kill_process(watchdog, Signal::STOP).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    gone(pid);
    kill_process(worker, Signal::KILL).unwrap();
    gone(worker);
    kill_process(watchdog, Signal::CONT).unwrap();
    let after = manager.until("it is followed", |apps| {
        let app = app(apps, "one");
        all_online(app) && pids(app)[0] != pids(&before[0])[0]
    });
    assert_eq!(pids(&after[0])[1], pids(&before[0])[1]);
    assert_eq!(restarts(&after[0]), [1, 0]);
    assert_eq!(after[0].workers[0].exit_code, Some(128 + 9));
}

#[test]
fn a_worker_that_crashes_under_the_next_manager_is_followed_and_its_code_is_known() {
    let manager = Manager::new();
    let line = "trap 'exit 7' USR1; while :; do sleep 0.02; done";
    succeeds_to_start(&manager, vec![shell("one", line)]);
    let before = manager.list();
    replace(&manager);
    let worker = pids(&before[0])[0].and_then(Pid::from_raw).unwrap();
    assert!(is_there(worker));
    kill_process(worker, Signal::USR1).unwrap();
    let after = manager.until("it is followed", |apps| restarts(&apps[0]) == [1]);
    assert_eq!(after[0].workers[0].exit_code, Some(7));
}

#[test]
fn a_manager_that_is_stopped_costs_no_request_and_commands_wait() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, "python", port, 2)]);
    let load = Load::on(port);
    let workers = pids(&manager.list()[0]);
    let pid = manager.pid().unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let home = manager.home.clone();
    let command = std::thread::spawn(move || Client::connect(&home).map(|it| it.is_some()));
    load.served_by_all(&workers);
    load.served_by_all(&workers);
    assert!(!command.is_finished(), "it waits");
    kill_process(pid, Signal::CONT).unwrap();
    assert!(command.join().unwrap().unwrap());
    let served = load.end();
    // What was written meanwhile has waited.
    wrote(&manager.list()[0], &served);
}

#[test]
fn a_worker_that_no_record_knows_is_killed_and_what_workers_have_started_is_not() {
    let manager = Manager::new();
    let file = |name: &str| manager.root.join(name);
    let orphan = |mark: &str, name: &str| {
        let path = file(name).display().to_string();
        format!(
            "({mark} setsid sh -c 'echo $$ >{path}.new; mv {path}.new {path}; exec sleep 1000' &)"
        )
    };
    let (stray, known) = (orphan("TINE_WORKER_ID=999.9", "stray"), orphan("", "known"));
    succeeds_to_start(&manager, vec![shell("one", &format!("{stray}; {known}; exec sleep 1000"))]);
    let pid = |name: &str| {
        let text = fs::read_to_string(file(name)).unwrap_or_default();
        text.trim().parse().ok().and_then(Pid::from_raw)
    };
    manager.until("both run", |_| pid("stray").is_some() && pid("known").is_some());
    let parent = |name: &str| tine_linux::tree::entry(pid(name).unwrap()).unwrap().parent;
    let both = [Some(manager.watchdog()); 2];
    manager.until("both are orphans", |_| [parent("stray"), parent("known")] == both);
    let before = manager.list();
    replace(&manager);
    gone(pid("stray").unwrap());
    assert!(is_there(pid("known").unwrap()));
    assert_eq!(pids(&manager.list()[0]), pids(&before[0]));
    succeeds(&manager, &AppRequest::Delete(targets(&["one"])));
    gone(pid("known").unwrap());
}

#[test]
fn an_end_after_a_takeover_leaves_nothing() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = manager.list();
    let pid = replace(&manager);
    let watchdog = manager.watchdog();
    manager.done(&AppRequest::KillManager);
    gone(pid);
    gone(watchdog);
    assert!(
        pids(&before[0]).into_iter().flatten().filter_map(Pid::from_raw).all(|it| !is_there(it))
    );
    assert!(!manager.home.state_file().exists());
}
