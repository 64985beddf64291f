//! Calls that were taken from the kernel by a manager that is killed before it answers.

use std::{collections::BTreeMap, path::Path, time::Instant};

use super::*;
use crate::manager::SOON;

/// Serves, and binds further addresses without a pause in a thread beside: one that all workers share, and one
/// of its own. Its file says how often it has.
const RESTLESS: &str = "
import socket, threading
def restless():
    file = os.open('count-%d' % os.getpid(), os.O_CREAT | os.O_WRONLY)
    count = 0
    while True:
        with socket.socket() as shared:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            shared.bind(('127.0.0.1', int(sys.argv[2])))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(('127.0.0.1', 0))
        count += 1
        os.pwrite(file, b'%d' % count, 0)
";

fn restless(manager: &Manager, port: u16) -> Patch {
    let mut patch = server(manager, "python", port, 3);
    let (head, tail) = PYTHON.rsplit_once("http.server.ThreadingHTTPServer((").unwrap();
    let (server, serve) = tail.split_once(".serve_forever()").unwrap();
    let server = format!("server = http.server.ThreadingHTTPServer(({server}");
    let begin = "threading.Thread(target=restless, daemon=True).start()";
    let text = format!("{head}{RESTLESS}{server}\n{begin}\nserver.serve_forever(){serve}");
    fs::write(manager.root.join("server.py"), text).unwrap();
    patch.set("args", [port.to_string(), free_port().to_string()]);
    patch
}

/// How often each has bound by now.
fn counts(root: &Path, workers: &[Option<i32>]) -> BTreeMap<i32, u64> {
    let count = |pid: i32| {
        let text = fs::read_to_string(root.join(format!("count-{pid}"))).unwrap_or_default();
        (pid, text.parse().unwrap_or_default())
    };
    workers.iter().flatten().map(|pid| count(*pid)).collect()
}

/// Those of them that go on binding.
fn who_goes_on(root: &Path, workers: &[Option<i32>]) -> Vec<Option<i32>> {
    let (before, deadline) = (counts(root, workers), Instant::now() + SOON);
    loop {
        let now = counts(root, workers);
        // The call that waited, and one that did not.
        let goes_on = |pid: &Option<i32>| pid.is_some_and(|pid| now[&pid] > before[&pid] + 2);
        let going: Vec<_> = workers.iter().copied().filter(goes_on).collect();
        if going.len() == workers.len() || Instant::now() > deadline {
            return going;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_bind_that_a_killed_manager_had_begun_with_is_answered_by_the_next_one() {
    // Between the kernel's giving a call away and its being written down there is a moment in which nobody
    // else can know of it (docs/design/adoption.md). On a busy machine one of the many calls here may meet it;
    // without what is written down, nearly every kill leaves one.
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![restless(&manager, port)]);
    let workers = pids(&manager.list()[0]);
    let load = Load::on(port);
    let mut going = workers.clone();
    for _ in 0..8 {
        going = who_goes_on(&manager.root, &going);
        replace(&manager);
    }
    going = who_goes_on(&manager.root, &going);
    assert!(going.len() + 1 >= workers.len(), "calls wait for ever: {going:?} of {workers:?}");
    let after = manager.until("it is taken over", |apps| all_online(&apps[0]));
    assert_eq!(pids(&after[0]), workers);
    load.served_by_all(&workers);
    everything_works(&manager, &load, "python");
    load.end();
}
