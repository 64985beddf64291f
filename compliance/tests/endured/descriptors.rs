//! No descriptors.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use compliance::{DEADLINE, Home, Serving, eventually};
use rustix::process::{Resource, Rlimit, prlimit};

use crate::going_on::{goes_on, is_followed, kill_one, start_other};
use crate::loaded::Loaded;
use crate::memory::{pid, who};

const SENTENCE: &str = "the manager has no descriptors left";

/// A client that has asked once, and is let ask again for a minute; `None`, if it was refused.
fn client(home: &Home) -> Option<BufReader<UnixStream>> {
    let stream =
        UnixStream::connect(home.folder().join(".tine/run/daemon.sock")).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time");
    let mut client = BufReader::new(stream);
    let mut line = String::new();
    client.read_line(&mut line).expect("a greeting or a refusal");
    if line.contains(SENTENCE) {
        return None;
    }
    client.get_mut().write_all(b"{\"request\":\"ping\"}\n").expect("it reads");
    client.read_line(&mut line).expect("an answer");
    assert!(line.contains("pong"), "{line}");
    Some(client)
}

/// Takes all there are; gives what takes them.
fn take_all(home: &Home, clients: &mut Vec<BufReader<UnixStream>>) {
    while let Some(client) = client(home) {
        clients.push(client);
    }
}

/// As many as it has, but for what was closed between them; the firm limit stays.
fn few(process: u32) -> Rlimit {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("it runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let maximum = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    Rlimit { current: Some(highest(process) + 1), maximum }
}

fn highest(process: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("it is ours");
    let numbers = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    numbers.max().expect("it has some")
}

#[test]
fn a_manager_without_descriptors_says_so_and_nothing_is_lost() {
    let Some(app) = Loaded::start(Serving::Python, who(), &[]) else { return };
    let others = start_other(&app.home);
    let manager = app.home.manager().expect("it runs");
    let before = prlimit(pid(manager), Resource::Nofile, few(manager)).expect("it is ours");
    let mut clients = Vec::new();
    take_all(&app.home, &mut clients);
    let killed = kill_one(&app.home, &others);
    eventually("a command is refused", || {
        take_all(&app.home, &mut clients);
        let listed = app.tine("ls");
        listed.code != Some(0) && listed.stderr.contains(SENTENCE)
    });
    let reloaded = app.tine("reload app");
    assert!(reloaded.code != Some(0) && reloaded.stderr.contains(SENTENCE), "{reloaded:?}");
    prlimit(pid(manager), Resource::Nofile, before).expect("it is ours");
    drop(clients);
    is_followed(&app.home, &others, killed);
    assert_eq!(app.home.manager(), Some(manager), "it is the same one");
    goes_on(app);
}
