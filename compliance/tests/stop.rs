//! Ctrl-C and SIGTERM: running requests finish, idle connections are closed kindly, nothing new is
//! accepted, and nothing is left behind.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use compliance::{
    DEADLINE, KeepAlive, Program, Run, Tine, Who, eventually, free_port, is_alive, skip,
};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

/// `/` at once; `/slow` one second after it has said so.
const NODE: &str = r"
require('http').createServer((request, response) => {
  if (request.url !== '/slow') return response.end('quick');
  console.log('working');
  setTimeout(() => response.end('slow'), 1000);
}).listen(process.env.PORT, '127.0.0.1');
";

const PYTHON: &str = r#"
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            print("working")
            time.sleep(1)
        body = b"slow" if self.path == "/slow" else b"quick"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("working")
		time.Sleep(time.Second)
		fmt.Fprint(w, "slow")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "quick") })
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
"#;

fn go() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("slow.go"), folder.join("slow"));
    let lock = File::create(folder.join("slow.lock")).expect("the target folder is writable");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock on a plain file");
    fs::write(&source, GO).expect("the target folder is writable");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(&source).env("CGO_ENABLED", "0");
    let output = go.output().expect("go is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Two workers of the slow server; `args` are its command.
fn slow(port: u16, args: &[&str]) -> Run {
    let variable = format!("PORT={port}");
    let options = ["-i", "2", "--name", "app", "--env", &variable];
    let run = Tine::run(options.iter().chain(args).copied());
    run.file("slow.js", NODE).file("slow.py", PYTHON)
}

/// A request for `/slow` that a worker has begun with.
fn begin_slow(tine: &mut Tine, port: u16) -> TcpStream {
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("a socket");
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
    tine.wait_for(|line| line.ends_with("| working"), "the slow request");
    client
}

fn read_all(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an end, not a reset");
    answer
}

/// One request runs and one connection is idle when it is told to stop.
fn finishes_kindly(run: Run, port: u16, signal: Signal) {
    let mut tine = run.start();
    tine.wait_listening(2);
    let mut idle: Vec<KeepAlive> =
        (0..4).map(|_| KeepAlive::connect(port).expect("a connection")).collect();
    for client in &mut idle {
        assert_eq!(client.get().expect("an answer"), "quick");
    }
    let running = begin_slow(&mut tine, port);
    tine.signal(signal);
    tine.wait_for_nth(2, |line| line.ends_with(" finishes its connections"), "both drains");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
    assert!(late.is_err(), "it still accepts");
    for mut client in idle {
        assert!(client.ends(), "it was closed without a reset");
    }
    let answer = read_all(running);
    assert!(answer.contains("slow"), "{answer:?}: {:#?}", tine.lines());
    let exit = tine.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(!exit.stderr.contains("is cut off"), "{}", exit.stderr);
}

macro_rules! finishes_kindly {
    ($($fact:ident: $needs:literal $command:expr, $signal:ident $who:ident,)*) => { $(
        #[test]
        fn $fact() {
            if Who::Root.find($needs).is_none() {
                return skip(concat!("no ", $needs, " here"));
            }
            if let Some(reason) = Who::$who.missing() {
                return skip(reason);
            }
            let port = free_port();
            let run = slow(port, &[$command]).as_who(Who::$who);
            let run = if $needs == "go" { run.copy(go()) } else { run };
            finishes_kindly(run, port, Signal::$signal);
        }
    )* };
}

finishes_kindly! {
    node_finishes_a_request_after_sigint_as_root: "node" "slow.js", INT Root,
    node_finishes_a_request_after_sigterm_as_user: "node" "slow.js", TERM User,
    python_finishes_a_request_after_sigint_as_root: "python3" "slow.py", INT Root,
    python_finishes_a_request_after_sigterm_as_user: "python3" "slow.py", TERM User,
    go_finishes_a_request_after_sigint_as_root: "go" "./slow", INT Root,
    go_finishes_a_request_after_sigterm_as_user: "go" "./slow", TERM User,
}

const LATE: &str = "
require('net').createServer().listen(process.env.PORT, '127.0.0.1');
process.on('exit', () => {
  for (const end = Date.now() + 700; Date.now() < end;);
  console.log('all is put away');
});
";

/// No signal ends it on its way out, as on a machine that has no processor for it.
#[test]
fn a_node_worker_that_works_at_its_exit_is_let() {
    compliance::needs("node");
    let variable = format!("PORT={}", free_port());
    let words = ["--kill-timeout", "20s", "--env", &variable, "late.js"];
    let mut tine = Tine::run(words).file("late.js", LATE).start();
    tine.wait_listening(1);
    let exit = tine.stop();
    assert_eq!(exit.stdout, "late/0 | all is put away\n", "{}", exit.stderr);
    assert!(exit.stderr.contains("exited with code 0"), "{}", exit.stderr);
}

const DEAF: &str = r#"
import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
exec(open("hello.py").read())
"#;

/// A worker that ignores every signal, once it listens.
fn deaf(port: u16, options: &[&str]) -> Tine {
    let variable = format!("PORT={port}");
    let words = ["--name", "app", "--env", &variable, "deaf.py"];
    let run = Tine::run(options.iter().chain(&words).copied()).file("deaf.py", DEAF);
    let mut tine = run.as_user().start();
    tine.wait_listening(1);
    tine
}

#[test]
fn who_ignores_the_signal_is_killed_after_the_kill_timeout() {
    let mut tine = deaf(free_port(), &["--kill-timeout", "300ms"]);
    let began = Instant::now();
    tine.signal(Signal::INT);
    tine.wait_for(|line| line == "tine: app/0: worker 1 was killed by SIGKILL", "the kill");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(tine.wait().code, Some(0));
}

#[test]
fn a_second_signal_kills_at_once_whatever_is_ignored_or_open() {
    let port = free_port();
    let mut tine = deaf(port, &["--kill-timeout", "1h", "--drain-timeout", "1h"]);
    // Half a request: not idle.
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    client.write_all(b"GET / HTTP/1.1\r\n").expect("room");
    tine.signal(Signal::INT);
    tine.wait_for(|line| line.ends_with("worker 1 finishes its connections"), "the drain");
    tine.signal(Signal::INT);
    let exit = tine.wait();
    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.contains("tine: app: killing the workers"), "{}", exit.stderr);
}

#[test]
fn a_connection_that_does_not_end_is_cut_after_the_drain_timeout_and_that_is_said() {
    let port = free_port();
    let mut tine = deaf(port, &["--kill-timeout", "100ms", "--drain-timeout", "300ms"]);
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    client.write_all(b"GET / HTTP/1.1\r\n").expect("room");
    tine.signal(Signal::TERM);
    let told = "tine: app/0: worker 1 is cut off with 1 open connection(s)";
    tine.wait_for(|line| line == told, "the cut");
    assert_eq!(tine.wait().code, Some(0));
}

/// Leaves a daemon behind: forked twice, in a session of its own, and, if it is told to, with an
/// empty environment. Then it serves.
const DAEMONISES: &str = r#"
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3): os.dup2(null, number)
        os.closerange(3, 64)
        with open(f"daemon-{os.environ['TINE_INSTANCE']}.pid", "w") as file:
            file.write(f"{os.getpid()}\n")
        env = {} if sys.argv[1] == "clean" else os.environ
        os.execve("/bin/sleep", ["sleep", "600"], env)
    os._exit(0)
os.wait()
exec(open("hello.py").read())
"#;

fn daemons_go(environment: &str, who: Who) {
    if let Some(reason) = who.missing() {
        return skip(reason);
    }
    let variable = format!("PORT={}", free_port());
    let words = [
        "-i",
        "2",
        "--min-uptime",
        "1ms",
        "--env",
        &variable,
        "--",
        "python3",
        "daemon.py",
        environment,
    ];
    let run = Tine::run(words).file("daemon.py", DAEMONISES).as_who(who);
    let mut tine = run.start();
    tine.wait_listening(2);
    let daemon = |instance| {
        let path = tine.folder().join(format!("daemon-{instance}.pid"));
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let mut daemons: Vec<u32> = Vec::new();
    eventually("the daemons run", || {
        daemons = (0..2).filter_map(daemon).collect();
        daemons.len() == 2
    });
    let victim = tine.pids()[0];
    tine.signal_worker(victim, Signal::KILL);
    tine.wait_for(|line| line.contains("/0: worker 3 listens"), "the successor of a killed one");
    let exit = tine.stop();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(!daemons.iter().any(|pid| is_alive(*pid)), "{daemons:?}: {}", exit.stderr);
}

#[test]
fn a_daemon_goes_with_its_worker_as_root() {
    daemons_go("inherited", Who::Root);
}

#[test]
fn a_daemon_goes_with_its_worker_as_user() {
    daemons_go("inherited", Who::User);
}

#[test]
fn a_daemon_with_an_empty_environment_goes_with_its_worker_as_root() {
    daemons_go("clean", Who::Root);
}

#[test]
fn a_daemon_with_an_empty_environment_goes_with_its_worker_as_user() {
    daemons_go("clean", Who::User);
}

/// The cgroups that this manager made and that are there now.
fn cgroups(manager: u32) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("/proc is mounted");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let mut found = Vec::new();
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let folder = PathBuf::from(root).join(own);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let prefix = format!("tine-{manager}-");
        let is_its = |name: &str| name.starts_with(&prefix);
        found.extend(
            entries.filter(|e| e.file_name().to_str().is_some_and(is_its)).map(|e| e.path()),
        );
    }
    found
}

#[test]
fn the_cgroups_of_workers_go_with_them() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    compliance::needs("python3");
    let program = Program::python(Who::Root).expect("python is there");
    for end in [Signal::INT, Signal::KILL] {
        let mut tine = program.run(free_port(), &["-i", "2", "--min-uptime", "1ms"]).start();
        tine.wait_listening(2);
        let manager = tine.manager();
        if cgroups(manager).is_empty() {
            return skip("no writable cgroup here");
        }
        assert_eq!(cgroups(manager).len(), 2, "{:?}: {:#?}", cgroups(manager), tine.lines());
        let victim = tine.pids()[0];
        tine.signal_worker(victim, Signal::KILL);
        tine.wait_for(|line| line.contains("worker 3 listens"), "its successor");
        eventually("the cgroup of the killed one is gone", || cgroups(manager).len() == 2);
        if end == Signal::KILL {
            tine.signal_worker(manager, end);
            assert_eq!(tine.wait().code, Some(128 + 9));
        } else {
            assert_eq!(tine.stop().code, Some(0));
        }
        assert_eq!(cgroups(manager), [] as [PathBuf; 0]);
    }
}
