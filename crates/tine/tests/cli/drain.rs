//! What happens to clients while workers leave, with the real program.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::shell::{Shell, free_port, wait_until};

/// Answers at once; `/slow` when a file called `go` is there; `/socket` is a connection for good, after a
/// first word.
const NODE: &str = r"
const fs = require('fs');
const server = require('http').createServer((request, response) => {
  if (request.url !== '/slow') return response.end('quick');
  fs.writeFileSync('working', '');
  const look = () => fs.existsSync('go') ? response.end('slow') : setTimeout(look, 20);
  look();
});
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello');
  socket.on('data', data => socket.write(data)).on('error', () => {});
});
server.listen(process.env.AT.startsWith('/') ? process.env.AT : { port: process.env.AT, host: '127.0.0.1' });
";

/// The same in Python, without the last; no handshake ends before a request comes if `LATE` is set.
const PYTHON: &str = r#"
import os, socket, socketserver, time
from http.server import BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"quick"
        if self.path == "/slow":
            open("working", "w").close()
            while not os.path.exists("go"): time.sleep(0.02)
            body = b"slow"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
at = os.environ["AT"]
class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family = socket.AF_UNIX if at.startswith("/") else socket.AF_INET
    request_queue_size = 100
    daemon_threads = True
    def server_bind(self):
        if os.environ.get("LATE"): self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
        self.socket.bind(self.server_address)
Server(at if at.startswith("/") else ("127.0.0.1", int(at)), Handler).serve_forever()
"#;

/// Starts `app` with these options.
fn shell(at: &str, script: &str, options: &str) -> Shell {
    let mut shell = Shell::new();
    shell.set("AT", at);
    start(&shell, script, options);
    shell
}

fn start(shell: &Shell, script: &str, options: &str) {
    shell.write("app.js", NODE);
    shell.write("app.py", PYTHON);
    shell.ok(&format!("start {script} --name app --min-uptime 60s --silent {options}"));
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    stream
}

fn request(stream: &mut impl Write, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("room");
}

fn answer(stream: &mut impl Read) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// As many new connections as can be made one after the other, while something is done; gives what went
/// wrong with any of them.
fn under_load(connect: impl Fn() -> io::Result<String> + Sync, work: impl FnOnce()) -> Vec<String> {
    let (over, made) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let client = || {
            let mut wrong = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match connect() {
                    Ok(text) if text.contains("quick") => {}
                    other => wrong.push(format!("{other:?}")),
                }
                made.fetch_add(1, Ordering::Relaxed);
            }
            wrong
        };
        let clients = [scope.spawn(client), scope.spawn(client)];
        assert!(wait_until(|| made.load(Ordering::Relaxed) > 5));
        work();
        let before = made.load(Ordering::Relaxed);
        assert!(wait_until(|| made.load(Ordering::Relaxed) > before + 5), "clients wait for ever");
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|it| it.join().expect("it asserts nothing")).collect()
    })
}

fn over_tcp(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    request(&mut stream, "/");
    answer(&mut stream)
}

fn over_unix(path: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    request(&mut stream, "/");
    answer(&mut stream)
}

/// Whatever is done to an app that goes on: nobody is refused, reset, or forgotten.
fn loses_nobody(shell: &Shell, ask: impl Fn() -> io::Result<String> + Sync) {
    for work in ["restart app", "reload app", "restart app", "scale app 1", "restart app"] {
        let wrong = under_load(&ask, || drop(shell.ok(&format!("{work} --silent"))));
        assert!(wrong.is_empty(), "{work}: {wrong:?}");
    }
}

macro_rules! loses_nobody {
    ($($fact:ident: $script:literal $policy:literal,)*) => { $(
        #[test]
        fn $fact() {
            let port = free_port();
            let options = concat!("-i 2 --policy ", $policy);
            let shell = shell(&port.to_string(), $script, options);
            loses_nobody(&shell, || over_tcp(port));
        }
    )* };
}

loses_nobody! {
    restarts_and_reloads_lose_nobody_in_node_by_turns: "app.js" "rr",
    restarts_and_reloads_lose_nobody_in_python_by_turns: "app.py" "rr",
    restarts_and_reloads_lose_nobody_in_node_at_random: "app.js" "random",
    restarts_and_reloads_lose_nobody_in_python_at_random: "app.py" "random",
    restarts_and_reloads_lose_nobody_in_node_with_one_queue: "app.js" "shared",
}

#[test]
fn restarts_and_reloads_lose_nobody_at_a_path() {
    let mut shell = Shell::new();
    let path = shell.work().join("app.sock").display().to_string();
    shell.set("AT", &path);
    start(&shell, "app.js", "-i 2");
    loses_nobody(&shell, || over_unix(&path));
}

/// A request that a worker has begun with is answered though the worker was told to go.
fn is_finished(shell: &Shell, mut client: impl Read + Write, leave: &str) {
    request(&mut client, "/slow");
    assert!(wait_until(|| shell.work().join("working").exists()), "the request has come");
    thread::scope(|scope| {
        let leaving = scope.spawn(|| shell.ok(leave));
        let statuses = || shell.values("app", "/pm2_env/status");
        assert!(wait_until(|| statuses().iter().any(|it| it == "stopping")), "{:?}", statuses());
        shell.write("go", "");
        let answer = answer(&mut client).expect("an end, not a reset");
        assert!(answer.ends_with("slow"), "{answer:?}");
        let out = leaving.join().expect("it succeeds");
        assert!(!out.contains("cut"), "{out}");
    });
}

#[test]
fn a_request_at_a_path_is_finished_before_its_worker_goes() {
    for (script, leave) in [("app.py", "stop app"), ("app.js", "restart app")] {
        let mut shell = Shell::new();
        let path = shell.work().join("app.sock").display().to_string();
        shell.set("AT", &path);
        start(&shell, script, "");
        let client = UnixStream::connect(&path).expect("it listens");
        client.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
        is_finished(&shell, client, leave);
    }
}

#[test]
fn a_connection_at_a_path_that_nobody_uses_ends_kindly_before_the_drain_does() {
    let mut shell = Shell::new();
    let path = shell.work().join("app.sock").display().to_string();
    shell.set("AT", &path);
    start(&shell, "app.py", "");
    let mut client = UnixStream::connect(&path).expect("it listens");
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("room");
    let mut word = [0; 4];
    client.read_exact(&mut word).expect("an answer");
    let out = shell.ok("stop app --drain-timeout 8s");
    assert!(out.starts_with("app (0): stopped\n"), "{out}");
    assert!(answer(&mut client).is_ok(), "it ended without a reset");
}

/// What has shaken hands but for the last word is served, wherever that leads to.
fn serves_who_is_late(policy: &str) {
    let port = free_port();
    let mut shell = Shell::new();
    shell.set("AT", &port.to_string());
    shell.set("LATE", "1");
    start(&shell, "app.py", &format!("-i 2 --policy {policy}"));
    let before = shell.values("app", "/pid");
    // More than there are workers: each has some. To the kernel they have not come yet.
    let late: Vec<TcpStream> = (0..6).map(|_| connect(port)).collect();
    thread::scope(|scope| {
        let reload = scope.spawn(|| shell.ok("reload app"));
        let replaced = || shell.values("app", "/pid").first() != before.first();
        assert!(wait_until(replaced), "the first has a successor");
        for mut client in late {
            request(&mut client, "/");
            let answer = answer(&mut client).expect("an answer");
            assert!(answer.ends_with("quick"), "{answer:?}");
        }
        reload.join().expect("it succeeds");
    });
}

#[test]
fn who_has_begun_to_connect_is_served_by_turns() {
    serves_who_is_late("rr");
}

#[test]
fn who_has_begun_to_connect_is_served_at_random() {
    serves_who_is_late("random");
}

#[test]
fn who_has_begun_to_connect_is_served_from_one_queue() {
    serves_who_is_late("shared");
}

#[test]
fn a_connection_for_good_stays_until_the_drains_end_is_cut_and_counted() {
    let port = free_port();
    let shell = shell(&port.to_string(), "app.js", "");
    let mut socket = connect(port);
    let upgrade = "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).expect("room");
    let mut seen = String::new();
    while !seen.ends_with("hello") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("it goes on");
        seen.push(char::from(byte[0]));
    }
    let out = thread::scope(|scope| {
        let leaving = scope.spawn(|| shell.ok("reload app --drain-timeout 6s"));
        let drains = || shell.ok("describe app").contains(" draining");
        assert!(wait_until(|| drains() || leaving.is_finished()));
        let mut echo = [0; 4];
        socket.write_all(b"ping").expect("it is there");
        socket.read_exact(&mut echo).expect("it goes on");
        leaving.join().expect("it succeeds")
    });
    assert!(out.starts_with("app (0): reloaded, 1 connection cut\n"), "{out}");
    assert_eq!(shell.values("app", "/pm2_env/connections_cut"), ["1"]);
    let described = shell.ok("describe app");
    assert!(described.contains("connections cut     1 (worker 0: 1)"), "{described}");
}

#[test]
fn a_drain_is_cut_short_once_where_that_is_asked_for() {
    let port = free_port();
    let shell = shell(&port.to_string(), "app.py", "-i 2");
    // Half a request is no idle connection.
    let half = || {
        let mut client = connect(port);
        client.write_all(b"GET / HTTP/1.1\r\n").expect("room");
        client
    };
    let _all: Vec<TcpStream> = (0..8).map(|_| half()).collect();
    assert!(wait_until(|| !shell.ok("ports").contains(" 1  in-rotation")));
    let out = shell.ok("scale app 1 --drain-timeout 200ms");
    assert!(out.starts_with("app (1): scaled, ") && out.contains(" cut\n"), "{out}");
    let out = shell.ok("delete app --drain-timeout 200ms");
    assert!(out.starts_with("app (1): deleted, ") && out.contains(" cut\n"), "{out}");
}

#[test]
fn one_queue_is_said_to_be_one_that_nobody_can_be_kept_from() {
    let port = free_port();
    let shell = shell(&port.to_string(), "app.py", "--policy shared");
    let sentence = "a worker that is to leave goes on accepting";
    assert!(shell.ok("describe app").contains(sentence));
    let doctor = shell.tine("doctor").out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(doctor.contains("worker that is to leave goes on accepting"), "{doctor}");
    shell.ok("delete app --silent");
    start(&shell, "app.py", "--policy rr");
    assert!(!shell.ok("describe app").contains(sentence));
}
