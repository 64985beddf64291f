//! Workers that are killed, and a `tine` that is killed: nobody who waits is turned away, and no
//! process is left behind.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use compliance::{
    DEADLINE, Program, Run, Tine, Who, descendants, eventually, free_port, get, is_alive, skip,
};
use rustix::process::Signal;

/// Nobody should have to wait longer for a port that a killed tine held.
const SOON: Duration = Duration::from_secs(5);

/// Clients that come while a worker stands still: that chance leads none of them to one of three workers is
/// (2/3)^64, 10^-11.
const CLIENTS: usize = 64;

/// Connections of clients that wait for an answer.
struct Clients(Vec<TcpStream>);

impl Clients {
    /// Connects; each sends its request at once.
    fn connect(port: u16, count: usize) -> Self {
        let connect = |_| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
            stream.write_all(b".").expect("room in the socket's buffer");
            stream
        };
        Self((0..count).map(connect).collect())
    }

    /// How many have their answer.
    fn answered(&self) -> usize {
        let is_answered = |stream: &&TcpStream| {
            stream.set_nonblocking(true).expect("a socket");
            stream.peek(&mut [0]).is_ok_and(|length| length > 0)
        };
        self.0.iter().filter(is_answered).count()
    }

    /// Every one of them is answered, and to the end.
    fn are_all_answered(self) {
        for mut stream in self.0 {
            stream.set_nonblocking(false).expect("a socket");
            stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
            let mut answer = String::new();
            let result = stream.read_to_string(&mut answer);
            assert!(result.is_ok() && answer == "done", "{result:?}: {answer:?}");
        }
    }
}

/// The server that has one connection at a time.
fn one_by_one(port: u16, options: &[&str]) -> Run {
    let port = format!("PORT={port}");
    let words = ["--min-uptime", "1ms", "--env", &port, "./one-by-one"];
    let run = Tine::run(options.iter().chain(&words).copied());
    run.copy(env!("CARGO_BIN_EXE_one-by-one"))
}

const NODE: &str = r"
require('net').createServer((socket) => socket.on('data', () => socket.end('done')))
  .listen(process.env.PORT, '127.0.0.1');
";

/// The same in node, under hand-over.
fn handed_over(port: u16, options: &[&str]) -> Run {
    let port = format!("PORT={port}");
    let words = ["--mechanism", "hand-over", "--min-uptime", "1ms", "--env", &port, "server.js"];
    Tine::run(options.iter().chain(&words).copied()).file("server.js", NODE)
}

/// The connections that wait in the seats' queues.
fn queued(tine: &Tine) -> usize {
    let report = tine.ask(["ports", "--json"]).stdout;
    // What follows are the listeners of others.
    let own = report.lines().map(str::trim).take_while(|line| !line.starts_with("\"foreign\""));
    let queues = own.filter_map(|line| line.strip_prefix("\"queue\": "));
    queues.map(|queue| queue.trim_end_matches(',').parse().unwrap_or(0)).sum()
}

fn has_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
}

/// One worker is stopped, so that connections come to wait for it, and then killed.
fn who_waits_is_answered(run: Run, port: u16, (workers, mechanism): (usize, &str)) {
    let mut tine = run.start();
    let seats = tine.wait_listening(workers);
    assert!(seats.iter().all(|seat| seat.mechanism == mechanism), "{seats:?}");
    let victim = tine.pids()[0];
    tine.signal_worker(victim, Signal::STOP);
    eventually("the worker is stopped", || has_stopped(victim));
    let clients = Clients::connect(port, CLIENTS);
    if mechanism == "hand-over" {
        // One is in flight to the stopped worker; the others, if there are any, serve the rest.
        let waiting = if workers == 1 { CLIENTS } else { 1 };
        eventually("the others are answered", || clients.answered() == CLIENTS - waiting);
    } else {
        eventually("the others are answered", || clients.answered() + queued(&tine) == CLIENTS);
        // Under one queue the others have taken them all.
        assert!(clients.answered() < CLIENTS || mechanism == "one-queue", "nobody waits");
    }
    tine.signal_worker(victim, Signal::KILL);
    clients.are_all_answered();
    assert_eq!(tine.stop().code, Some(0));
}

macro_rules! who_waits_is_answered {
    ($($fact:ident: $server:ident $workers:literal $mechanism:literal $who:ident,)*) => { $(
        #[test]
        fn $fact() {
            if let Some(reason) = Who::$who.missing() {
                return skip(reason);
            }
            if Who::$who.find("node").is_none() {
                return skip("no node here");
            }
            let (port, workers) = (free_port(), $workers.to_string());
            let policy = if $mechanism == "one-queue" { "shared" } else { "rr" };
            let options = ["-i", &workers, "--policy", policy];
            let run = $server(port, &options).as_who(Who::$who);
            who_waits_is_answered(run, port, ($workers, $mechanism));
        }
    )* };
}

who_waits_is_answered! {
    connections_queued_at_a_killed_worker_go_to_the_others: one_by_one 3 "kernel-ebpf" Root,
    connections_queued_at_a_killed_worker_wait_for_its_successor: one_by_one 3 "kernel-cbpf" User,
    connections_queued_at_a_killed_only_worker_wait_for_its_successor_as_root:
        one_by_one 1 "kernel-ebpf" Root,
    connections_queued_at_a_killed_only_worker_wait_for_its_successor_as_user:
        one_by_one 1 "kernel-cbpf" User,
    a_shared_queue_survives_a_killed_worker: one_by_one 3 "one-queue" User,
    a_shared_queue_survives_its_only_worker: one_by_one 1 "one-queue" User,
    a_connection_handed_to_a_killed_worker_goes_to_another: handed_over 3 "hand-over" User,
    connections_wait_for_the_successor_of_a_killed_only_worker: handed_over 1 "hand-over" User,
}

const FAILS_AS_1: &str = r#"
import os, sys
if os.environ["TINE_INSTANCE"] == "1":
    print("looking for the licence")
    print("no licence", file=sys.stderr)
    sys.exit(7)
exec(open("hello.py").read())
"#;

#[test]
fn who_always_ends_at_once_is_given_up_with_its_last_lines_while_the_others_go_on() {
    let port = free_port();
    let variable = format!("PORT={port}");
    let limits = ["--max-restarts", "3", "--restart-delay", "10ms"];
    let words = ["-i", "3", "--name", "app", "--env", &variable, "app.py"];
    let mut tine =
        Tine::run(limits.iter().chain(&words).copied()).file("app.py", FAILS_AS_1).start();
    tine.wait_for(
        |line| line == "tine: app/1: given up: it ended too early 3 times in a row",
        "the end of instance 1",
    );
    tine.wait_for(|line| line == "tine: app/1: its last lines were:", "a heading");
    tine.wait_for(|line| line == "tine: app/1:   no licence", "the last line");
    tine.wait_listening(2);
    let said: Vec<&str> = tine.lines().iter().map(|line| line.text.as_str()).collect();
    assert_eq!(said.iter().filter(|line| line.starts_with("tine: app/1: worker ")).count(), 6);
    assert_eq!(tine.workers().iter().map(|worker| worker.instance).collect::<Vec<_>>(), [0, 2]);
    assert!(get(port).is_ok());
    assert_eq!(tine.stop().code, Some(0));
}

/// What of a worker's tree is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    First,
    Last,
    All,
}

/// Kills; all that was left of the tree goes, and the instance comes back.
fn tree_is_replaced(program: Result<Program, String>, victim: Victim) {
    let program = match program {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let port = free_port();
    let mut tine = program.run(port, &["-i", "2", "--min-uptime", "1ms"]).start();
    tine.wait_listening(2);
    let first = tine.pids()[0];
    eventually("the whole tree runs", || !descendants(first).is_empty());
    let below = descendants(first);
    let last = *below.last().expect("it has a child");
    let victims = match victim {
        Victim::First => vec![first],
        Victim::Last => vec![last],
        Victim::All => [below.as_slice(), &[first]].concat(),
    };
    if matches!(victim, Victim::All) {
        // Else it may be quicker to end by itself, when its child has.
        tine.signal_worker(first, Signal::STOP);
    }
    for pid in &victims {
        tine.signal_worker(*pid, Signal::KILL);
    }
    eventually("the killed are gone", || !victims.iter().any(|pid| is_alive(*pid)));
    if !is_alive(first) || !matches!(victim, Victim::Last) {
        eventually("nothing of the tree is left", || !below.iter().any(|pid| is_alive(*pid)));
    }
    eventually("both instances serve", || both_serve(&mut tine, port));
    assert_eq!(tine.stop().code, Some(0));
}

fn both_serve(tine: &mut Tine, port: u16) -> bool {
    let answers: Option<Vec<u32>> =
        (0..8).map(|_| get(port).ok().map(|body| compliance::pid_in(&body))).collect();
    let Some(pids) = answers else { return false };
    let workers = tine.pids();
    let serves =
        |worker: &u32| pids.iter().any(|pid| pid == worker || descendants(*worker).contains(pid));
    workers.len() == 2 && workers.iter().all(serves)
}

macro_rules! tree_is_replaced {
    ($($fact:ident: $program:ident $victim:ident $who:ident,)*) => { $(
        #[test]
        fn $fact() {
            tree_is_replaced(Program::$program(Who::$who), Victim::$victim);
        }
    )* };
}

tree_is_replaced! {
    a_killed_shell_takes_its_server_with_it_as_root: shell First Root,
    a_killed_shell_takes_its_server_with_it_as_user: shell First User,
    a_shell_whose_server_is_killed_is_replaced: shell Last User,
    a_tree_of_which_nothing_is_left_is_replaced_as_root: shell All Root,
    a_tree_of_which_nothing_is_left_is_replaced_as_user: shell All User,
    an_npm_whose_server_is_killed_is_replaced: npm Last User,
    a_killed_npm_takes_its_server_with_it: npm First Root,
    a_killed_gunicorn_takes_its_workers_with_it_as_root: gunicorn First Root,
    a_killed_gunicorn_takes_its_workers_with_it_as_user: gunicorn First User,
    gunicorn_replaces_its_own_worker: gunicorn Last User,
}

/// Which of tine's own processes are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Watchdog,
    Manager,
    Both,
}

/// Nothing runs any more a moment later.
fn nothing_is_left(program: Result<Program, String>, own: Own) {
    let program = match program {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let port = free_port();
    let mut tine = program.run(port, &["-i", "2"]).start();
    tine.wait_listening(2);
    let (manager, family) = (tine.manager(), descendants(tine.pid()));
    if own != Own::Watchdog {
        tine.signal_worker(manager, Signal::KILL);
    }
    if own != Own::Manager {
        tine.signal(Signal::KILL);
    }
    let soon = Instant::now() + SOON;
    while family.iter().any(|pid| is_alive(*pid)) {
        let left: Vec<_> = family.iter().filter(|pid| is_alive(**pid)).collect();
        assert!(Instant::now() < soon, "{own:?} killed, left: {left:?} of {family:?}");
        thread::sleep(Duration::from_millis(5));
    }
    let exit = tine.wait();
    if own == Own::Manager {
        assert_eq!(exit.code, Some(128 + 9));
        let told = "tine: the manager was killed by SIGKILL";
        assert!(exit.stderr.contains(told), "{}", exit.stderr);
    }
    assert!(get(port).is_err(), "the port is free again");
}

macro_rules! nothing_is_left {
    ($($fact:ident: $program:ident $own:ident $who:ident,)*) => { $(
        #[test]
        fn $fact() {
            nothing_is_left(Program::$program(Who::$who), Own::$own);
        }
    )* };
}

nothing_is_left! {
    nothing_is_left_after_a_killed_watchdog_as_root: shell Watchdog Root,
    nothing_is_left_after_a_killed_watchdog_as_user: shell Watchdog User,
    nothing_is_left_after_a_killed_manager_as_root: shell Manager Root,
    nothing_is_left_after_a_killed_manager_as_user: shell Manager User,
    no_node_worker_is_left_after_both_were_killed: node Both User,
    no_python_worker_is_left_after_both_were_killed: python Both Root,
}
