//! Workers that are restarted take different times to leave. This file's own binary is their program.
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
    time::Duration,
};

use common::{Tested, soon};
use server::{connect, free_port, program};
use tine_cluster::{
    policy::{Abilities, Mechanism},
    primary::{Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

fn settings(port: u16) -> Settings {
    let mut settings = Settings::new(program("plain", port), 2);
    settings.abilities = Abilities::of_this_process();
    settings.mechanism = Some(Mechanism::KernelEbpf);
    settings.patience.drain = Duration::from_mins(10);
    settings
}

/// Half a question: whoever has it waits for the other half, and does not leave before.
fn half(port: u16) -> TcpStream {
    let mut client = connect(port).unwrap();
    client.write_all(b"wh").unwrap();
    client
}

/// Somebody who has asked, and waits for an answer.
fn asks(port: u16) -> TcpStream {
    let mut client = connect(port).unwrap();
    client.write_all(b"who?").unwrap();
    client
}

/// How many answers came.
async fn answers(clients: Vec<TcpStream>) -> usize {
    let hear = |mut client: TcpStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text.parse::<i32>().unwrap()
    };
    let all = move || clients.into_iter().map(hear).count();
    soon(tokio::task::spawn_blocking(all)).await.unwrap()
}

#[tokio::test]
async fn who_waits_for_a_worker_that_is_not_there_yet_is_served_by_those_who_are() {
    if !Abilities::of_this_process().ebpf {
        return println!("SKIP: no right to load eBPF programs");
    }
    let port = free_port();
    let mut tested = Tested::start(settings(port));
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    }
    let held = half(port);
    let cluster = tested.cluster.clone();
    let restarted = tokio::spawn(async move { cluster.restart().await });
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Draining).then_some(())).await;
    }
    // Each of the two that follow has a seat by now, and gets its share of these.
    let waiting = (0..20).map(|_| asks(port)).collect();
    assert_eq!(answers(waiting).await, 20);
    assert!(!restarted.is_finished(), "one of the old ones is still busy");
    let mut held = held;
    held.write_all(b"o?").unwrap();
    soon(restarted).await.unwrap().unwrap();
    tested.cluster.kill().await.unwrap();
}
