//! Cases 4 to 16: `listen`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use compliance::{
    IN_ANY_ORDER, IN_TURN, Interpreter, Primary, compare_started, eventually, get, skip,
};
use rustix::process::geteuid;
use serde_json::{Value, json};
use tine_linux::sock_diag::tcp_listeners;

use crate::clients::{UntilDropped, V4, V6, listening_sockets, pids, tcp};

on_all! {
    each_worker_answers,
    addresses_are_what_they_are_without_a_cluster,
    listen_0_is_one_port_for_all_and_for_the_next_worker,
    two_servers_are_not_mixed_up,
    a_server_that_listens_again_loses_nobody,
    a_server_closed_in_its_callback_never_listens,
    a_taken_address_is_an_error_and_can_be_tried_again,
    a_second_server_on_one_address_is_an_error,
    ipv6_only_is_heeded,
    without_a_host_both_versions_are_served,
    the_backlog_is_as_asked,
    an_address_is_free_when_all_have_left_it,
    what_is_exclusive_is_bound_by_the_worker_alone,
}

/// Says its pid and closes.
const PID: &str = "
require('net').createServer((socket) => socket.end(String(process.pid))).listen(+process.env.PORT, '127.0.0.1');
";

/// Case 4.
pub(crate) fn each_worker_answers(primary: &mut Primary) {
    let port = primary.port();
    let script = "
require('http').createServer((request, response) => response.end(String(process.pid)))
  .listen(+process.env.PORT, '127.0.0.1');
";
    let workers = primary.fork_listening(3, script, &[("PORT", &port)]);
    let mut answers = BTreeMap::new();
    for _ in 0..12 {
        *answers.entry(get(port).expect("an answer")).or_insert(0) += 1;
    }
    let known = pids(primary, &workers);
    assert!(answers.keys().all(|pid| known.contains(pid)), "{answers:?} of {known:?}");
    if primary.way().takes_turns() {
        assert!(answers.values().all(|n| *n == 4), "not in turn: {answers:?}");
    }
    let wanted = usize::from(!primary.way().hands_over());
    for worker in workers {
        assert_eq!(listening_sockets(primary.pid_of(worker)), wanted);
    }
}

/// Case 5.
fn addresses_are_what_they_are_without_a_cluster(primary: &mut Primary) {
    let script = "
const net = require('net'), [a, b, c] = process.env.PORTS.split(' ').map(Number);
const all = [[a, '127.0.0.1'], [a, '::1'], [b, '0.0.0.0'], [c], ['./relative.sock']];
const tell = process.send ? (told) => process.send(told) : (told) => console.log(JSON.stringify(told));
(async () => {
  for (const args of all) {
    await new Promise((done) => {
      const server = net.createServer().listen(...args, () => {
        tell(server.address());
        process.send ? done() : server.close(done);
      });
    });
  }
})();
";
    let ports = [(); 3].map(|()| primary.port().to_string()).join(" ");
    let client = primary.write("bare.js", script);
    let bare = Command::new(primary.interpreter())
        .arg(client)
        .current_dir(primary.folder())
        .env("PORTS", &ports)
        .output()
        .expect("it is installed");
    let bare = String::from_utf8(bare.stdout).expect("JSON is UTF-8");
    let bare: Vec<Value> =
        bare.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(bare.len(), 5);
    for _ in 0..2 {
        let worker = primary.fork(script, &[("PORTS", &ports)]);
        for address in &bare {
            assert_eq!(primary.message(worker), *address);
        }
        primary.wait_count(worker, "listening", 5);
    }
}

/// Cases 6 and 7.
pub(crate) fn listen_0_is_one_port_for_all_and_for_the_next_worker(primary: &mut Primary) {
    let script = "
const net = require('net');
const listen = () => new Promise((done) => {
  const server = net.createServer((socket) => socket.end(String(process.pid)));
  server.listen(0, '127.0.0.1', () => done(server.address().port));
});
(async () => process.send([await listen(), await listen()]))();
";
    let workers = [(); 2].map(|()| primary.fork(script, &[]));
    let ports = workers.map(|worker| primary.message(worker));
    assert_eq!(ports[0], ports[1]);
    primary.wait_count(workers[0], "listening", 2);
    let pair = [0, 1].map(|n| ports[0][n].as_u64().and_then(|port| port.try_into().ok()));
    let [Some(first), Some(second)] = pair else { panic!("two ports: {}", ports[0]) };
    assert_ne!(first, second);
    primary.call(first, "FIRST");
    primary.call(second, "SECOND");

    primary.kill(workers[0]);
    let next = primary.fork(script, &[]);
    assert_eq!(primary.message(next), ports[0]);
    for worker in [workers[1], next] {
        primary.wait_count(worker, "listening", 2);
    }
    for port in [first, second] {
        assert!(tcp(V4, port).is_ok());
    }
}

/// Case 8.
fn two_servers_are_not_mixed_up(primary: &mut Primary) {
    let script = "
const http = require('http');
for (const name of ['ONE', 'TWO']) {
  http.createServer((request, response) => response.end(name)).listen(+process.env[name], '127.0.0.1');
}
process.on('message', (message) => process.send(message));
";
    let ports = [primary.port(), primary.port()];
    let env: [(&str, &dyn ToString); 2] = [("ONE", &ports[0]), ("TWO", &ports[1])];
    let workers: Vec<u32> = (0..2).map(|_| primary.fork(script, &env)).collect();
    for worker in workers {
        primary.wait_count(worker, "listening", 2);
    }
    let ask = |port, name: &str| {
        for _ in 0..50 {
            assert_eq!(get(port).expect("an answer"), name);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| ask(ports[0], "ONE"));
        scope.spawn(|| ask(ports[1], "TWO"));
    });
}

/// Case 9. Not by http: that of Node 26 also closes connections that have not asked yet.
pub(crate) fn a_server_that_listens_again_loses_nobody(primary: &mut Primary) {
    let script = "
const server = require('net').createServer((socket) => socket.end('here'));
const listen = (done) => server.listen(+process.env.PORT, '127.0.0.1', done);
server.on('error', (error) => process.send(`error ${error.code}`));
process.on('message', () => server.close(() => listen(() => process.send('again'))));
listen();
";
    let port = primary.port();
    let workers = primary.fork_listening(2, script, &[("PORT", &port)]);
    let done = AtomicBool::new(false);
    let load = || {
        while !done.load(Ordering::Relaxed) {
            assert_eq!(tcp(V4, port).expect("no connection is lost"), "here");
        }
    };
    thread::scope(|scope| {
        let load_runs = UntilDropped(&done);
        let clients = [(); 2].map(|()| scope.spawn(load));
        for turn in 1..=5 {
            primary.send(workers[0], "listen again");
            assert_eq!(primary.message(workers[0]), "again");
            primary.wait_count(workers[0], "listening", 1 + turn);
        }
        drop(load_runs);
        for client in clients {
            client.join().expect("no connection is lost");
        }
    });
}

/// Case 10.
fn a_server_closed_in_its_callback_never_listens(primary: &mut Primary) {
    let script = "
const server = require('net').createServer();
server.listen(+process.env.PORT, '127.0.0.1', () => server.close(() => process.send('closed')));
";
    let port = primary.port();
    let worker = primary.fork(script, &[("PORT", &port)]);
    assert_eq!(primary.message(worker), "closed");
    eventually("the port is free again", || TcpListener::bind((V4, port)).is_ok());
    assert_eq!(primary.count(worker, "listening"), 0);
}

/// Tells how it went; tries again at each message.
const ATTEMPT: &str = "
const attempt = () => {
  const server = require('net').createServer((socket) => socket.end('here'));
  server.on('error', ({ code, errno, syscall, address, port, message }) => {
    process.send({ code, errno, syscall, address, port, message });
  });
  server.listen(+process.env.PORT, process.env.HOST, () => process.send('listening'));
};
process.on('message', attempt);
attempt();
";

/// Case 11.
pub(crate) fn a_taken_address_is_an_error_and_can_be_tried_again(primary: &mut Primary) {
    let port = primary.port();
    let taken = TcpListener::bind((V4, port)).expect("it is free");
    let worker = primary.fork(ATTEMPT, &[("PORT", &port), ("HOST", &V4)]);
    let error = primary.message(worker);
    let wanted = ["EADDRINUSE".into(), json!(-98), "bind".into()];
    assert_eq!(["code", "errno", "syscall"].map(|field| error[field].clone()), wanted);
    drop(taken);
    primary.send(worker, "again");
    assert_eq!(primary.message(worker), "listening");
    primary.wait_for(worker, "listening");
    assert_eq!(tcp(V4, port).expect("an answer"), "here");
}

mod an_address_that_cannot_be_had_is_an_error {
    use super::*;

    #[test]
    fn in_turn() {
        compare_started(unprivileged, &IN_TURN, errors);
    }

    #[test]
    fn in_any_order() {
        compare_started(unprivileged, &IN_ANY_ORDER, errors);
    }

    /// Without the right to bind low ports.
    fn unprivileged(way: compliance::Way) -> Primary {
        let through: &[&str] = if geteuid().is_root() {
            &["setpriv", "--bounding-set", "-net_bind_service"]
        } else {
            &[]
        };
        Primary::start_with(way, &Interpreter::system(), through, &[])
    }

    /// Case 12.
    fn errors(primary: &mut Primary) {
        let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        if first_free.is_ok_and(|port| port.trim().parse().is_ok_and(|port: u16| port <= 80)) {
            return skip("any user may bind port 80 here");
        }
        for (host, port, code, errno) in
            [("127.0.0.9", 80, "EACCES", -13), ("192.0.2.1", 0, "EADDRNOTAVAIL", -99)]
        {
            let worker = primary.fork(ATTEMPT, &[("PORT", &port), ("HOST", &host)]);
            let error = primary.message(worker);
            assert_eq!((&error["code"], &error["errno"]), (&code.into(), &errno.into()));
        }
    }
}

/// Case 13.
fn a_second_server_on_one_address_is_an_error(primary: &mut Primary) {
    let port = primary.port();
    let worker = primary.fork(ATTEMPT, &[("PORT", &port), ("HOST", &V4)]);
    assert_eq!(primary.message(worker), "listening");
    primary.wait_for(worker, "listening");
    primary.send(worker, "again");
    assert_eq!(primary.message(worker)["code"], "EADDRINUSE");
    assert_eq!(tcp(V4, port).expect("an answer"), "here");
}

/// Case 14.
fn ipv6_only_is_heeded(primary: &mut Primary) {
    let script = "
require('net').createServer((socket) => socket.end('here'))
  .listen({ port: +process.env.PORT, host: '::', ipv6Only: process.env.ONLY === 'true' });
";
    for only in [true, false] {
        let port = primary.port();
        let env: [(&str, &dyn ToString); 2] = [("PORT", &port), ("ONLY", &only)];
        primary.fork_listening(2, script, &env);
        assert_eq!(tcp(V6, port).expect("an answer"), "here");
        assert_eq!(tcp(V4, port).is_ok(), !only);
    }
}

/// Case 15.
fn without_a_host_both_versions_are_served(primary: &mut Primary) {
    let script = PID.replace(", '127.0.0.1'", "");
    let port = primary.port();
    let workers = primary.fork_listening(2, &script, &[("PORT", &port)]);
    let known = pids(primary, &workers);
    let answers: BTreeSet<String> =
        [V4, V6].map(|ip| tcp(ip, port).expect("an answer")).into_iter().collect();
    assert!(answers.is_subset(&known), "{answers:?} of {known:?}");
}

/// Also when they have ended without a word, as the second one does.
fn an_address_is_free_when_all_have_left_it(primary: &mut Primary) {
    let port = primary.port();
    let workers = primary.fork_listening(2, PID, &[("PORT", &port)]);
    primary.disconnect(workers[0]);
    primary.wait_exit(workers[0]);
    primary.kill(workers[1]);
    eventually("the address is free", || TcpListener::bind((V4, port)).is_ok());
    // And can be had again.
    primary.fork_listening(1, PID, &[("PORT", &port)]);
    assert!(tcp(V4, port).is_ok());
}

/// Case 16: of the primary's socket, or of the worker's own.
fn the_backlog_is_as_asked(primary: &mut Primary) {
    let script = "
require('net').createServer().listen({ port: +process.env.PORT, host: '127.0.0.1', backlog: 7 });
";
    let port = primary.port();
    primary.fork_listening(2, script, &[("PORT", &port)]);
    let listeners = tcp_listeners(Some(port)).expect("sock_diag");
    let backlogs: BTreeSet<u32> = listeners.iter().map(|listener| listener.backlog).collect();
    assert_eq!(backlogs, BTreeSet::from([7]), "{listeners:?}");
}

/// Says how it went.
const DIRECT: &str = "
const server = require('net').createServer((socket) => socket.end(String(process.pid)));
server.on('error', (error) => process.send(error.code));
const options = { port: +process.env.PORT, host: '127.0.0.1', [process.env.HOW]: true };
server.listen(options, () => process.send('listening'));
";

/// Case 20.
fn what_is_exclusive_is_bound_by_the_worker_alone(primary: &mut Primary) {
    let port = primary.port();
    let env: [(&str, &dyn ToString); 2] = [("PORT", &port), ("HOW", &"exclusive")];
    for wanted in ["listening", "EADDRINUSE"] {
        let worker = primary.fork(DIRECT, &env);
        assert_eq!(primary.message(worker), wanted);
        // Told by nobody: the primary was not asked.
        assert_eq!(primary.count(worker, "listening"), 0);
    }
    let first = primary.pid_of(1);
    assert_eq!(tcp(V4, port).expect("an answer"), first.to_string());
    assert_eq!(listening_sockets(first), 1);
    // It would serve on for ever: only what the primary gave is closed at a disconnect.
    primary.kill(1);
}

/// Case 20: Node 22 and later.
pub(crate) fn a_reused_port_is_bound_by_each_worker(primary: &mut Primary) {
    let port = primary.port();
    let env: [(&str, &dyn ToString); 2] = [("PORT", &port), ("HOW", &"reusePort")];
    let workers = [(); 2].map(|()| primary.fork(DIRECT, &env));
    for worker in workers {
        assert_eq!(primary.message(worker), "listening");
        assert_eq!(listening_sockets(primary.pid_of(worker)), 1);
        // Told by nobody: the primary was not asked.
        assert_eq!(primary.count(worker, "listening"), 0);
    }
    assert!(pids(primary, &workers).contains(&tcp(V4, port).expect("an answer")));
    for worker in workers {
        primary.kill(worker);
    }
}
