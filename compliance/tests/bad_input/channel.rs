//! Workers that say what nobody understands: each is ended with a sentence, the others go on.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use compliance::{DEADLINE, Run, Tine, Who, eventually, free_port, get, skip};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

/// Says what its argument names on its channel, as instance 1; serves otherwise, and afterwards.
const PYTHON: &str = r#"
import array, os, socket, sys, time
number = int(os.environ["TINE_CHANNEL_FD"].split(":")[0])
def say(what):
    if what == "garbage": os.write(number, b"\xff\x00 garbage\n")
    if what == "nonsense": os.write(number, b'{"no":"such thing"}\n')
    if what == "endless":
        while True: os.write(number, b"x" * 65536)
    if what == "descriptors":
        channel = socket.socket(fileno=os.dup(number))
        rights = array.array("i", [0] * 250)
        while True:
            channel.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
if os.environ["TINE_INSTANCE"] == "1":
    say(sys.argv[1])
exec(open("hello.py").read())
"#;

/// The same on Node's channel, which has the first number behind the standard streams.
const NODE: &str = r#"
const fs = require('fs');
const what = process.argv[2];
const write = (text) => { try { fs.writeSync(3, text); } catch (error) { write(text); } };
if (process.env.NODE_APP_INSTANCE === '1') {
  if (what === 'garbage') write('\u00ff\u0000 garbage\n');
  if (what === 'nonsense') write('{"cmd":"NODE_CLUSTER","act":"queryServer","seq":"x"}\n');
  if (what === 'endless') for (;;) write('x'.repeat(65536));
}
require('./hello.js');
"#;

fn run(script: &str, what: &str, port: u16) -> Run {
    let variable = format!("PORT={port}");
    let words = ["-i", "2", "--name", "app", "--max-restarts", "2", "--restart-delay", "10ms"];
    // Even when it takes a while until all of it is read, that was too early an end.
    let words = [&words[..], &["--min-uptime", "1m", "--env", &variable, script, what]].concat();
    Tine::run(words).file("says.py", PYTHON).file("says.js", NODE)
}

/// Instance 1 says it, is killed, says it again, and is given up; instance 0 serves throughout.
fn only_the_speaker_is_ended(script: &str, what: &str) {
    if script == "says.js" && Who::Root.find("node").is_none() {
        return skip("no node here");
    }
    let port = free_port();
    let mut tine = run(script, what, port).start();
    let end = "is killed, for it broke the protocol of its channel: ";
    let line = tine.wait_for_nth(2, |line| line.contains(end), "the second end");
    assert!(line.starts_with("tine: app/1: worker "), "{line}");
    tine.wait_for(|line| line.starts_with("tine: app/1: given up"), "the end of it");
    tine.wait_listening(1);
    assert!(get(port).is_ok());
    assert_eq!(tine.workers().len(), 1, "{:#?}", tine.lines());
    assert_eq!(tine.stop().code, Some(0));
}

macro_rules! only_the_speaker_is_ended {
    ($($fact:ident: $script:literal $what:literal,)*) => { $(
        #[test]
        fn $fact() {
            only_the_speaker_is_ended($script, $what);
        }
    )* };
}

only_the_speaker_is_ended! {
    garbage_on_our_channel_ends_its_worker_alone: "says.py" "garbage",
    a_message_that_is_none_of_ours_ends_its_worker_alone: "says.py" "nonsense",
    an_endless_line_on_our_channel_ends_its_worker_alone: "says.py" "endless",
    heaps_of_descriptors_end_their_worker_alone: "says.py" "descriptors",
    garbage_on_nodes_channel_ends_its_worker_alone: "says.js" "garbage",
    a_malformed_message_on_nodes_channel_ends_its_worker_alone: "says.js" "nonsense",
    an_endless_line_on_nodes_channel_ends_its_worker_alone: "says.js" "endless",
}

/// A connection that was on its way to a worker whose channel broke is served by another.
#[test]
fn a_connection_handed_to_who_broke_its_channel_goes_to_another() {
    if Who::Root.find("node").is_none() {
        return skip("no node here");
    }
    let port = free_port();
    let variable = format!("PORT={port}");
    let words = ["-i", "2", "--mechanism", "hand-over", "--env", &variable, "hello.js"];
    let mut tine = Tine::run(words).start();
    tine.wait_listening(2);
    let victim = tine.pids()[0];
    tine.signal_worker(victim, Signal::STOP);
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    let mut clients: Vec<TcpStream> = (0..4).map(connect).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(client, request).expect("room");
    }
    eventually("all but one are answered", || {
        let answered = |client: &&TcpStream| {
            client.set_nonblocking(true).expect("a socket");
            let answered = client.peek(&mut [0]).is_ok();
            client.set_nonblocking(false).expect("a socket");
            answered
        };
        clients.iter().filter(answered).count() == 3
    });
    let pid = i32::try_from(victim).ok().and_then(Pid::from_raw).expect("a pid");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
    let channel = pidfd_getfd(process, 3, PidfdGetfdFlags::empty()).expect("its channel");
    rustix::io::write(channel, b"garbage\n").expect("room in its channel");
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("node "), "{answer:?}");
    }
    drop(tine.stop());
}

/// With few descriptors the manager stops accepting for a while; whoever waits is served later.
#[test]
fn out_of_descriptors_accepting_pauses_and_resumes_and_that_is_said_once() {
    if Who::User.find("node").is_none() {
        return skip("no node here");
    }
    let port = free_port();
    let variable = format!("PORT={port}");
    // Workers have as few, and all clients are to have room in the four.
    let words = ["-i", "4", "--mechanism", "hand-over", "--env", &variable, "hello.js"];
    let run = Tine::run(words).as_user().through(["prlimit", "--nofile=200:200"]);
    let mut tine = run.start();
    tine.wait_listening(4);
    let workers = tine.pids();
    for pid in &workers {
        tine.signal_worker(*pid, Signal::STOP);
    }
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    // What is more than half of the kernel's queue of 511 is accepted in advance: more than there is room for.
    let clients: Vec<TcpStream> = (0..500).map(connect).collect();
    let pauses = |line: &str| line.contains("could not accept connections (pausing): ");
    tine.wait_for(pauses, "the pause");
    // Several more tries are made meanwhile.
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(tine.lines().iter().filter(|line| pauses(&line.text)).count(), 1);
    for pid in &workers {
        tine.signal_worker(*pid, Signal::CONT);
    }
    tine.wait_for(|line| line.ends_with("connections are accepted again"), "the end of the pause");
    for mut client in clients {
        client.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut client, request).expect("room");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("node "), "{answer:?}");
    }
    assert_eq!(tine.stop().code, Some(0));
}
