//! A worker leaves whose clients ask all the time, each on one connection that is kept: what a proxy does.
//! This file's own binary is its program.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
mod common;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "common/server.rs"]
mod server;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Tested, soon};
use server::{connect, free_port, program};
use tine_cluster::{
    policy::{Mechanism, Policy},
    primary::{Reload, Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

/// What became of requests.
#[derive(Debug, Default)]
struct Fates {
    answered: AtomicUsize,
    /// In the middle of the answer.
    cut: AtomicUsize,
}

/// Asks on one connection until told to end, and on another one when that has ended.
fn asks(port: u16, end: &AtomicBool, fates: &Fates) {
    let mut client: Option<TcpStream> = None;
    while !end.load(Ordering::Relaxed) {
        let mut open = client.take().unwrap_or_else(|| connect(port).unwrap());
        // What is sent in the very moment of its end has no answer.
        if open.write_all(b"who?").is_ok() && open.read_exact(&mut [0]).is_ok() {
            if open.read_exact(&mut [0]).is_ok() {
                fates.answered.fetch_add(1, Ordering::Relaxed);
                client = Some(open);
            } else {
                fates.cut.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Often enough that the kernel's clock cannot tell an answer from the next request.
        thread::sleep(Duration::from_millis(3));
    }
}

async fn do_not_keep_a_worker(mode: &str) {
    let (port, end, fates) = (free_port(), Arc::new(AtomicBool::new(false)), Arc::default());
    let mut settings = Settings::new(program(mode, port), 1);
    (settings.policy, settings.mechanism) = (Policy::Random, Some(Mechanism::KernelCbpf));
    settings.patience.drain = Duration::from_hours(1);
    let mut tested = Tested::start(settings);
    tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (end, fates): (_, Arc<Fates>) = (Arc::clone(&end), Arc::clone(&fates));
            thread::spawn(move || asks(port, &end, &fates))
        })
        .collect();
    let answered = || fates.answered.load(Ordering::Relaxed);
    while answered() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    soon(tested.cluster.reload(Reload::default())).await.unwrap();
    let before = answered();
    while answered() < before + 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(|| clients.into_iter().for_each(|it| it.join().unwrap()))
        .await
        .unwrap();
    tested.cluster.stop().await.unwrap();
    while let Some(event) = soon(tested.events.next()).await {
        assert!(!matches!(event.what, What::Cut { .. }), "{event:?}");
    }
    // The one of a request that came in the moment between the last look and the connection's end.
    assert!(fates.cut.load(Ordering::Relaxed) <= 1, "answers were cut: {fates:?}");
}

#[tokio::test]
async fn clients_that_ask_all_the_time_do_not_keep_a_worker() {
    do_not_keep_a_worker("keeps").await;
}

#[tokio::test]
async fn answers_of_two_parts_a_moment_apart_are_not_cut_between_them() {
    do_not_keep_a_worker("pairs").await;
}
