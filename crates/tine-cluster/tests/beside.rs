//! Two generations side by side, with real programs: this file's own binary is the server.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/server.rs"]
mod server;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use common::{Tested, soon};
use server::{Clients, connect, finish, free_port, program};
use tine_cluster::{
    core::generations::{Beside, Percent},
    id::Instance,
    policy::{Abilities, Mechanism, Policy},
    primary::{GenerationError, NotKept, Reload, ReloadError, Reloaded, Settings, What},
};

const LONG: Beside = Beside::Aside(Duration::from_hours(1));

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

async fn start(mode: &str, port: u16, change: impl FnOnce(&mut Settings)) -> Tested {
    let mut settings = Settings::new(program(mode, port), 2);
    settings.abilities = Abilities::of_this_process();
    change(&mut settings);
    let mut tested = Tested::start(settings);
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    }
    tested
}

async fn pids(tested: &Tested) -> BTreeSet<i32> {
    let workers = soon(tested.cluster.workers()).await.unwrap();
    workers.iter().filter(|worker| !worker.is_dead).map(|worker| worker.pid).collect()
}

async fn keep(tested: &mut Tested, beside: Beside) -> Result<Reloaded, ReloadError> {
    let cluster = tested.cluster.clone();
    let reload = Reload { beside: Some(beside), ..Reload::default() };
    let mut reload = tokio::spawn(async move { cluster.reload(reload).await });
    loop {
        // The events are taken meanwhile, as an owner does.
        tokio::select! {
            done = soon(&mut reload) => return done.unwrap(),
            _ = tested.next() => {}
        }
    }
}

/// Waits until no more workers live than these two. Their ends may have been heard of before.
async fn until_two_are_left(tested: &mut Tested) {
    let two = async {
        while pids(tested).await.len() > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(two).await;
}

/// So many clients one after the other: whom they met.
async fn met(port: u16, clients: usize) -> Vec<i32> {
    let ask = move || (0..clients).map(|_| connect(port).and_then(finish).unwrap()).collect();
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn the_way_back_takes_no_start(mode: &str, mechanism: Option<Mechanism>) {
    let port = free_port();
    let mut tested = start(mode, port, |settings| settings.mechanism = mechanism).await;
    let old = pids(&tested).await;
    let clients = Clients::start(port);
    assert_eq!(keep(&mut tested, LONG).await.unwrap(), Reloaded { replaced: 2 });
    let new: BTreeSet<i32> = pids(&tested).await.difference(&old).copied().collect();
    assert_eq!(new.len(), 2);
    assert!(met(port, 12).await.iter().all(|pid| new.contains(pid)), "{old:?} {new:?}");

    let back = soon(tested.cluster.revert()).await.unwrap();
    assert_eq!(back, [Instance(0), Instance(1)].into());
    until_two_are_left(&mut tested).await;
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
    assert!(met(port, 12).await.iter().all(|pid| old.contains(pid)), "{old:?} {new:?}");
    assert_eq!(pids(&tested).await, old);
    let none = soon(tested.cluster.revert()).await.unwrap_err();
    assert!(matches!(none, GenerationError::NoneKept), "{none:?}");
}

#[tokio::test]
async fn old_workers_with_seats_of_their_own_are_kept_and_return_without_a_lost_connection() {
    the_way_back_takes_no_start("plain", None).await;
}

#[tokio::test]
async fn old_workers_return_also_where_a_classic_program_chooses() {
    the_way_back_takes_no_start("plain", Some(Mechanism::KernelCbpf)).await;
}

#[tokio::test]
async fn old_workers_that_are_handed_connections_are_kept_and_return() {
    the_way_back_takes_no_start("native", Some(Mechanism::HandOver)).await;
}

#[tokio::test]
async fn when_their_time_is_up_the_old_workers_leave() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let old = pids(&tested).await;
    keep(&mut tested, Beside::Aside(Duration::from_millis(20))).await.unwrap();
    until_two_are_left(&mut tested).await;
    let left = pids(&tested).await;
    assert!(left.len() == 2 && left.is_disjoint(&old), "{old:?} {left:?}");
    let none = soon(tested.cluster.promote()).await.unwrap_err();
    assert!(matches!(none, GenerationError::NoneKept), "{none:?}");
}

#[tokio::test]
async fn a_canary_has_its_part_until_it_is_promoted() {
    if !Abilities::of_this_process().ebpf {
        return;
    }
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let old = pids(&tested).await;
    let fifth = Percent::new(20).unwrap();
    keep(&mut tested, Beside::Canary(fifth)).await.unwrap();
    assert_eq!(pids(&tested).await.len(), 4);
    let met_new = |all: &[i32]| all.iter().filter(|pid| !old.contains(pid)).count();
    let all = met(port, 200).await;
    // A seat whose worker was slow to accept gives its turn to another.
    assert!((20..=60).contains(&met_new(&all)), "{} of 200", met_new(&all));

    soon(tested.cluster.promote()).await.unwrap();
    assert_eq!(met_new(&met(port, 40).await), 40);
    until_two_are_left(&mut tested).await;
    assert!(pids(&tested).await.is_disjoint(&old));
}

#[tokio::test]
async fn a_canary_that_is_given_up_leaves_and_the_old_ones_have_all() {
    if !Abilities::of_this_process().ebpf {
        return;
    }
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let old = pids(&tested).await;
    keep(&mut tested, Beside::Canary(Percent::new(50).unwrap())).await.unwrap();
    soon(tested.cluster.revert()).await.unwrap();
    assert!(met(port, 20).await.iter().all(|pid| old.contains(pid)));
    until_two_are_left(&mut tested).await;
    assert_eq!(pids(&tested).await, old);
}

#[tokio::test]
async fn canaries_come_and_go_without_a_lost_connection() {
    if !Abilities::of_this_process().ebpf {
        return;
    }
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let clients = Clients::start(port);
    let canary = Beside::Canary(Percent::new(30).unwrap());
    keep(&mut tested, canary).await.unwrap();
    soon(tested.cluster.revert()).await.unwrap();
    until_two_are_left(&mut tested).await;
    keep(&mut tested, canary).await.unwrap();
    soon(tested.cluster.promote()).await.unwrap();
    until_two_are_left(&mut tested).await;
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
}

#[tokio::test]
async fn where_nobody_can_be_kept_it_is_said_and_nothing_is_done() {
    let port = free_port();
    let mut tested = start("native", port, |settings| settings.policy = Policy::Shared).await;
    let before = pids(&tested).await;
    let error = keep(&mut tested, LONG).await.unwrap_err();
    assert!(matches!(&error, ReloadError::NotKept(NotKept::NotAside { .. })), "{error:?}");
    let canary = Beside::Canary(Percent::new(5).unwrap());
    let error = keep(&mut tested, canary).await.unwrap_err();
    assert!(error.to_string().contains("one-queue"), "{error}");
    assert_eq!(pids(&tested).await, before);
}

#[tokio::test]
async fn a_next_reload_lets_go_of_those_that_were_kept() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let first = pids(&tested).await;
    keep(&mut tested, LONG).await.unwrap();
    keep(&mut tested, LONG).await.unwrap();
    let gone = async {
        while !pids(&tested).await.is_disjoint(&first) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(gone).await;
    assert_eq!(pids(&tested).await.len(), 4);
}
