//! Cases 37 to 40: messages.

use std::fs;
use std::io;

use compliance::{Primary, Way, eventually, play};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::clients::{V4, connect, stopped, suspend};

on_all! {
    messages_come_back_equal_and_in_order,
    what_comes_before_a_listener_is_lost,
    sockets_that_a_worker_sends_hold_nothing_up,
    a_flood_of_messages_is_neither_lost_nor_mixed_up,
}

on_some! {
    a_large_message_comes_back_equal: [compliance::Way::NODE_RR, compliance::Way::HAND_OVER],
}

/// Sends back what it gets.
const ECHO: &str = "process.on('message', (message) => process.send(message));";

/// Case 37. They are sent before the worker runs.
pub(crate) fn messages_come_back_equal_and_in_order(primary: &mut Primary) {
    let all = [
        json!("text"),
        json!(42),
        json!(null),
        json!(true),
        json!([1, [2.5, {}], null]),
        json!({ "cmd": "NODE_" }),
        json!({ "cmd": "NODE_X" }),
        json!({ "cmd": 7, "act": "disconnect" }),
        json!("\u{1f600} \u{2028}\u{2029} \0 \r\n \"\\"),
        json!({ "last": 1 }),
    ];
    let worker = primary.fork(ECHO, &[]);
    for message in &all {
        primary.send(worker, message.clone());
    }
    // What is called so is Node's own, and nobody is told.
    for message in all.iter().filter(|message| message["cmd"] != "NODE_X") {
        assert_eq!(primary.message(worker), *message);
    }
}

/// Case 37. Elsewhere Node keeps them, but in a worker `cluster` itself listens from the start.
fn what_comes_before_a_listener_is_lost(primary: &mut Primary) {
    let script = "
require('cluster').worker.once('message', (message) => {
  process.send(`first ${message}`);
  process.on('message', (message) => process.send(message));
});
";
    let worker = primary.fork(script, &[]);
    primary.send(worker, "lost");
    assert_eq!(primary.message(worker), "first lost");
    primary.send(worker, "heard");
    assert_eq!(primary.message(worker), "heard");
}

/// Case 37.
fn a_large_message_comes_back_equal(primary: &mut Primary) {
    let large = "0123456789abcdef".repeat(2 << 20);
    let worker = primary.fork(ECHO, &[]);
    primary.send(worker, large.clone());
    let back = primary.message(worker);
    assert!(back == large, "{} bytes came back", back.as_str().map_or(0, str::len));
}

/// Case 38.
fn sockets_that_a_worker_sends_hold_nothing_up(primary: &mut Primary) {
    let script = "
require('net').createServer((socket) => {
  process.send('a socket', socket);
  process.send('after');
}).listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
    let before = descriptors(primary.pid());
    let clients = [(); 3].map(|()| {
        let client = connect(V4, port).expect("a listener");
        assert_eq!([(); 2].map(|()| primary.message(worker)), ["a socket", "after"]);
        client
    });
    drop(clients);
    eventually("the primary holds no more", || descriptors(primary.pid()) <= before);
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .map_or_else(|error: io::Error| panic!("{error}"), Iterator::count)
}

/// Case 39: the primary does not read meanwhile.
fn a_flood_of_messages_is_neither_lost_nor_mixed_up(primary: &mut Primary) {
    let script = "
process.on('message', () => {
  for (let n = 0; n < 20000; n++) process.send({ n, text: 'x'.repeat(1000) });
  console.log('all sent');
});
process.send('ready');
";
    let worker = primary.fork(script, &[]);
    assert_eq!(primary.message(worker), "ready");
    primary.send(worker, "go");
    // Its first words are out, and most of the others are not.
    primary.message(worker);
    suspend_primary(primary);
    kill_process(pid(primary), Signal::CONT).expect("it is ours");
    for n in 1..20000 {
        assert_eq!(primary.message(worker)["n"], n);
    }
}

fn pid(primary: &Primary) -> Pid {
    i32::try_from(primary.pid()).ok().and_then(Pid::from_raw).expect("a pid")
}

fn suspend_primary(primary: &Primary) {
    kill_process(pid(primary), Signal::STOP).expect("it is ours");
    eventually("the primary stops", || stopped(primary.pid()));
}

/// Case 40. Deliberately better: Node's primary keeps what a stopped worker does not read for ever.
#[test]
fn what_a_stopped_worker_does_not_read_comes_to_a_limit() {
    play(&[Way::HAND_OVER], |mut primary| {
        let [stopped, other] = [(); 2].map(|()| primary.fork(ECHO, &[]));
        for worker in [stopped, other] {
            primary.wait_for(worker, "online");
        }
        suspend(&primary, stopped);
        let megabyte = Value::from("x".repeat(1 << 20));
        let sent: Vec<u64> = (0..100).map(|_| primary.send_noted(stopped, &megabyte)).collect();
        // What came first waits for its worker, and is not answered for.
        assert!(primary.outcome(sent[99]).is_err(), "100 MB were taken for who does not read");
        primary.send(other, "still there?");
        assert_eq!(primary.message(other), "still there?");
    });
}
