//! Workers whose owner reads their output itself, with real programs.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;

use std::{
    fs::File,
    io::{Read, Write},
};

use common::{Tested, soon};
use tine_cluster::primary::{Fork, Output, Program, Stdio, What};
use tine_linux::process::Exit;

fn shell(script: &str) -> Program {
    let args = vec!["-c".into(), script.into()];
    Program { args, stdio: Stdio::Pipes { input: false }, ..Program::new("/bin/sh") }
}

async fn output(tested: &mut Tested) -> Output {
    tested
        .until(|event| match &mut event.what {
            What::Started { output, .. } => Some(output.take().unwrap()),
            _ => None,
        })
        .await
}

/// Reads to the end, on a thread that may wait.
async fn read(from: std::os::fd::OwnedFd) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::from(from).read_to_end(&mut bytes).unwrap();
        bytes
    });
    soon(reading).await.unwrap()
}

#[tokio::test]
async fn the_owner_reads_every_byte_of_both_streams_and_the_cluster_none() {
    let mut tested = Tested::forks(shell("printf 'a\\000b'; echo err >&2; exit 3"));
    let worker = soon(tested.cluster.fork(Fork::new())).await.unwrap();
    let Output { out, err, .. } = output(&mut tested).await;
    // The end is told though nobody has read anything yet.
    assert_eq!(tested.exit(worker).await.0, Exit::Code(3));
    assert_eq!(read(out).await, b"a\0b");
    assert_eq!(read(err).await, b"err\n");
}

#[tokio::test]
async fn a_worker_that_nobody_reads_waits_and_loses_nothing() {
    let mut tested = Tested::forks(shell("head -c 1000000 /dev/zero"));
    let worker = soon(tested.cluster.fork(Fork::new())).await.unwrap();
    let Output { out, err, .. } = output(&mut tested).await;
    let workers = soon(tested.cluster.workers()).await.unwrap();
    assert!(workers.iter().any(|it| it.worker == worker && !it.is_dead), "a pipe holds 64 KiB");
    assert_eq!(read(out).await.len(), 1_000_000);
    assert_eq!(tested.exit(worker).await.0, Exit::Code(0));
    assert_eq!(read(err).await, b"");
}

#[tokio::test]
async fn whoever_wants_no_pipes_gets_none() {
    let program = Program { stdio: Stdio::Null, ..shell("exit 0") };
    let mut tested = Tested::forks(program);
    soon(tested.cluster.fork(Fork::new())).await.unwrap();
    let none = |event: &mut tine_cluster::primary::Event| match &event.what {
        What::Started { output, .. } => Some(output.is_none()),
        _ => None,
    };
    assert!(tested.until(none).await);
}

#[tokio::test]
async fn a_worker_reads_what_its_owner_writes_and_its_end_when_that_is_closed() {
    let program = Program { stdio: Stdio::Pipes { input: true }, ..shell("exec cat") };
    let mut tested = Tested::forks(program);
    let worker = soon(tested.cluster.fork(Fork::new())).await.unwrap();
    let Output { out, input, .. } = output(&mut tested).await;
    let mut input = File::from(input.unwrap());
    input.write_all(b"one\ntwo").unwrap();
    drop(input);
    assert_eq!(read(out).await, b"one\ntwo");
    assert_eq!(tested.exit(worker).await.0, Exit::Code(0));
}

#[tokio::test]
async fn a_worker_whose_owner_writes_nothing_has_an_empty_input() {
    let mut tested = Tested::forks(shell("readlink /proc/self/fd/0"));
    soon(tested.cluster.fork(Fork::new())).await.unwrap();
    let Output { out, input, .. } = output(&mut tested).await;
    assert!(input.is_none());
    assert_eq!(read(out).await, b"/dev/null\n");
}
