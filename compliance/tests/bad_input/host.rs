//! A host on which something is missing or in the way: the app runs all the same.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use compliance::{Program, Run, Tine, Who, eventually, free_port, get, is_alive, skip};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

/// The app serves and stops.
fn works(run: Run, port: u16) -> compliance::Exit {
    let mut tine = run.start();
    tine.wait_listening(2);
    assert!(get(port).is_ok());
    let victim = tine.pids()[0];
    tine.signal_worker(victim, Signal::KILL);
    tine.wait_for(|line| line.contains("worker 3 listens"), "its successor");
    let exit = tine.stop();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    exit
}

fn python(who: Who) -> (Run, u16) {
    compliance::needs("python3");
    let port = free_port();
    let program = Program::python(who).expect("python is there");
    (program.run(port, &["-i", "2", "--min-uptime", "1ms"]), port)
}

#[test]
fn without_a_home_it_runs_and_says_what_is_not_to_be_had() {
    let (run, port) = python(Who::User);
    let exit = works(run.through(["env", "-u", "HOME", "-u", "TINE_HOME"]), port);
    assert!(exit.stderr.contains("`tine ports` will not show this app: "), "{}", exit.stderr);
}

#[test]
fn with_a_home_that_cannot_be_written_it_runs_and_says_what_is_not_to_be_had() {
    let (run, port) = python(Who::User);
    let exit = works(run.env("TINE_HOME", "/proc/tine"), port);
    assert!(exit.stderr.contains("`tine ports` will not show this app: "), "{}", exit.stderr);
    assert!(exit.stderr.contains("/proc/tine"), "{}", exit.stderr);
}

#[test]
fn with_a_proc_that_hides_the_others_processes_it_runs() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    let (run, port) = python(Who::Root);
    let hide = "mount -t proc -o hidepid=invisible proc /proc && chmod 777 . && exec \"$@\"";
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let words = ["unshare", "--mount", "sh", "-c", hide, "sh"];
    works(
        run.env("TINE_HOME", "/tmp/.tine-nobody").through(words.iter().chain(&user).copied()),
        port,
    );
}

#[test]
fn with_a_closed_output_it_runs() {
    let (run, port) = python(Who::User);
    let mut tine = run.through(["sh", "-c", "exec \"$0\" \"$@\" >&-"]).start();
    tine.wait_listening(2);
    assert!(get(port).is_ok());
    assert_eq!(tine.stop().code, Some(0));
}

/// Binds again and again, until it may; then serves.
const BINDS: &str = r#"
import os, select, socket
def say(words): os.write(1, (words + "\n").encode())
def wait(): select.select([], [], [], 0.01)
while not os.path.exists("go"): wait()
on = socket.socket()
while True:
    try:
        on.bind(("127.0.0.1", int(os.environ["PORT"])))
        break
    except OSError as error:
        say(f"errno {error.errno}")
        wait()
on.listen()
say("serves")
while True:
    client, _ = on.accept()
    client.recv(1000)
    client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0".encode())
    client.close()
"#;

/// The least number that a new descriptor of the process would get.
fn next_descriptor(pid: u32) -> u64 {
    let used = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let used: BTreeSet<u64> =
        used.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    (0..1000).find(|number| !used.contains(number)).expect("it has fewer")
}

/// Softly, so that it can be raised again.
fn limit_descriptors(pid: u32, limit: u64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let limited = Rlimit { current: Some(limit), maximum: Some(1000) };
    prlimit(Some(pid), Resource::Nofile, limited).expect("it is the same user's and had more");
}

/// How often workers have said this.
fn said(tine: &mut Tine, words: &str) -> usize {
    tine.lines().iter().filter(|line| line.text.ends_with(words)).count()
}

/// Whatever the manager lacks a descriptor for, the first worker and the second are told of that, not
/// that the address is in use; and whoever tries again succeeds once there are enough.
#[test]
fn a_bind_that_finds_no_descriptor_left_is_told_so_with_what_to_do() {
    let port = free_port();
    let variable = format!("PORT={port}");
    for (workers, policy) in [("1", "shared"), ("2", "random")] {
        let words = ["-i", workers, "--policy", policy, "--env", &variable, "binds.py"];
        let mut tine = Tine::run(words).file("binds.py", BINDS).start();
        let count: usize = workers.parse().expect("a number");
        tine.wait_for_nth(count, |line| line.contains(" started, pid "), "its workers");
        let manager = tine.manager();
        eventually("the manager is at rest", || is_quiet(manager));
        let least = next_descriptor(manager);
        limit_descriptors(manager, least);
        fs::write(tine.folder().join("go"), "").expect("the test's own folder");
        tine.wait_for_nth(count, |line| line.ends_with("errno 24"), "the reason");
        let told = tine.wait_for(|line| line.contains("may not listen on"), "the sentence");
        let place = format!("on 127.0.0.1:{port}: Too many open files");
        assert!(told.contains(&place), "{told}");
        let remedy = format!("tine has used up the {least} descriptors that it may have: ");
        assert!(told.contains(&remedy) && told.contains("ulimit -n"), "{told}");
        let serve = |tine: &mut Tine| said(tine, "serves") == count;
        for limit in least + 1..least + 32 {
            let before = said(&mut tine, "errno 24");
            limit_descriptors(manager, limit);
            let tried = |tine: &mut Tine| said(tine, "errno 24") > before + count;
            eventually("each has tried again", || serve(&mut tine) || tried(&mut tine));
        }
        assert!(serve(&mut tine), "{:#?}", tine.lines());
        let others = |line: &&compliance::Line| {
            line.text.contains("errno ") && !line.text.ends_with("errno 24")
        };
        assert!(tine.lines().iter().find(others).is_none(), "{:#?}", tine.lines());
        assert!(get(port).is_ok());
        assert_eq!(tine.stop().code, Some(0));
    }
}

/// Writes for ever, and serves.
const TALKS: &str = r#"
import threading, time
def talk():
    while True:
        print("x" * 1000)
        time.sleep(0.001)
threading.Thread(target=talk, daemon=True).start()
exec(open("hello.py").read())
"#;

fn talking(port: u16) -> Run {
    let variable = format!("PORT={port}");
    let words = ["-i", "2", "--env", &variable, "talks.py"];
    Tine::run(words).file("talks.py", TALKS).as_user()
}

/// Clock ticks that a process has used.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_reader_that_leaves_does_not_end_the_app_nor_does_it_spin() {
    let port = free_port();
    let mut tine = talking(port).through(["sh", "-c", "\"$0\" \"$@\" | head -1"]).start();
    tine.wait_listening(2);
    tine.wait_for(|line| line.ends_with("xxx"), "the one line");
    let manager = manager_below(&tine);
    let (before, until) = (ticks(manager), Instant::now() + Duration::from_millis(500));
    while Instant::now() < until {
        assert!(get(port).is_ok());
        std::thread::sleep(Duration::from_millis(20));
    }
    let used = ticks(manager) - before;
    assert!(used < 25, "half a second's work is {used} ticks of 10 ms");
    tine.signal_worker(watchdog_below(&tine), Signal::INT);
    let exit = tine.wait();
    assert!(exit.stderr.ends_with("stopped\n"), "{}", exit.stderr);
}

#[test]
fn a_reader_that_sleeps_keeps_nobody_from_being_served_nor_tine_from_stopping() {
    let port = free_port();
    let pipe = "\"$0\" \"$@\" | { read line; echo $line; sleep 600; }";
    let mut tine = talking(port).through(["sh", "-c", pipe]).start();
    // What the second says of itself may be behind the first one's flood.
    tine.wait_listening(1);
    tine.wait_for(|line| line.ends_with("xxx"), "the one line");
    let (watchdog, manager) = (watchdog_below(&tine), manager_below(&tine));
    eventually("the pipe is full", || is_quiet(manager));
    let first = tine.pids();
    tine.signal_worker(first[0], Signal::KILL);
    // It cannot be told, for nobody reads.
    eventually("its successor serves", || {
        get(port).is_ok_and(|body| !first.contains(&compliance::pid_in(&body)))
    });
    tine.signal_worker(watchdog, Signal::INT);
    eventually("tine has stopped", || !is_alive(watchdog));
    assert!(!is_alive(manager));
}

/// Whether a process has used no time for a while.
fn is_quiet(pid: u32) -> bool {
    let before = ticks(pid);
    std::thread::sleep(Duration::from_millis(200));
    ticks(pid) == before
}

fn child_named_tine(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("it runs");
    let mut pids = children.split_whitespace().map(|pid| pid.parse().expect("a pid"));
    let is_tine = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "tine\n")
    };
    pids.find(is_tine).expect("a child that is tine")
}

fn watchdog_below(tine: &Tine) -> u32 {
    child_named_tine(tine.pid())
}

fn manager_below(tine: &Tine) -> u32 {
    child_named_tine(watchdog_below(tine))
}
