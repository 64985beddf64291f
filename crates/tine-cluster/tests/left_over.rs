//! Seats that have to stay for a while when a cluster shrinks are taken by those who come next.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "common/server.rs"]
mod server;

use std::process::ExitCode;

use common::{Tested, soon};
use server::{connect, finish, free_port, program};
use tine_cluster::{
    id::Instance,
    policy::{Mechanism, Policy},
    primary::{Reload, Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

async fn seats(tested: &Tested) -> usize {
    soon(tested.cluster.report()).await.unwrap().listeners[0].seats.len()
}

async fn is_served(port: u16) {
    let asks = move || finish(connect(port).unwrap()).unwrap();
    soon(tokio::task::spawn_blocking(asks)).await.unwrap();
}

/// A classic program means seats by their place in the kernel's order, and the only one that serves is the
/// last there.
#[tokio::test]
async fn restarts_after_a_shrink_leave_no_more_seats_than_there_were_workers() {
    let port = free_port();
    let mut settings = Settings::new(program("plain", port), 4);
    (settings.policy, settings.mechanism) = (Policy::Random, Some(Mechanism::KernelCbpf));
    let mut tested = Tested::start(settings);
    for _ in 0..4 {
        tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    }
    for instance in 0..3 {
        soon(tested.cluster.stop_instance(Instance(instance))).await.unwrap();
    }
    for _ in 0..6 {
        soon(tested.cluster.restart_instance(Instance(3))).await.unwrap();
        is_served(port).await;
        let seats = seats(&tested).await;
        assert!(seats <= 4, "{seats} seats");
    }
    let reload = Reload { only: Some([Instance(3)].into()), ..Reload::default() };
    for _ in 0..3 {
        soon(tested.cluster.reload(reload.clone())).await.unwrap();
        is_served(port).await;
        let seats = seats(&tested).await;
        assert!(seats <= 4, "{seats} seats");
    }
    tested.cluster.kill().await.unwrap();
}
