//! Single instances, stopped, started and restarted; this file's own binary is the server.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/server.rs"]
mod server;

use std::{process::ExitCode, time::Duration};

use common::{Tested, soon};
use server::{Clients, connect, finish, free_port, program};
use tine_cluster::{
    core::{
        backoff::Limits,
        instance::State,
        restart::{Delay, Restart},
        worker::Patience,
    },
    id::Instance,
    policy::{Mechanism, Policy},
    primary::{Ending, Event, InstanceError, Program, Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

fn settings(mode: &str, port: u16, instances: u32) -> Settings {
    let mut settings = Settings::new(program(mode, port), instances);
    settings.abilities.ebpf = tine_linux::host::ebpf_load().is_yes();
    settings
}

fn is_ready(event: &mut Event) -> Option<()> {
    matches!(event.what, What::Ready).then_some(())
}

fn is_finished(event: &mut Event) -> Option<()> {
    matches!(event.what, What::Finished).then_some(())
}

async fn start(settings: Settings) -> Tested {
    let count = settings.instances;
    let mut tested = Tested::start(settings);
    for _ in 0..count {
        tested.until(is_ready).await;
    }
    tested
}

async fn states(tested: &Tested) -> Vec<State> {
    let report = soon(tested.cluster.report()).await.unwrap();
    report.instances.iter().map(|row| row.state).collect()
}

async fn pid(tested: &Tested, instance: u32) -> i32 {
    let workers = soon(tested.cluster.workers()).await.unwrap();
    let here = workers.iter().filter(|it| it.instance == Some(Instance(instance)) && !it.is_dead);
    here.map(|it| it.pid).next().unwrap()
}

async fn ask(port: u16) -> i32 {
    let asking = tokio::task::spawn_blocking(move || connect(port).and_then(finish).unwrap());
    soon(asking).await.unwrap()
}

#[tokio::test]
async fn an_instance_that_is_stopped_stays_empty_until_it_is_started() {
    let port = free_port();
    let mut tested = start(settings("plain", port, 2)).await;
    let stays = pid(&tested, 1).await;
    soon(tested.cluster.stop_instance(Instance(0))).await.unwrap();
    assert_eq!(states(&tested).await, [State::Stopped, State::Online]);
    for _ in 0..4 {
        assert_eq!(ask(port).await, stays);
    }
    soon(tested.cluster.stop_instance(Instance(0))).await.unwrap();
    soon(tested.cluster.start_instance(Instance(0))).await.unwrap();
    // To be there already is no failure.
    soon(tested.cluster.start_instance(Instance(0))).await.unwrap();
    tested.until(is_ready).await;
    assert_eq!(states(&tested).await, [State::Online, State::Online]);
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.instances.iter().map(|it| it.restarts).collect::<Vec<_>>(), [1, 0]);
    assert!(report.workers.iter().all(|it| it.is_ready));
}

#[tokio::test]
async fn a_cluster_of_which_all_is_stopped_lives_and_its_port_is_free() {
    let port = free_port();
    let mut tested = start(settings("plain", port, 1)).await;
    soon(tested.cluster.stop_instance(Instance(0))).await.unwrap();
    assert_eq!(states(&tested).await, [State::Stopped]);
    let deadline = std::time::Instant::now() + common::DEADLINE;
    while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
        assert!(std::time::Instant::now() < deadline, "the port is not free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    soon(tested.cluster.restart()).await.unwrap();
    tested.until(is_ready).await;
    assert_eq!(ask(port).await, pid(&tested, 0).await);
    soon(tested.cluster.stop()).await.unwrap();
    while soon(tested.events.next()).await.is_some() {}
    assert_eq!(soon(tested.events.ending()).await.unwrap(), Ending::Stopped);
}

#[tokio::test]
async fn there_is_no_instance_beyond_the_last_and_none_when_all_stops() {
    let tested = start(settings("plain", free_port(), 1)).await;
    let cluster = &tested.cluster;
    let error = soon(cluster.restart_instance(Instance(1))).await.unwrap_err();
    assert!(matches!(error, InstanceError::Unknown(Instance(1))), "{error:?}");
    soon(cluster.stop()).await.unwrap();
    let error = soon(cluster.start_instance(Instance(0))).await.unwrap_err();
    assert!(matches!(error, InstanceError::Stopping | InstanceError::Ended(_)), "{error:?}");
}

/// The only worker is restarted, and all who connect meanwhile are answered.
async fn nobody_is_refused(mode: &str, policy: Policy, mechanism: Option<Mechanism>) {
    let port = free_port();
    let mut settings = settings(mode, port, 1);
    (settings.policy, settings.mechanism) = (policy, mechanism);
    let mut tested = start(settings).await;
    let mut before = pid(&tested, 0).await;
    let clients = Clients::start(port);
    for _ in 0..3 {
        soon(tested.cluster.restart()).await.unwrap();
        tested.until(is_ready).await;
        let after = pid(&tested, 0).await;
        assert_ne!(after, before);
        before = after;
    }
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
}

#[tokio::test]
async fn a_restart_of_the_only_worker_with_a_seat_of_its_own_refuses_nobody() {
    nobody_is_refused("native", Policy::Rr, None).await;
}

#[tokio::test]
async fn a_restart_of_the_only_worker_that_knows_of_no_cluster_refuses_nobody_and_cuts_nobody() {
    if !tine_linux::host::ebpf_load().is_yes() {
        println!("SKIP: needs eBPF");
        return;
    }
    nobody_is_refused("plain", Policy::Rr, None).await;
}

#[tokio::test]
async fn a_restart_of_all_workers_refuses_nobody_and_leaves_no_seat_behind() {
    if !tine_linux::host::ebpf_load().is_yes() {
        println!("SKIP: needs eBPF");
        return;
    }
    let port = free_port();
    let mut tested = start(settings("plain", port, 3)).await;
    let clients = Clients::start(port);
    for _ in 0..2 {
        soon(tested.cluster.restart()).await.unwrap();
        for _ in 0..3 {
            tested.until(is_ready).await;
        }
    }
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
    let left = async {
        while soon(tested.cluster.report()).await.unwrap().listeners[0].seats.len() > 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(left).await;
}

#[tokio::test]
async fn a_restart_of_another_users_only_worker_refuses_nobody() {
    if !tine_linux::host::ebpf_load().is_yes() || !rustix::process::geteuid().is_root() {
        println!("SKIP: needs root and eBPF");
        return;
    }
    let (uid, gid) = (rustix::process::Uid::from_raw(65534), rustix::process::Gid::from_raw(65534));
    let user = tine_cluster::primary::User { uid, gid, groups: Vec::new() };
    let port = free_port();
    let mut settings = settings("plain", port, 1);
    settings.program.user = Some(user);
    let binary = common::Directory::new();
    settings.program.file = binary.path().join("server");
    // By another process: one that is forked here meanwhile would keep the file open for writing.
    let mut copy = std::process::Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&settings.program.file);
    assert!(copy.status().unwrap().success());
    let mut tested = start(settings).await;
    let clients = Clients::start(port);
    soon(tested.cluster.restart()).await.unwrap();
    tested
        .until(|event| match &event.what {
            What::Trouble { doing, error } => panic!("{doing}: {error}"),
            What::Ready => Some(()),
            _ => None,
        })
        .await;
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
}

#[tokio::test]
async fn a_restart_of_the_only_worker_at_one_queue_refuses_nobody() {
    nobody_is_refused("native", Policy::Shared, None).await;
}

#[tokio::test]
async fn a_restart_of_the_only_worker_that_is_handed_connections_refuses_nobody() {
    nobody_is_refused("native", Policy::Rr, Some(Mechanism::HandOver)).await;
}

#[tokio::test]
async fn who_connects_while_the_only_worker_finishes_waits_for_the_next_one() {
    let port = free_port();
    let mut settings = settings("plain", port, 1);
    settings.policy = Policy::Random;
    let mut tested = start(settings).await;
    let old = pid(&tested, 0).await;
    let busy = connect(port).unwrap();
    let accepted = async {
        let queue = async || {
            let report = soon(tested.cluster.report()).await.unwrap();
            report.listeners[0].seats[0].queue
        };
        while queue().await != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    soon(accepted).await;
    let cluster = tested.cluster.clone();
    let restart = tokio::spawn(async move { cluster.restart_instance(Instance(0)).await });
    tested.until(|event| matches!(event.what, What::Draining).then_some(())).await;
    let late = connect(port).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        assert_eq!(finish(busy).unwrap(), old);
        finish(late).unwrap()
    });
    soon(restart).await.unwrap().unwrap();
    tested.until(is_ready).await;
    let new = pid(&tested, 0).await;
    assert_ne!(new, old);
    // It may have accepted this in the moment in which it had finished the other.
    let answer = soon(answer).await.unwrap();
    assert!(answer == new || answer == old, "{answer}");
}

#[tokio::test]
async fn a_restart_runs_the_program_that_was_set_up_last() {
    let mut tested = start(settings("plain", free_port(), 2)).await;
    let other = free_port();
    soon(tested.cluster.setup(program("plain", other))).await.unwrap();
    soon(tested.cluster.restart()).await.unwrap();
    for _ in 0..2 {
        tested.until(is_ready).await;
    }
    let answer = ask(other).await;
    assert!(answer == pid(&tested, 0).await || answer == pid(&tested, 1).await);
}

#[tokio::test]
async fn a_restart_that_cannot_start_anything_says_so_and_a_later_one_helps() {
    let port = free_port();
    let mut tested = start(settings("plain", port, 1)).await;
    soon(tested.cluster.setup(Program::new("/no/such/program"))).await.unwrap();
    let error = soon(tested.cluster.restart()).await.unwrap_err();
    assert!(matches!(error, InstanceError::NotStarted { .. }), "{error:?}");
    soon(tested.cluster.setup(program("plain", port))).await.unwrap();
    soon(tested.cluster.restart()).await.unwrap();
    tested.until(is_ready).await;
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.instances[0].early_ends, 0, "they are forgotten");
}

#[tokio::test]
async fn whoever_waits_for_a_start_is_told_that_the_instance_was_stopped_instead() {
    let mut settings = settings("plain", free_port(), 1);
    settings.patience = Patience { drain: Duration::from_mins(1), ..settings.patience };
    let port = free_port();
    settings.program = program("plain", port);
    let mut tested = start(settings).await;
    let busy = connect(port).unwrap();
    let cluster = tested.cluster.clone();
    let restart = tokio::spawn(async move { cluster.restart().await });
    tested.until(|event| matches!(event.what, What::Draining).then_some(())).await;
    let cluster = tested.cluster.clone();
    let stop = tokio::spawn(async move { cluster.stop_instance(Instance(0)).await });
    let error = soon(restart).await.unwrap().unwrap_err();
    assert!(matches!(error, InstanceError::Superseded(Instance(0))), "{error:?}");
    finish(busy).unwrap();
    soon(stop).await.unwrap().unwrap();
    assert_eq!(states(&tested).await, [State::Stopped]);
}

#[tokio::test]
async fn without_restarts_an_instance_is_finished_and_can_be_started_again() {
    let mut settings = settings("3", 0, 1);
    settings.lives_on = true;
    settings.restart = Restart { automatic: false, ..Restart::default() };
    let mut tested = Tested::start(settings);
    tested.until(is_finished).await;
    assert_eq!(states(&tested).await, [State::Finished]);
    soon(tested.cluster.start_instance(Instance(0))).await.unwrap();
    tested.until(is_finished).await;
}

#[tokio::test]
async fn an_exit_code_may_mean_that_there_is_no_more_to_do() {
    let mut settings = settings("3", 0, 1);
    settings.restart = Restart { stop_exit_codes: [3].into(), ..Restart::default() };
    let mut tested = Tested::start(settings);
    tested.until(is_finished).await;
    while soon(tested.events.next()).await.is_some() {}
    assert_eq!(soon(tested.events.ending()).await.unwrap(), Ending::Finished { code: 3 });
}

#[tokio::test]
async fn a_given_up_instance_of_a_cluster_that_lives_on_can_be_started_again() {
    let mut settings = settings("3", 0, 1);
    settings.lives_on = true;
    settings.limits = Limits { max_restarts: 2, first: Duration::ZERO, ..settings.limits };
    let mut tested = Tested::start(settings);
    let given_up = |event: &mut Event| matches!(event.what, What::GivenUp { .. }).then_some(());
    tested.until(given_up).await;
    assert_eq!(states(&tested).await, [State::GivenUp]);
    soon(tested.cluster.restart()).await.unwrap();
    tested.until(given_up).await;
}

#[tokio::test]
async fn a_change_of_the_settings_holds_for_the_next_end() {
    let mut tested = start(settings("plain", free_port(), 1)).await;
    let mut tuning = Settings::new(program("plain", 0), 1).tuning();
    let wait = Duration::from_hours(1);
    tuning.restart.delay = Delay::Fixed(wait);
    soon(tested.cluster.configure(tuning)).await.unwrap();
    let victim = rustix::process::Pid::from_raw(pid(&tested, 0).await).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    let waits = |event: &mut Event| match event.what {
        What::Restarting { after } => Some(after),
        _ => None,
    };
    assert_eq!(tested.until(waits).await, wait);
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.instances[0].state, State::Waiting);
    assert!(report.instances[0].starts_in.unwrap() > wait / 2);
    // Not to wait is the owner's right.
    soon(tested.cluster.start_instance(Instance(0))).await.unwrap();
}
