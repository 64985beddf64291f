//! A worker that leaves answers in parts. This file's own binary is its program.
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
    process::ExitCode,
};

use common::{Tested, soon};
use server::{connect, free_port, program};
use tine_cluster::{
    id::Instance,
    primary::{Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

#[tokio::test]
async fn an_answer_that_is_held_back_in_the_middle_is_not_cut() {
    let port = free_port();
    let mut tested = Tested::start(Settings::new(program("parts", port), 1));
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    let mut client = connect(port).unwrap();
    client.write_all(b"who?").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let cluster = tested.cluster.clone();
    let stopped = tokio::spawn(async move { cluster.stop_instance(Instance(0)).await });
    let rest = move || {
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    };
    let rest = soon(tokio::task::spawn_blocking(rest)).await.unwrap().unwrap();
    assert_eq!(rest, "ne two");
    soon(stopped).await.unwrap().unwrap();
    tested.cluster.kill().await.unwrap();
}
