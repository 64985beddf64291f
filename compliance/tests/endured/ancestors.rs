//! A successor under Yama's rule (`ptrace_scope` 1): who is no ancestor of a worker may neither take its
//! descriptors nor read its memory. The watchdog is one, and does it for the manager.
//!
//! strace(1) imitates the rule: it has the two calls of the successor, and of nobody else, answered by `EPERM`.

use std::collections::BTreeSet;
use std::fs;

use compliance::{Home, KeepAlive, Serving, Who, eventually, free_port, get, pid_in, skip};

use crate::going_on::{followed, goes_on, pids};
use crate::loaded::{Loaded, pace};

const CALLS: &str = "pidfd_getfd,process_vm_readv";

/// Where everything that this needs is there.
fn can_be_imitated(serving: Serving) -> bool {
    let strace = Who::Root.find("strace").is_some();
    let missing =
        Who::User.missing().or(serving.missing(Who::User)).or((!strace).then_some("strace"));
    if let Some(missing) = missing {
        skip(&format!("no {missing} here"));
    }
    missing.is_none()
}

/// The next manager, which has the right for its own descendants only, and has none that runs.
fn succeed_as_no_ancestor(home: &Home) -> u32 {
    let manager = home.manager().expect("it runs");
    home.kill(manager);
    let next = followed(home, manager);
    let mut strace = home.command("strace");
    strace.args(["-qq", "-e", &format!("trace={CALLS}"), "-o", "refused.txt"]);
    strace.args(["-e", &format!("inject={CALLS}:error=EPERM"), "-p", &next.to_string()]);
    drop(home.spawn(&strace, "strace.txt").expect("strace starts"));
    // The manager's own thread is the one that looks into workers.
    let status = || fs::read_to_string(format!("/proc/{next}/status")).unwrap_or_default();
    let traced =
        || status().lines().any(|line| line.starts_with("TracerPid:\t") && line.len() > 12);
    eventually("the manager is traced", traced);
    next
}

fn was_refused(home: &Home, call: &str) -> bool {
    let text = fs::read_to_string(home.folder().join("refused.txt")).unwrap_or_default();
    text.lines().any(|line| line.starts_with(call) && line.contains("EPERM"))
}

fn connections_cut(home: &Home) -> u64 {
    let listed = home.tine(["jlist"]);
    let list: serde_json::Value = serde_json::from_str(&listed.stdout).expect("a list");
    let workers = list.as_array().expect("a list").iter();
    workers.map(|it| it["pm2_env"]["connections_cut"].as_u64().expect("a number")).sum()
}

/// Workers that were taken over part with their idle clients as kindly as others do.
fn idle_connections_are_ended_kindly(serving: Serving) {
    if !can_be_imitated(serving) {
        return;
    }
    let app = Loaded::start_in(Home::new(Who::User), serving, &[], pace(serving));
    let mut kept: Vec<KeepAlive> =
        (0..6).map(|_| KeepAlive::connect(app.port).expect("it listens")).collect();
    for connection in &mut kept {
        connection.get().expect("an answer");
    }
    succeed_as_no_ancestor(&app.home);
    let reload = app.must("reload app");
    assert!(kept.iter_mut().all(KeepAlive::ends), "{reload:?}");
    assert_eq!(connections_cut(&app.home), 0, "{reload:?}");
    if serving != Serving::Node {
        assert!(was_refused(&app.home, "pidfd_getfd"), "the rule is in force");
    }
    app.nothing_was_lost();
}

#[test]
fn a_successor_that_is_no_ancestor_ends_idle_connections_of_python_kindly() {
    idle_connections_are_ended_kindly(Serving::Python);
}

#[test]
fn a_successor_that_is_no_ancestor_ends_idle_connections_of_go_kindly() {
    idle_connections_are_ended_kindly(Serving::Go);
}

#[test]
fn a_successor_that_is_no_ancestor_goes_on_with_node() {
    if !can_be_imitated(Serving::Node) {
        return;
    }
    let app = Loaded::start_in(Home::new(Who::User), Serving::Node, &[], pace(Serving::Node));
    succeed_as_no_ancestor(&app.home);
    goes_on(app);
}

/// Listens at the second port, too, when it is asked for the first time after there is a file `second`.
const LATE: &str = "\
import http.server, os, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists('second') and self.server is first:
            listen_late()
        body = b'python %d' % os.getpid()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
def serve(port):
    return http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[port])), Handler)
lock, late = threading.Lock(), []
def listen_late():
    with lock:
        if not late:
            late.append(serve(2))
            threading.Thread(target=late[0].serve_forever, daemon=True).start()
first = serve(1)
first.serve_forever()
";

/// The pids of those who have answered at the port when these have.
fn all_answer(port: u16, wanted: &BTreeSet<u32>) {
    let mut seen = BTreeSet::new();
    eventually("each worker has answered", || {
        seen.extend(get(port).ok().map(|body| pid_in(&body)));
        seen.is_superset(wanted)
    });
    assert_eq!(&seen, wanted);
}

#[test]
fn a_worker_whose_manager_is_no_ancestor_shares_a_port_that_it_binds_late() {
    if !can_be_imitated(Serving::Python) {
        return;
    }
    let home = Home::new(Who::User);
    home.write("late.py", LATE);
    let (first, second) = (free_port(), free_port());
    let words = format!("start --name late -i 3 late.py -- {first} {second}");
    let started = home.tine(words.split(' '));
    assert_eq!(started.code, Some(0), "{started:?}");
    let workers = pids(&home, "late");
    assert_eq!(workers.len(), 3);
    all_answer(first, &workers);
    succeed_as_no_ancestor(&home);
    home.write("second", "");
    all_answer(first, &workers);
    all_answer(second, &workers);
    assert!(was_refused(&home, "process_vm_readv"), "the rule is in force");
}
