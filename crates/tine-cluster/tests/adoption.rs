//! A primary that is killed under load, and another process that goes on with its workers. This file's
//! own binary is the manager that is killed, and the program of the workers.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;
#[path = "common/heirs.rs"]
mod heirs;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "common/node.rs"]
mod node;
#[path = "common/server.rs"]
mod server;

use std::{collections::BTreeSet, process::ExitCode};

use common::{Tested, soon};
use heirs::{Manager, Plan};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use server::{Clients, connect, finish};
use tine_cluster::{
    id::WorkerId,
    policy::{Abilities, Mechanism},
    primary::{Reload, What},
};
use tine_linux::process::{Exit, Process};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

/// Not a test but the manager that is killed.
#[test]
fn manages() {
    heirs::manages();
}

/// The pids of the workers that are taken over.
async fn taken_over(tested: &mut Tested, count: usize) -> Vec<(WorkerId, Pid)> {
    let mut found = Vec::new();
    while found.len() < count {
        found.push(
            tested
                .until(|event| match event.what {
                    What::Adopted { pid, ready, .. } => {
                        assert!(ready);
                        Some((event.worker, pid))
                    }
                    _ => None,
                })
                .await,
        );
    }
    found
}

/// Everybody who answers, asked one after the other.
async fn who_answers(port: u16) -> BTreeSet<i32> {
    let ask = move || (0..40).map(|_| finish(connect(port).unwrap()).unwrap()).collect();
    soon(tokio::task::spawn_blocking(ask)).await.unwrap()
}

/// What a successor does: all of a worker's life.
async fn goes_on(plan: Plan) {
    let manager = Manager::start(&plan);
    let clients = Clients::start(plan.port);
    let old = manager.workers();
    let kept = manager.kill();
    let (cluster, events) = tine_cluster::primary::Cluster::adopt(plan.settings(), kept).unwrap();
    let mut tested = Tested { cluster, events };
    let workers = taken_over(&mut tested, 2).await;
    assert_eq!(workers.iter().map(|(_, pid)| pid.as_raw_pid()).collect::<BTreeSet<_>>().len(), 2);
    assert!(workers.iter().all(|(_, pid)| old.contains(pid)), "{workers:?} {old:?}");
    let all: BTreeSet<i32> = old.iter().map(|pid| pid.as_raw_pid()).collect();
    assert_eq!(who_answers(plan.port).await, all, "both serve");
    assert!(clients.end() > 0);
    crash(&mut tested, workers[0]).await;
    let clients = Clients::start(plan.port);
    let reloaded = soon(tested.cluster.reload(Reload::default())).await.unwrap();
    assert_eq!(reloaded.replaced, 2);
    assert!(who_answers(plan.port).await.is_disjoint(&all), "others serve now");
    assert!(clients.end() > 0);
    tested.cluster.stop().await.unwrap();
    while soon(tested.events.next()).await.is_some() {}
    for pid in old {
        reap(pid);
        assert!(test_kill_process(pid).is_err(), "{pid} is left");
    }
}

/// This process has the orphans: what it waits for is gone.
fn reap(pid: Pid) -> Option<Exit> {
    Process::open(pid).ok()?.wait().ok()
}

/// Kills the worker, and waits for another one in its place.
async fn crash(tested: &mut Tested, (worker, pid): (WorkerId, Pid)) {
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(reap(pid), Some(Exit::Signal(9)));
    tested.cluster.child_ended(pid, Exit::Signal(9)).await.unwrap();
    assert_eq!(tested.exit(worker).await, (Exit::Signal(9), false));
    let next = tested.until(|event| match event.what {
        What::Started { .. } => Some(event.worker),
        _ => None,
    });
    let next = next.await;
    tested
        .until(|event| {
            (event.worker == next).then_some(matches!(event.what, What::Ready)).filter(|it| *it)
        })
        .await;
}

fn has_ebpf() -> bool {
    let has = Abilities::of_this_process().ebpf;
    if !has {
        println!("SKIP: no right to load eBPF programs");
    }
    has
}

#[tokio::test]
async fn a_program_that_knows_nothing_under_round_robin_in_the_kernel() {
    if has_ebpf() {
        goes_on(Plan::new("plain", Mechanism::KernelEbpf)).await;
    }
}

#[tokio::test]
async fn a_program_that_knows_nothing_under_the_classic_program() {
    goes_on(Plan::new("plain", Mechanism::KernelCbpf)).await;
}

#[tokio::test]
async fn a_program_that_knows_nothing_under_one_queue() {
    goes_on(Plan::new("plain", Mechanism::OneQueue)).await;
}

#[tokio::test]
async fn a_worker_of_our_own_protocol_under_the_classic_program() {
    goes_on(Plan::new("native", Mechanism::KernelCbpf)).await;
}
