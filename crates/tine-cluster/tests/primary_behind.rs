//! An owner that takes no events, and a worker that makes many; this file's own binary is the worker.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

use common::{Tested, soon};
use tine_cluster::{
    id::WorkerId,
    primary::{Fork, Program, Stdio, What},
    worker::Worker,
};

/// Where to connect when all was done; without it this is a test like any other.
const DONE: &str = "BEHIND_DONE";
/// Whether it listens on, or ends.
const STAYS: &str = "BEHIND_STAYS";
/// How often it listens and closes.
const TIMES: u64 = 200;
/// What is kept of that: `docs/design/bounds.md`.
const MOST: u64 = 64;

/// Not a test but the program of the worker.
#[test]
fn listens_and_closes() -> ExitCode {
    let Ok(done) = std::env::var(DONE) else { return ExitCode::SUCCESS };
    let worker = Worker::from_env().unwrap();
    let stays = worker.listen((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 1..TIMES {
        drop(worker.listen((Ipv4Addr::LOCALHOST, 0)).unwrap());
    }
    drop(TcpStream::connect(done).unwrap());
    while std::env::var_os(STAYS).is_some() {
        thread::park();
    }
    drop(stays);
    ExitCode::SUCCESS
}

/// A worker that has done it all, of which no event was taken.
async fn flood(stays: bool) -> (Tested, WorkerId) {
    let done = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut program = Program::new(std::env::current_exe().unwrap());
    program.args = ["--exact", "listens_and_closes"].map(Into::into).to_vec();
    program.stdio = Stdio::Null;
    program.env.push((DONE.into(), done.local_addr().unwrap().to_string().into()));
    if stays {
        program.env.push((STAYS.into(), "1".into()));
    }
    let tested = Tested::forks(program);
    let worker = soon(tested.cluster.fork(Fork::new())).await.unwrap();
    soon(tokio::task::spawn_blocking(move || done.accept().unwrap())).await.unwrap();
    (tested, worker)
}

#[tokio::test]
async fn what_a_worker_does_too_often_is_counted_and_its_life_is_told_in_full() {
    let (mut tested, worker) = flood(false).await;
    // It ends, and still nothing was taken.
    let ended = async {
        while tested.cluster.workers().await.unwrap().iter().any(|it| it.worker == worker) {
            tokio::task::yield_now().await;
        }
    };
    soon(ended).await;
    let (mut listened, mut missed, mut life) = (0, 0, Vec::new());
    while life.last() != Some(&"exited") {
        match tested.next().await.what {
            What::Listening { .. } => listened += 1,
            What::Missed { events } => missed += events,
            What::Started { .. } => life.push("started"),
            What::Disconnected => life.push("disconnected"),
            What::Exited { .. } => life.push("exited"),
            _ => {}
        }
    }
    assert_eq!(life, ["started", "disconnected", "exited"]);
    assert!(listened < MOST, "one is for Online: {listened}");
    assert_eq!(listened + missed, TIMES);
}

#[tokio::test]
async fn an_owner_that_catches_up_hears_what_its_worker_listens_on() {
    let (mut tested, _) = flood(true).await;
    let mut first = None;
    let mut missed = 0;
    let again = tested.until(|event| match &event.what {
        What::Listening { key, .. } if missed > 0 => Some(key.clone()),
        What::Listening { key, .. } => {
            first.get_or_insert_with(|| key.clone());
            None
        }
        What::Missed { events } => {
            missed = *events;
            None
        }
        _ => None,
    });
    assert_eq!(Some(again.await), first, "it has kept that one");
    assert!(missed > TIMES - MOST - 10, "{missed}");
}
