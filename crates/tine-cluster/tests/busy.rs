//! A worker leaves whose clients ask all the time, each on one connection that is kept: what a proxy does.
//! This file's own binary is its program.
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
    net::TcpStream,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Tested, soon};
use server::{connect, free_port, program};
use tine_cluster::{
    policy::{Mechanism, Policy},
    primary::{Reload, Settings, What},
};

/// Not a test but the program of the workers.
#[test]
fn serves() -> ExitCode {
    server::serves()
}

/// Asks on one connection until told to end, and on another one when that has ended.
fn asks(port: u16, end: &AtomicBool, answers: &AtomicUsize) {
    let mut client: Option<TcpStream> = None;
    while !end.load(Ordering::Relaxed) {
        let mut open = client.take().unwrap_or_else(|| connect(port).unwrap());
        // What is sent in the very moment of its end has no answer.
        if open.write_all(b"who?").is_ok() && open.read_exact(&mut [0; 2]).is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
            client = Some(open);
        }
        // Often enough that the kernel's clock cannot tell an answer from the next request.
        thread::sleep(Duration::from_millis(3));
    }
}

#[tokio::test]
async fn clients_that_ask_all_the_time_do_not_keep_a_worker() {
    let (port, end, answers) = (free_port(), Arc::new(AtomicBool::new(false)), Arc::default());
    let mut settings = Settings::new(program("keeps", port), 1);
    (settings.policy, settings.mechanism) = (Policy::Random, Some(Mechanism::KernelCbpf));
    settings.patience.drain = Duration::from_hours(1);
    let mut tested = Tested::start(settings);
    tested.until(|event| matches!(event.what, What::Ready).then_some(())).await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (end, answers): (_, Arc<AtomicUsize>) = (Arc::clone(&end), Arc::clone(&answers));
            thread::spawn(move || asks(port, &end, &answers))
        })
        .collect();
    while answers.load(Ordering::Relaxed) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    soon(tested.cluster.reload(Reload::default())).await.unwrap();
    let before = answers.load(Ordering::Relaxed);
    while answers.load(Ordering::Relaxed) < before + 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(|| clients.into_iter().for_each(|it| it.join().unwrap()))
        .await
        .unwrap();
    tested.cluster.stop().await.unwrap();
    while let Some(event) = soon(tested.events.next()).await {
        assert!(!matches!(event.what, What::Cut { .. }), "{event:?}");
    }
}
