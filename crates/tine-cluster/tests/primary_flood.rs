//! Many messages, and somebody who does not read: none is lost, their order is kept, and nobody else
//! notices. Without node these tests say so and pass.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
mod common;
#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use common::{DEADLINE, Directory, Tested, soon};
use node::node;
use rustix::process::Signal;
use serde_json::json;
use tine_cluster::{
    id::WorkerId,
    primary::{Fork, What},
};

const MESSAGES: u64 = 20_000;
/// What a primary may grow by, in KiB, whatever one worker says or does not read. All messages of one
/// of these tests take up more than twice as much.
const GROWTH: u64 = 16 << 10;

/// What this process holds in memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Says all of them at once, each with its number and 1 kB; then counts what it is told.
const TALKER: &str = "
let count = 0;
process.on('message', (m) => {
    if (m.n === undefined) process.send({ count });
    else if (m.n === count) count += 1;
    else process.exit(3);
});
for (let n = 0; n < 20000; n++) process.send({ n, text: 'x'.repeat(1000) });
process.send({ said: true });";

/// Waits, and says nothing of itself but when it is asked.
const LISTENER: &str = "
let count = 0;
process.on('message', (m) => {
    if (m.n === undefined) process.send({ count });
    else if (m.n === count) count += 1;
    else process.exit(3);
});
process.send({ up: true });";

async fn said(tested: &mut Tested, worker: WorkerId) -> serde_json::Value {
    serde_json::from_str(tested.message(worker).await.get()).unwrap()
}

#[tokio::test]
async fn twenty_thousand_messages_reach_a_busy_primary_whole_and_in_order() {
    let directory = Directory::new();
    let Some(program) = node(&directory, TALKER) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    assert_eq!(said(&mut tested, worker).await["n"], 0, "it has begun");
    let before = resident();
    for n in 1..MESSAGES {
        // Busy with something else, so that nothing is read meanwhile: more than a socket holds.
        if n % 2000 == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let message = said(&mut tested, worker).await;
        assert_eq!(message["n"], n);
        assert_eq!(message["text"].as_str().map(str::len), Some(1000));
    }
    assert_eq!(said(&mut tested, worker).await, json!({ "said": true }));
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
}

#[tokio::test]
async fn twenty_thousand_messages_of_a_busy_primary_reach_their_worker_whole_and_in_order() {
    let directory = Directory::new();
    let Some(program) = node(&directory, LISTENER) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    said(&mut tested, worker).await;
    for n in 0..MESSAGES {
        if n % 2000 == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let message = json!({ "n": n, "text": "x".repeat(1000) });
        soon(tested.cluster.send(worker, &message)).await.unwrap();
    }
    // It counts those that come in their turn, and ends at one that does not.
    tested.cluster.send(worker, &json!({})).await.unwrap();
    assert_eq!(said(&mut tested, worker).await["count"], MESSAGES);
}

#[tokio::test]
async fn messages_that_nobody_takes_wait_with_their_worker_and_the_others_are_heard() {
    let directory = Directory::new();
    let Some(program) = node(&directory, LISTENER) else { return };
    let mut tested = Tested::forks(program);
    let quiet = tested.cluster.fork(Fork::new()).await.unwrap();
    said(&mut tested, quiet).await;
    let before = resident();
    let talker = Fork::new().program(node(&directory, TALKER).unwrap());
    let talker = tested.cluster.fork(talker).await.unwrap();
    // Nobody takes an event; but the other one is served, for what is told it is no event.
    for n in 0..500 {
        soon(tested.cluster.send(quiet, &json!({ "n": n }))).await.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
    soon(tested.cluster.send(quiet, &json!({}))).await.unwrap();
    // Now they are taken: what the talker had said first comes first, and the other's word between.
    let (mut next, mut count) = (0, None);
    while next < MESSAGES || count.is_none() {
        let (from, message) = tested
            .until(|event| match &event.what {
                What::Message { message, .. } => Some((event.worker, message.clone())),
                _ => None,
            })
            .await;
        let message: serde_json::Value = serde_json::from_str(message.get()).unwrap();
        if from == quiet {
            count = message["count"].as_u64();
        } else if let Some(n) = message["n"].as_u64() {
            assert_eq!((from, n), (talker, next));
            next += 1;
        }
    }
    assert_eq!(count, Some(500));
}

#[tokio::test]
async fn messages_to_a_stopped_worker_wait_with_their_sender_and_others_are_told_on() {
    let directory = Directory::new();
    let Some(program) = node(&directory, LISTENER) else { return };
    let mut tested = Tested::forks(program);
    let stopped = tested.cluster.fork(Fork::new()).await.unwrap();
    said(&mut tested, stopped).await;
    let other = tested.cluster.fork(Fork::new()).await.unwrap();
    said(&mut tested, other).await;
    tested.cluster.kill_worker(stopped, Signal::STOP).await.unwrap();
    let before = resident();
    let cluster = tested.cluster.clone();
    let sending = tokio::spawn(async move {
        for n in 0..50 {
            let message = json!({ "n": n, "text": "x".repeat(1 << 20) });
            cluster.send(stopped, &message).await.unwrap();
        }
    });
    for n in 0..500 {
        soon(tested.cluster.send(other, &json!({ "n": n }))).await.unwrap();
    }
    soon(tested.cluster.send(other, &json!({}))).await.unwrap();
    assert_eq!(said(&mut tested, other).await["count"], 500);
    assert!(!sending.is_finished());
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
    tested.cluster.kill_worker(stopped, Signal::CONT).await.unwrap();
    tokio::time::timeout(DEADLINE, sending).await.expect("it reads again").unwrap();
    tested.cluster.send(stopped, &json!({})).await.unwrap();
    assert_eq!(said(&mut tested, stopped).await["count"], 50);
}
