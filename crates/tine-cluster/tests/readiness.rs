//! When workers count as ready; this file's own binary is the server.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[expect(dead_code, reason = "the other tests use more of it")]
#[path = "common/server.rs"]
mod server;

use std::{process::ExitCode, time::Duration};

use common::{Tested, soon};
use server::{connect, finish, free_port, program};
use tine_cluster::{
    core::{backoff::Limits, instance::State},
    primary::{Event, Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

fn is_ready(event: &mut Event) -> Option<()> {
    matches!(event.what, What::Ready).then_some(())
}

#[tokio::test]
async fn a_worker_that_is_to_say_so_is_ready_when_it_has_said_so() {
    let mut settings = Settings::new(program("ready", free_port()), 1);
    settings.wait_ready = true;
    let mut tested = Tested::start(settings);
    tested.until(is_ready).await;
}

#[tokio::test]
async fn the_word_of_a_notify_socket_counts_when_the_worker_itself_has_said_it() {
    let port = free_port();
    let mut settings = Settings::new(program("notifies", port), 1);
    settings.wait_ready = true;
    let mut tested = Tested::start(settings);
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    let report = soon(tested.cluster.report()).await.unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", report.workers[0].pid)).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let socket = environment.split('\0').find_map(|it| it.strip_prefix("NOTIFY_SOCKET=")).unwrap();
    // A stranger, who is heard before the worker is.
    server::notify(socket);
    let reports = async {
        for _ in 0..20 {
            let report = soon(tested.cluster.report()).await.unwrap();
            assert_eq!(report.instances[0].state, State::Launching);
        }
    };
    reports.await;
    let client = tokio::task::spawn_blocking(move || connect(port).and_then(finish));
    client.await.unwrap().unwrap();
    tested.until(is_ready).await;
}

#[tokio::test]
async fn who_does_not_say_so_in_time_has_failed_to_start_and_is_tried_again_more_and_more_slowly() {
    let mut settings = Settings::new(program("native", free_port()), 1);
    settings.wait_ready = true;
    settings.ready_timeout = Some(Duration::from_millis(200));
    // It lives long enough to have ended late.
    settings.limits = Limits { min_uptime: Duration::from_millis(1), ..settings.limits };
    let first = settings.limits.first;
    let mut tested = Tested::start(settings);
    for wait in [first, first + first / 2] {
        let mut told = Vec::new();
        let waits = tested.until(|event| match event.what {
            What::NotReady { .. } => {
                told.push("not ready");
                None
            }
            What::Exited { asked: false, .. } => {
                told.push("exited");
                None
            }
            What::Restarting { after } => Some(after),
            What::Ready => panic!("it never said so"),
            _ => None,
        });
        assert_eq!(waits.await, wait);
        assert_eq!(told, ["not ready", "exited"]);
    }
}

#[tokio::test]
async fn a_program_that_never_listens_is_ready_when_it_has_lived_for_some_time() {
    let mut settings = Settings::new(program("idle", 0), 1);
    settings.limits = Limits { min_uptime: Duration::from_millis(300), ..settings.limits };
    let mut tested = Tested::start(settings);
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.instances[0].state, State::Launching);
    tested.until(is_ready).await;
    let report = soon(tested.cluster.report()).await.unwrap();
    assert_eq!(report.instances[0].state, State::Online);
    assert!(report.workers[0].started.elapsed().unwrap() >= Duration::from_millis(300));
}

#[tokio::test]
async fn where_workers_listen_one_that_does_not_is_not_ready() {
    let mut settings = Settings::new(program("plain", free_port()), 1);
    settings.limits = Limits { min_uptime: Duration::from_millis(1), ..settings.limits };
    let mut tested = Tested::start(settings);
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    // A program that never listens, in the same app.
    soon(tested.cluster.setup(program("idle", 0))).await.unwrap();
    soon(tested.cluster.restart()).await.unwrap();
    let mut lived = Duration::ZERO;
    while lived < Duration::from_millis(100) {
        let report = soon(tested.cluster.report()).await.unwrap();
        let new = report.workers.iter().find(|it| Some(it.worker) == report.instances[0].worker);
        lived = new.unwrap().started.elapsed().unwrap();
        assert_eq!(report.instances[0].state, State::Launching);
    }
}
