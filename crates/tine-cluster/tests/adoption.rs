//! A primary that is killed under load, and another process that goes on with its workers. This file's
//! own binary is the manager that is killed, and the program of the workers.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
mod common;
#[path = "common/heirs.rs"]
mod heirs;
#[path = "common/node.rs"]
mod node;
#[path = "common/server.rs"]
mod server;

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use common::{Directory, Tested, soon};
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

/// All predecessors number their clusters alike, and here one process succeeds to all of them.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// They had answers, and nothing else. The cluster runs on this thread meanwhile.
async fn served(clients: Clients) {
    assert!(soon(tokio::task::spawn_blocking(move || clients.end())).await.unwrap() > 0);
}

/// What a successor does: all of a worker's life.
async fn goes_on(plan: Plan) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let manager = Manager::start(&plan);
    let clients = plan.keeps_what_was_accepted().then(|| Clients::start(plan.port));
    let old = manager.workers();
    let kept = manager.kill();
    let (cluster, events) = tine_cluster::primary::Cluster::adopt(plan.settings(), kept).unwrap();
    let mut tested = Tested { cluster, events };
    let workers = taken_over(&mut tested, 2).await;
    assert_eq!(workers.iter().map(|(_, pid)| pid.as_raw_pid()).collect::<BTreeSet<_>>().len(), 2);
    assert!(workers.iter().all(|(_, pid)| old.contains(pid)), "{workers:?} {old:?}");
    let all: BTreeSet<i32> = old.iter().map(|pid| pid.as_raw_pid()).collect();
    let mut answered = who_answers(plan.port).await;
    // On a busy machine one with a queue gives up its turns for a while.
    let deadline = Instant::now() + common::DEADLINE;
    while plan.takes_turns() && answered != all && Instant::now() < deadline {
        answered.extend(who_answers(plan.port).await);
    }
    assert!(answered.is_subset(&all) && (answered == all || !plan.takes_turns()), "{answered:?}");
    if let Some(clients) = clients {
        served(clients).await;
    }
    crash(&mut tested, workers[0]).await;
    let clients = plan.drains().then(|| Clients::start(plan.port));
    let reloaded = soon(tested.cluster.reload(Reload::default())).await.unwrap();
    assert_eq!(reloaded.replaced, 2);
    assert!(who_answers(plan.port).await.is_disjoint(&all), "others serve now");
    if let Some(clients) = clients {
        served(clients).await;
    }
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
    let (mut ended, mut followed) = (false, false);
    while !(ended && followed) {
        // The one is told after its last word, whoever follows it.
        match tested.next().await {
            event if event.worker == worker => {
                ended |= matches!(event.what, What::Exited { exit: Exit::Signal(9), .. });
            }
            event => followed |= matches!(event.what, What::Ready),
        }
    }
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
async fn a_worker_of_our_own_protocol_under_one_queue() {
    goes_on(Plan::new("native", Mechanism::OneQueue)).await;
}

#[tokio::test]
async fn a_worker_of_our_own_protocol_under_hand_over() {
    goes_on(Plan::new("native", Mechanism::HandOver)).await;
}

#[tokio::test]
async fn a_worker_of_our_own_protocol_under_round_robin_in_the_kernel() {
    if has_ebpf() {
        goes_on(Plan::new("native", Mechanism::KernelEbpf)).await;
    }
}

/// Answers with its pid.
const NODE: &str = "
require('net').createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(String(process.pid)));
}).listen(+process.env.SERVER_PORT, '127.0.0.1');";

#[tokio::test]
async fn a_worker_of_nodes_under_hand_over() {
    let directory = Directory::new();
    if let Some(program) = node::node(&directory, NODE) {
        goes_on(Plan::of(&program, Mechanism::HandOver)).await;
    }
}

#[tokio::test]
async fn a_worker_of_nodes_under_the_classic_program() {
    let directory = Directory::new();
    if let Some(program) = node::node(&directory, NODE) {
        goes_on(Plan::of(&program, Mechanism::KernelCbpf)).await;
    }
}

#[tokio::test]
async fn a_worker_of_our_own_protocol_under_the_classic_program() {
    goes_on(Plan::new("native", Mechanism::KernelCbpf)).await;
}

// === Whoever keeps everything is killed too ===

#[tokio::test]
async fn what_workers_hold_themselves_is_enough_under_round_robin_in_the_kernel() {
    if has_ebpf() {
        goes_on(Plan::new("plain", Mechanism::KernelEbpf).alone()).await;
    }
}

#[tokio::test]
async fn what_workers_hold_themselves_is_enough_under_the_classic_program() {
    goes_on(Plan::new("plain", Mechanism::KernelCbpf).alone()).await;
}

#[tokio::test]
async fn what_workers_hold_themselves_is_enough_under_one_queue() {
    goes_on(Plan::new("native", Mechanism::OneQueue).alone()).await;
}

#[tokio::test]
async fn what_workers_hold_themselves_is_enough_under_hand_over() {
    goes_on(Plan::new("native", Mechanism::HandOver).alone()).await;
}

#[tokio::test]
async fn what_workers_of_nodes_hold_themselves_is_enough_under_hand_over() {
    let directory = Directory::new();
    if let Some(program) = node::node(&directory, NODE) {
        goes_on(Plan::of(&program, Mechanism::HandOver).alone()).await;
    }
}

#[tokio::test]
async fn what_workers_of_nodes_hold_themselves_is_enough_under_the_classic_program() {
    let directory = Directory::new();
    if let Some(program) = node::node(&directory, NODE) {
        goes_on(Plan::of(&program, Mechanism::KernelCbpf).alone()).await;
    }
}
