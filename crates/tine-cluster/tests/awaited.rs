//! Who connects while all workers restart is served by the first who is back.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "common/server.rs"]
mod server;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    process::ExitCode,
};

use common::{Tested, soon};
use server::{connect, finish, free_port, program};
use tine_cluster::{
    id::Instance,
    policy::{Mechanism, Policy},
    primary::{Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

/// Restarts all, together or one after the other, while each has a request that is not over, and the last
/// of them has it to the end.
async fn nobody_waits_for_the_last(together: bool) {
    let port = free_port();
    let mut settings = Settings::new(program("plain", port), 3);
    (settings.policy, settings.mechanism) = (Policy::Random, Some(Mechanism::KernelCbpf));
    let mut tested = Tested::start(settings);
    for _ in 0..3 {
        tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    }
    let mut busy = keep_busy(&tested, port).await;
    let mut restarts = Vec::new();
    for instance in (0..3).map(Instance) {
        let cluster = tested.cluster.clone();
        restarts.push(tokio::spawn(async move { cluster.restart_instance(instance).await }));
        if !together || instance == Instance(2) {
            for _ in 0..if together { 3 } else { 1 } {
                tested.until(|event| matches!(event.what, What::Draining).then_some(())).await;
            }
        }
    }
    let late: Vec<_> = (0..24).map(|_| connect(port).unwrap()).collect();
    let last = busy.pop().unwrap();
    let first = tokio::task::spawn_blocking(move || busy.into_iter().for_each(go_on));
    let served = tokio::task::spawn_blocking(|| {
        late.into_iter().map(|client| finish(client).unwrap()).collect::<BTreeSet<_>>()
    });
    soon(first).await.unwrap();
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    }
    soon(served).await.unwrap();
    go_on(last);
    for restart in restarts {
        soon(restart).await.unwrap().unwrap();
    }
}

/// Connections that each of the workers has half a request of, and what waits behind it: by instance.
async fn keep_busy(tested: &Tested, port: u16) -> Vec<Vec<TcpStream>> {
    let mut busy: Vec<Vec<TcpStream>> = (0..3).map(|_| Vec::new()).collect();
    while busy.iter().any(Vec::is_empty) {
        let before = load(tested).await;
        let mut client = connect(port).unwrap();
        client.write_all(b"wh").unwrap();
        let at = async {
            loop {
                let now = load(tested).await;
                if let Some(at) = now.iter().zip(&before).position(|(now, before)| now > before) {
                    break at;
                }
            }
        };
        busy[soon(at).await].push(client);
    }
    busy
}

/// What each instance's worker has open and what waits in its seat.
async fn load(tested: &Tested) -> Vec<usize> {
    let report = soon(tested.cluster.report()).await.unwrap();
    let mut all = Vec::new();
    for instance in 0..3 {
        let mut workers = report.workers.iter();
        let pid = workers.find(|it| it.instance == Some(Instance(instance))).unwrap().pid;
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let seats = report.listeners[0].seats.iter();
        let queued = seats.filter(|seat| seat.instance == Some(Instance(instance)));
        all.push(open + queued.map(|seat| seat.queue.unwrap_or(0) as usize).sum::<usize>());
    }
    all
}

/// Says the other half and has its answer.
fn go_on(clients: Vec<TcpStream>) {
    for mut client in clients {
        client.write_all(b"o?").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer.parse::<i32>().unwrap();
    }
}

#[tokio::test]
async fn of_those_who_restart_together_nobody_is_waited_for_who_is_the_last_to_finish() {
    nobody_waits_for_the_last(true).await;
}

#[tokio::test]
async fn of_those_who_restart_one_by_one_nobody_is_waited_for_who_is_the_last_to_finish() {
    nobody_waits_for_the_last(false).await;
}
