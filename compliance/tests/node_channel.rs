//! Unmodified Node programs whose `listen` asks tine over Node's own channel.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
};

use compliance::{DEADLINE, KeepAlive, Run, Tine, Who, free_port, get, pid_in, skip};
use rustix::process::Signal;

#[path = "acquisition/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use support::{V4, V6, all_answer, each_answers_alone, said, stop, suspend, tcp, udp, unix};

/// Kernel seats, one queue, hand-over by need and by wish.
const WAYS: [(&[&str], Who); 4] = [
    (&[], Who::Root),
    (&["--policy", "shared"], Who::Root),
    (&[], Who::User),
    (&["--mechanism", "hand-over"], Who::Root),
];

fn ways() -> impl Iterator<Item = (&'static [&'static str], Who)> {
    WAYS.into_iter().filter(|(_, who)| who.missing().is_none())
}

/// A `tine run` of a Node script, which finds its port in `PORT`.
fn node(workers: &str, port: u16, options: &[&str], script: &str) -> Run {
    let port = format!("PORT={port}");
    let fixed = ["-i", workers, "--name", "app", "--env", &port];
    Tine::run(fixed.iter().chain(options).chain(&["app.js"])).file("app.js", script)
}

/// What each worker said after this word.
fn told(tine: &mut Tine, word: &str) -> Vec<String> {
    let word = format!("| {word} ");
    let lines = tine.lines().iter().filter_map(|line| line.text.split_once(&word));
    lines.map(|(_, rest)| rest.to_owned()).collect()
}

fn wait_told(tine: &mut Tine, n: usize, word: &str) -> Vec<String> {
    let wanted = format!("| {word} ");
    tine.wait_for_nth(n, |line| line.contains(&wanted), word);
    told(tine, word)
}

#[test]
fn addresses_are_what_they_are_without_a_cluster() {
    let script = "
const net = require('net'), dgram = require('dgram'), port = +process.env.PORT;
const answer = socket => socket.end(String(process.pid)).on('error', () => {});
const all = [[port, '127.0.0.1'], [port + 0, '::1'], ['./relative.sock'], [__dirname + '/absolute.sock']];
const listen = args => new Promise(done => {
  const server = net.createServer(answer).listen(...args, () => done(server.address()));
});
(async () => {
  const told = [];
  for (const args of all) told.push(await listen(args));
  const socket = dgram.createSocket('udp4', (_, from) => socket.send(String(process.pid), from.port, from.address));
  await new Promise(done => socket.bind(port, '127.0.0.1', done));
  told.push(socket.address());
  console.log('told', JSON.stringify(told).replaceAll(__dirname, ''));
  if (!require('cluster').isWorker) process.exit();
})();
";
    for (options, who) in ways() {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("tine-node-{port}"));
        std::fs::create_dir(&folder).expect("a new folder");
        std::fs::write(folder.join("app.js"), script).expect("a new file");
        let mut bare = Command::new("node");
        bare.arg("app.js").current_dir(&folder).env("PORT", port.to_string());
        let bare = bare.output().expect("node");
        std::fs::remove_dir_all(&folder).expect("our own folder");
        let bare = String::from_utf8_lossy(&bare.stdout);
        let bare = bare.trim().strip_prefix("told ").expect("it was told");

        let mut tine = node("2", port, options, script).as_who(who).start();
        assert_eq!(wait_told(&mut tine, 2, "told"), [bare, bare], "{options:?}");
        tine.wait_for_nth(10, |line| line.contains(" listens on "), "all seats");
        for ip in [V4, V6] {
            all_answer_or_one(&mut tine, options, || tcp(ip, port));
        }
        all_answer_or_one(&mut tine, options, || udp(V4, port));
        let folder = tine.folder().to_owned();
        for name in ["relative.sock", "absolute.sock"] {
            all_answer_or_one(&mut tine, options, || unix(&folder.join(name)));
        }
        stop(tine);
        assert!(!folder.join("absolute.sock").exists());
    }
}

/// Under one queue whoever is quickest answers.
fn all_answer_or_one(tine: &mut Tine, options: &[&str], ask: impl Fn() -> io::Result<u32>) {
    if options.contains(&"hand-over") || options.is_empty() {
        let pid = ask().unwrap_or_else(|error| panic!("{error}: {:#?}", tine.lines()));
        assert!(tine.pids().contains(&pid));
        return;
    }
    each_answers_alone(tine, ask);
}

#[test]
fn turns_are_taken_and_workers_know_that_they_are_workers() {
    let script = "
const cluster = require('cluster');
require('net').createServer(socket => socket.end(String(process.pid))).listen(+process.env.PORT, '127.0.0.1',
  () => console.log('told', cluster.isWorker, cluster.isPrimary, cluster.worker.id, process.connected));
";
    for (options, who) in ways().filter(|(options, _)| !options.contains(&"shared")) {
        let port = free_port();
        let mut tine = node("3", port, options, script).as_who(who).start();
        tine.wait_listening(3);
        let mut facts = wait_told(&mut tine, 3, "told");
        facts.sort();
        let wanted = [1, 2, 3].map(|id| format!("true false {id} true"));
        assert_eq!(facts, wanted);
        let order: Vec<u32> = (0..9).map(|_| tcp(V4, port).expect("an answer")).collect();
        let three: BTreeSet<u32> = order[..3].iter().copied().collect();
        assert_eq!(three.len(), 3, "{order:?}");
        assert!(order.windows(4).all(|turn| turn[0] == turn[3]), "{order:?}");
        stop(tine);
    }
}

#[test]
fn listen_0_is_one_port_for_all_also_for_the_next_worker() {
    let script = "
require('net').createServer(socket => socket.end(String(process.pid))).listen(0, '127.0.0.1', function () {
  console.log('port', this.address().port);
});
";
    for (options, who) in ways() {
        let mut tine = node("2", 0, options, script).as_who(who).start();
        let ports = wait_told(&mut tine, 2, "port");
        assert_eq!(ports[0], ports[1]);
        let killed = tine.pids()[0];
        tine.signal_worker(killed, Signal::KILL);
        let ports = wait_told(&mut tine, 3, "port");
        assert_eq!(ports[0], ports[2]);
        let port = ports[0].parse().expect("a port");
        assert!(tcp(V4, port).is_ok());
        stop(tine);
    }
}

#[test]
fn a_path_longer_than_a_socket_address_is_listened_on() {
    let script = "
const path = require('path'), fs = require('fs');
let folder = __dirname;
while (folder.length < 119) folder = path.join(folder, 'd'.repeat(Math.min(40, 119 - folder.length - 1) || 1));
fs.mkdirSync(folder, { recursive: true });
const name = path.join(folder, 'x'.repeat(133 - folder.length - 1));
require('net').createServer(socket => socket.end(String(process.pid))).listen(name, () => {
  console.log('path', name);
});
";
    let mut tine = node("2", 0, &[], script).start();
    let path = wait_told(&mut tine, 2, "path").remove(0);
    assert_eq!(path.len(), 133);
    let (folder, name) = path.rsplit_once('/').expect("an absolute path");
    let directory = std::fs::File::open(folder).expect("a folder");
    let short = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&directory));
    assert!(unix(std::path::Path::new(&short)).is_ok());
    stop(tine);
}

#[test]
fn errors_are_told_as_node_knows_them() {
    let script = "
const net = require('net');
const attempt = (port, host) => new Promise(done => {
  const server = net.createServer().on('error', error => done(error.code)).listen(port, host, () => done('OK'));
});
(async () => {
  const port = +process.env.PORT;
  const codes = [await attempt(+process.env.TAKEN, '127.0.0.1'), await attempt(port, '192.0.2.1'),
    await attempt(80, '127.0.0.9'), await attempt(port, '127.0.0.1'), await attempt(port, '127.0.0.1')];
  console.log('codes', ...codes);
})();
";
    for (options, who) in ways().filter(|(_, who)| *who == Who::User) {
        let taken = std::net::TcpListener::bind((V4, 0)).expect("a port");
        let taken = (taken.local_addr().expect("it is bound").port(), taken);
        let variable = format!("TAKEN={}", taken.0);
        let options = [options, &["--env", &variable]].concat();
        let mut tine = node("2", free_port(), &options, script).as_who(who).start();
        let codes = wait_told(&mut tine, 2, "codes");
        assert_eq!(codes, ["EADDRINUSE EADDRNOTAVAIL EACCES OK EADDRINUSE"; 2]);
        stop(tine);
    }
}

#[test]
fn tls_sessions_resume_at_every_worker() {
    let script = "
const tls = require('tls'), fs = require('fs');
const options = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem'), maxVersion: 'TLSv1.2' };
tls.createServer(options, socket => socket.end(String(process.pid))).listen(+process.env.PORT, '127.0.0.1');
";
    let client = "
const tls = require('tls'), port = +process.argv[1];
const connect = session => new Promise((done, failed) => {
  let pid = '', kept;
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, session });
  socket.on('session', given => kept = given).on('data', data => pid += data).on('error', failed);
  let resumed;
  socket.on('secureConnect', () => resumed = socket.isSessionReused());
  socket.on('close', () => done({ pid, session: kept || session, resumed }));
});
(async () => {
  const first = await connect();
  const pids = new Set([first.pid]);
  for (let turn = 0; turn < 60 && pids.size < 3; turn++) {
    const next = await connect(first.session);
    if (!next.resumed) throw new Error('not resumed at ' + next.pid + ' of ' + [...pids]);
    pids.add(next.pid);
  }
  console.log(pids.size);
})();
";
    let Some((key, certificate)) = certificate() else { return skip("no openssl here") };
    for (options, who) in ways().filter(|(options, _)| !options.contains(&"shared")) {
        let port = free_port();
        let run = node("3", port, options, script).as_who(who);
        let mut tine = run.file("key.pem", &*key).file("cert.pem", &*certificate).start();
        tine.wait_listening(3);
        let output = Command::new("node").args(["-e", client, &port.to_string()]).output();
        let output = output.expect("node");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n", "{error}");
        stop(tine);
    }
}

/// A key and a certificate signed with it.
fn certificate() -> Option<(String, String)> {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                     -subj /CN=localhost -keyout - -out -";
    let output = Command::new("openssl").args(arguments.split_whitespace()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let begin = text.find("-----BEGIN CERTIFICATE-----")?;
    Some((text[..begin].to_owned(), text[begin..].to_owned()))
}

#[test]
fn handles_that_a_worker_sends_are_acknowledged() {
    // Node queues everything behind a handle until it is acknowledged, and gives up after a while.
    let script = "
const net = require('net');
const server = net.createServer(socket => {
  process.send({ here: 'a socket' }, socket, { keepOpen: true }, error => {
    process.send({ more: true }, undefined, {}, () => {
      socket.end(error ? 'error ' + error : String(process.pid));
    });
  });
}).listen(+process.env.PORT, '127.0.0.1');
";
    for (options, who) in ways() {
        let port = free_port();
        let mut tine = node("2", port, options, script).as_who(who).start();
        tine.wait_listening(2);
        for _ in 0..20 {
            assert!(tcp(V4, port).is_ok());
        }
        stop(tine);
    }
}

#[test]
fn a_flood_of_messages_changes_nothing() {
    let script = "
require('net').createServer(socket => socket.end(String(process.pid))).listen(+process.env.PORT, '127.0.0.1', () => {
  for (let n = 0; n < 20000; n++) process.send({ n, text: 'x'.repeat(50) });
  process.send('last', () => console.log('sent all'));
});
";
    let port = free_port();
    let mut tine = node("2", port, &[], script).start();
    said(&mut tine, 2, "sent all");
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}

#[test]
fn workers_that_leave_by_themselves_end_with_their_own_code() {
    let script = "
const cluster = require('cluster');
require('net').createServer(socket => {
  socket.end(String(process.pid));
  const way = { 1: () => cluster.worker.disconnect(), 2: () => process.disconnect(),
                3: () => cluster.worker.kill(), 4: () => process.exit(42) }[cluster.worker.id];
  socket.on('close', () => way && way());
}).listen(+process.env.PORT, '127.0.0.1');
";
    // One worker, so that each is the one that answers.
    let port = free_port();
    let mut tine = node("1", port, &["--restart-delay", "10ms"], script).start();
    for (worker, end) in [
        (1, "exited with code 0"),
        (2, "exited with code 0"),
        (3, "exited"),
        (4, "exited with code 42"),
    ] {
        tine.wait_for_nth(worker, |line| line.contains(" listens on "), "the next worker");
        assert!(tcp(V4, port).is_ok());
        let wanted = format!("worker {worker} {end}");
        tine.wait_for(|line| line.contains(&wanted), &wanted);
    }
    tine.wait_for_nth(5, |line| line.contains(" listens on "), "the last worker");
    stop(tine);
}

#[test]
fn a_stop_lets_requests_finish_and_closes_idle_connections_kindly() {
    let script = "
require('http').createServer((request, response) => {
  const answer = () => response.end(`node ${process.pid}`);
  if (request.url !== '/slow') return answer();
  console.log('begun');
  setTimeout(answer, 1500);
}).listen(+process.env.PORT, '127.0.0.1');
process.on('SIGINT', () => console.log('a signal was needed'));
";
    for (options, who) in ways() {
        let port = free_port();
        let mut tine = node("2", port, options, script).as_who(who).start();
        tine.wait_listening(2);
        let mut idle = KeepAlive::connect(port).expect("a connection");
        assert!(tine.pids().contains(&pid_in(&idle.get().expect("an answer"))));
        let slow = thread::spawn(move || slow_request(port));
        said(&mut tine, 1, "begun");
        let exit = tine.stop();
        let answer = slow.join().expect("the client lives").expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let end = idle.get().expect_err("it was closed");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof, "kindly, not by a reset: {end}");
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        assert_eq!(exit.stderr.matches("exited with code 0").count(), 2, "{}", exit.stderr);
        assert!(!exit.stdout.contains("a signal was needed"), "{}", exit.stdout);
    }
}

fn slow_request(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(V4, port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_connection_handed_to_a_worker_that_dies_is_served_by_another() {
    let port = free_port();
    let env = format!("PORT={port}");
    let options = ["-i", "2", "--mechanism", "hand-over", "--env", &env, "hello.js"];
    let mut tine = Tine::run(options).start();
    tine.wait_listening(2);
    let pids = tine.pids();
    suspend(&tine, pids[0]);
    // One of these is handed to the worker that cannot take it.
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(move || get(port))).collect();
    let answered = |clients: &[thread::JoinHandle<_>]| {
        clients.iter().filter(|client| client.is_finished()).count()
    };
    support::until("the other worker has answered three", || answered(&clients) == 3);
    tine.signal_worker(pids[0], Signal::KILL);
    for client in clients {
        let body = client.join().expect("the client lives").expect("an answer");
        assert_ne!(pid_in(&body), pids[0]);
    }
    stop(tine);
}

#[test]
fn code_from_the_command_line_gets_the_bind_trap() {
    let script = "require('net').createServer(s => s.end(String(process.pid))).listen(+process.env.PORT, '127.0.0.1')";
    let port = free_port();
    let env = format!("PORT={port}");
    let mut tine = Tine::run(["-i", "2", "--env", &env, "--", "node", "-e", script]).start();
    for seat in tine.wait_listening(2) {
        assert_eq!(seat.acquisition, "bind-trap");
    }
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}
