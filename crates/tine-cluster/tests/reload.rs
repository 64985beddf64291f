//! Rolling replacement, with real programs: this file's own binary is the server.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/server.rs"]
mod server;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use common::{Tested, soon};
use rustix::process::{Pid, Signal};
use server::{Clients, connect, finish, free_port, program};
use tine_cluster::{
    core::rollout::Pace,
    id::Instance,
    policy::{Abilities, Mechanism, Policy},
    primary::{Lack, PolicyError, Program, Reload, ReloadError, Reloaded, Settings, What},
};
use tine_linux::process::Exit;

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

async fn start(mode: &str, port: u16, change: impl FnOnce(&mut Settings)) -> Tested {
    let mut settings = Settings::new(program(mode, port), 2);
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

async fn nothing_is_lost(mode: &str, policy: Policy, mechanism: Option<Mechanism>) {
    let port = free_port();
    let mut tested = start(mode, port, |settings| {
        settings.policy = policy;
        settings.mechanism = mechanism;
        settings.abilities = Abilities::of_this_process();
    })
    .await;
    let before = pids(&tested).await;
    let clients = Clients::start(port);
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(Reload::default()).await });
    // The events are taken meanwhile, as an owner does.
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    }
    assert_eq!(soon(reload).await.unwrap().unwrap(), Reloaded { replaced: 2 });
    // Where the primary hands over, this thread has to be free for it.
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
    let after = pids(&tested).await;
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
    let answer = tokio::task::spawn_blocking(move || connect(port).and_then(finish)).await.unwrap();
    assert!(after.contains(&answer.unwrap()));
}

#[tokio::test]
async fn workers_with_seats_of_their_own_are_replaced_without_losing_a_connection() {
    nothing_is_lost("plain", Policy::Rr, None).await;
}

#[tokio::test]
async fn workers_of_one_queue_that_are_told_to_leave_are_replaced_without_losing_a_connection() {
    // A program without a channel cannot be kept from accepting until it is told to end.
    nothing_is_lost("native", Policy::Shared, None).await;
}

#[tokio::test]
async fn workers_that_are_handed_connections_are_replaced_without_losing_one() {
    nothing_is_lost("native", Policy::Rr, Some(Mechanism::HandOver)).await;
}

#[tokio::test]
async fn a_canary_that_ends_is_told_with_its_last_lines_and_nobody_else_is_touched() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let reload = Reload { program: Some(program("3", port)), ..Reload::default() };
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(reload).await.unwrap().unwrap_err();
    let ReloadError::EndedEarly { replaced: 0, exit, last_lines, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(exit, Some(Exit::Code(3)));
    assert!(last_lines.contains(&b"the end is 3".to_vec()), "{last_lines:?}");
    assert_eq!(pids(&tested).await, before);

    // A crash is followed by the program that is known to work.
    let victim = *before.first().unwrap();
    rustix::process::kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_canary_that_never_listens_is_removed_when_its_time_is_up() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let pace = Pace { patience: Duration::from_millis(300), ..Pace::default() };
    let reload = Reload { program: Some(program("idle", port)), pace, ..Reload::default() };
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(reload).await.unwrap().unwrap_err();
    let ReloadError::TooLate { replaced: 0, lack: Lack::Listener { missing, elsewhere }, .. } =
        error
    else {
        panic!("{error:?}")
    };
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(missing.len() == 1 && missing[0].ends_with(&format!(":{port}")), "{missing:?}");
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert_eq!(pids(&tested).await, before);
}

#[tokio::test]
async fn a_second_reload_is_refused_and_the_first_can_be_called_off() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let cluster = tested.cluster.clone();
    let waits = Reload { program: Some(program("idle", port)), ..Reload::default() };
    let first = tokio::spawn(async move { cluster.reload(waits).await });
    tested.until(|event| matches!(event.what, What::Started { .. }).then_some(())).await;
    let second = soon(tested.cluster.reload(Reload::default())).await.unwrap_err();
    assert!(matches!(second, ReloadError::Busy), "{second:?}");
    soon(tested.cluster.cancel_reload()).await.unwrap();
    let error = soon(first).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::Cancelled { replaced: 0 }), "{error:?}");
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    assert_eq!(pids(&tested).await, before);
}

#[tokio::test]
async fn a_worker_that_is_to_say_so_is_ready_when_it_has_said_so() {
    let port = free_port();
    let mut tested = start("native", port, |settings| settings.wait_ready = true).await;
    let pace = Pace { patience: Duration::from_millis(500), ..Pace::default() };
    let cluster = tested.cluster.clone();
    let silent =
        tokio::spawn(async move { cluster.reload(Reload { pace, ..Reload::default() }).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(silent).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::TooLate { lack: Lack::Word, .. }), "{error:?}");

    let cluster = tested.cluster.clone();
    let reload = Reload { program: Some(program("ready", port)), ..Reload::default() };
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    }
    assert_eq!(soon(reload).await.unwrap().unwrap(), Reloaded { replaced: 2 });
}

/// One address is always the same client.
async fn another_policy_takes_hold(mechanism: Mechanism, before: Policy) {
    let port = free_port();
    let tested = start("plain", port, |settings| {
        settings.policy = before;
        settings.mechanism = Some(mechanism);
        settings.abilities = Abilities::of_this_process();
    })
    .await;
    let met = || async move {
        let ask = move || (0..24).map(|_| connect(port).and_then(finish).unwrap()).collect();
        tokio::task::spawn_blocking(ask).await.unwrap()
    };
    let all: BTreeSet<i32> = met().await;
    assert_eq!(all.len(), 2);
    soon(tested.cluster.set_policy(Policy::Sticky)).await.unwrap();
    assert_eq!(met().await.len(), 1, "it sticks");
    soon(tested.cluster.set_policy(before)).await.unwrap();
    assert_eq!(met().await, all);
    let refused = soon(tested.cluster.set_policy(Policy::Shared)).await;
    assert!(matches!(refused, Err(PolicyError::NotToBeHad(_))), "{refused:?}");
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.listeners[0].choice.policy, before);
}

#[tokio::test]
async fn a_classic_program_gives_way_to_another_policy() {
    another_policy_takes_hold(Mechanism::KernelCbpf, Policy::Random).await;
}

#[tokio::test]
async fn an_ebpf_program_gives_way_to_another_policy() {
    if Abilities::of_this_process().ebpf {
        another_policy_takes_hold(Mechanism::KernelEbpf, Policy::Rr).await;
    }
}

#[tokio::test]
async fn a_policy_that_takes_other_sockets_is_refused() {
    let tested = start("plain", free_port(), |_| {}).await;
    let refused = soon(tested.cluster.set_policy(Policy::Shared)).await;
    assert!(matches!(refused, Err(PolicyError::OtherMechanism { .. })), "{refused:?}");
    soon(tested.cluster.check_policy(Policy::Sticky)).await.unwrap();
}

#[tokio::test]
async fn a_single_instance_is_replaced_new_before_old_and_the_others_stay() {
    let port = free_port();
    let tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let only = Some([Instance(1)].into());
    let done = tested.cluster.reload(Reload { only, ..Reload::default() }).await;
    assert_eq!(done.unwrap(), Reloaded { replaced: 1 });
    let after = pids(&tested).await;
    assert_eq!(after.len(), before.len());
    assert_eq!(before.difference(&after).count(), 1, "{before:?} {after:?}");
}

#[tokio::test]
async fn an_old_worker_that_crashes_meanwhile_is_replaced_like_the_others() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(Reload::default()).await });
    let started = |event: &mut tine_cluster::primary::Event| {
        matches!(event.what, What::Started { .. }).then_some(())
    };
    tested.until(started).await;
    for victim in &before {
        // The second one may have been told to go, and be gone.
        let _ = rustix::process::kill_process(Pid::from_raw(*victim).unwrap(), Signal::KILL);
    }
    let taking = async { while !matches!(tested.next().await.what, What::Restarting { .. }) {} };
    soon(taking).await;
    let taking = async {
        loop {
            tested.next().await;
        }
    };
    let result = tokio::select! {
        result = soon(reload) => result.unwrap(),
        () = taking => unreachable!("it takes for ever"),
    };
    assert_eq!(result.unwrap(), Reloaded { replaced: 2 });
    let after = pids(&tested).await;
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
}

/// Nobody looks at seats every second where there are none.
#[tokio::test]
async fn a_reload_of_what_does_not_listen_is_over_when_nothing_is_left_of_the_old_worker() {
    let mut program = Program::new("/bin/sh");
    // The child is found after the shell has gone.
    program.args = ["-c", "sleep 1000 & wait"].map(Into::into).into();
    let mut settings = Settings::new(program, 1);
    settings.limits.min_uptime = Duration::from_millis(50);
    let mut tested = Tested::start(settings);
    tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    let done = soon(tested.cluster.reload(Reload::default())).await;
    assert_eq!(done.unwrap(), Reloaded { replaced: 1 });
}
