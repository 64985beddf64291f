//! Workers that flood, lie, take what is not theirs or stand still: the others serve on, and what the
//! manager holds for one stays bounded.
#![forbid(unsafe_code)]

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use compliance::{Run, Tine, Who, eventually, example, free_port, skip};
use rustix::process::Signal;

/// Instance 1 does what the first argument names; the others are workers as they should be.
const PYTHON: &str = include_str!("abuse/abuse.py");
/// Likewise with Node's channel.
const NODE: &str = include_str!("abuse/abuse.js");

/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests made while somebody misbehaves.
const REQUESTS: usize = 200;
/// What the manager may grow by, in KiB, whatever one worker does; see `docs/design/bounds.md`.
const GROWTH: u64 = 12 << 10;
/// Where a Node worker says the longest lines that it may: thrice such a line.
const LONG_GROWTH: u64 = 3 * (64 << 10);
/// How many descriptors more it may have open: three for each of the listeners that one worker may
/// have, and what waits on its way there.
const OPENED: usize = 3 * 1024 + 300;

fn run((script, what): (&str, &str), port: u16) -> Run {
    let words = ["-i", "3", "--name", "app", "--mechanism", "hand-over", "--max-restarts", "2"];
    let more = ["--restart-delay", "10ms", "--min-uptime", "1m", script, what];
    let address = format!("127.0.0.1:{port}");
    Tine::run(words.into_iter().chain(more).chain([address.as_str()]))
        .file("abuse.py", PYTHON)
        .file("abuse.js", NODE)
        .copy(example("worker"))
}

/// The pid of the worker that answered.
fn ask(port: u16) -> u32 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in time");
    answer.parse().expect("a pid")
}

/// What a process holds in memory, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// The others answer everybody, at their turns, and the manager stays as it was.
fn others_serve(tine: &Tine, port: u16, bound: u64) {
    let manager = tine.manager();
    let (memory, open) = (resident(manager), descriptors(manager));
    let start = Instant::now();
    let mut answers = std::collections::BTreeMap::<u32, usize>::new();
    let mut opened = open;
    for _ in 0..REQUESTS {
        *answers.entry(ask(port)).or_default() += 1;
        opened = opened.max(descriptors(manager));
    }
    let grown = resident(manager).saturating_sub(memory);
    println!("{REQUESTS} in {:?}, {grown} KiB more, {open} then {opened}", start.elapsed());
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.values().all(|count| *count > REQUESTS / 4), "{answers:?}");
    assert!(grown < bound, "the manager has grown by {grown} KiB");
    assert!(opened < open + OPENED, "{opened} descriptors are open, and were {open}");
}

fn harms_nobody(script: &str, what: &str) {
    if script == "abuse.js" && Who::Root.find("node").is_none() {
        return skip("no node here");
    }
    let port = free_port();
    let start = Instant::now();
    let mut tine = run((script, what), port).start();
    tine.wait_for(|line| line.ends_with("| begins"), "the beginning of it");
    let begun = start.elapsed();
    // Not wherever the one that floods may listen.
    tine.wait_listening_at(&format!("127.0.0.1:{port}"), 2);
    println!("it began after {begun:?}, the others listened after {:?}", start.elapsed());
    others_serve(&tine, port, if what == "lengthy" { LONG_GROWTH } else { GROWTH });
    let start = Instant::now();
    let exit = tine.stop();
    println!("stopped in {:?}\n{}", start.elapsed(), exit.stderr);
    assert_eq!(exit.code, Some(0));
}

macro_rules! harms_nobody {
    ($($fact:ident: $script:literal $what:literal,)*) => { $(
        #[test]
        fn $fact() {
            harms_nobody($script, $what);
        }
    )* };
}

harms_nobody! {
    a_flood_of_lines_that_mean_nothing_holds_up_nobody: "abuse.py" "weather",
    a_flood_of_answers_that_nobody_asked_for_holds_up_nobody: "abuse.py" "answers",
    a_flood_of_goodbyes_to_the_listeners_of_others_holds_up_nobody: "abuse.py" "closes",
    a_flood_of_questions_whose_answers_are_not_read_holds_up_nobody: "abuse.py" "questions",
    a_flood_of_listeners_leaves_descriptors_for_the_others: "abuse.py" "listeners",
    a_flood_of_datagram_sockets_leaves_descriptors_for_the_others: "abuse.py" "datagrams",
    a_flood_of_descriptors_that_no_line_claims_leaves_some_for_the_others: "abuse.py" "descriptors",
    a_flood_of_half_lines_holds_up_nobody: "abuse.py" "crumbs",
    a_flood_of_lines_that_mean_nothing_to_node_holds_up_nobody: "abuse.js" "weather",
    a_flood_of_messages_holds_up_nobody: "abuse.js" "messages",
    a_flood_of_lengthy_messages_holds_up_nobody: "abuse.js" "lengthy",
    a_flood_of_counts_that_are_not_read_holds_up_nobody: "abuse.js" "counts",
    a_flood_of_listeners_with_much_to_remember_is_not_remembered: "abuse.js" "data",
    a_flood_of_sockets_that_are_not_taken_leaves_some_for_the_others: "abuse.js" "unbound",
}

/// It is sent connections, and says that it took them, before it could and again and again.
#[test]
fn a_liar_costs_what_was_given_to_it_and_nothing_else() {
    let port = free_port();
    let mut tine = run(("abuse.py", "lies"), port).start();
    tine.wait_for(|line| line.ends_with("| begins"), "the beginning of it");
    tine.wait_listening(3);
    let liar = tine.workers().iter().find(|worker| worker.instance == 1).expect("it runs").pid;
    let mut served = 0;
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut answer = String::new();
        // What the liar got it closes unanswered.
        if stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
            assert_ne!(answer.parse::<u32>().expect("a pid"), liar);
            served += 1;
        }
    }
    assert!(served >= REQUESTS / 2, "{served} of {REQUESTS} were served");
    assert_eq!(tine.workers().len(), 3, "{:#?}", tine.lines());
    assert_eq!(tine.stop().code, Some(0));
}

/// It holds the one connection that was sent to it; when it goes on, that one is answered, too.
#[test]
fn a_worker_that_stands_still_holds_up_one_connection() {
    let port = free_port();
    let mut tine = run(("abuse.py", "nothing"), port).start();
    tine.wait_listening(3);
    let victim = tine.pids()[0];
    tine.signal_worker(victim, Signal::STOP);
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    let mut clients: Vec<TcpStream> = (0..REQUESTS).map(connect).collect();
    let has_answer = |client: &TcpStream| {
        client.set_nonblocking(true).expect("a socket");
        client.peek(&mut [0]).is_ok_and(|length| length > 0)
    };
    eventually("all but one are answered", || {
        clients.iter().filter(|client| has_answer(client)).count() == REQUESTS - 1
    });
    tine.signal_worker(victim, Signal::CONT);
    for client in &mut clients {
        client.set_nonblocking(false).expect("a socket");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.parse::<u32>().is_ok(), "{answer:?}");
    }
    assert_eq!(tine.stop().code, Some(0));
}
