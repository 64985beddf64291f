//! Whoever takes no events waits for nothing because of it, while their workers write and say more than
//! anybody keeps for them.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
mod common;
#[path = "common/part.rs"]
mod part;

use std::{net::UdpSocket, thread, time::Duration};

use common::{Tested, soon};
use part::program;
use rustix::process::Signal;
use tine_cluster::{
    core::worker::Patience,
    id::{Instance, WorkerId},
    primary::{Fork, Program, Reload, Settings},
    worker::{Message, Worker},
};

/// The worker.
#[test]
fn plays_its_part() {
    part::play(&[("noisy", noisy), ("talks", talks)]);
}

/// Writes and says something for ever, and ends when it is told to, if its output lets it.
fn noisy(worker: &Worker) {
    let listener = worker.listen("127.0.0.1:0").unwrap();
    thread::spawn(|| {
        loop {
            println!("{}", "a line ".repeat(100));
        }
    });
    let says = worker.clone();
    thread::spawn(move || while says.send(&"a word ".repeat(1000)).is_ok() {});
    assert!(listener.accept().unwrap().is_none());
}

/// Answers; but first it says more than its primary keeps.
fn talks(worker: &Worker) {
    for n in 0..2000 {
        worker.send(&(n, "x".repeat(1000))).unwrap();
    }
    for Message { reply, .. } in worker.messages() {
        reply.expect("it is asked").send(&"here").unwrap();
    }
}

fn settings(program: Program) -> Settings {
    let mut settings = Settings::new(program, 2);
    let second = Duration::from_secs(1);
    settings.patience = Patience { drain: second, kill: second };
    settings
}

/// Until so many workers listen, and so have begun to say more than is kept.
async fn listening(tested: &Tested, count: usize) {
    let listening = async {
        loop {
            let report = tested.cluster.report().await.unwrap();
            if report.listeners.iter().map(|listener| listener.seats.len()).sum::<usize>() >= count
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(listening).await;
}

#[tokio::test]
async fn no_method_waits_for_events_to_be_taken() {
    let settings = settings(program("noisy"));
    let mut tuning = settings.tuning();
    tuning.ready_timeout = Some(Duration::from_secs(20));
    let mut tested = Tested::start(settings);
    let cluster = tested.cluster.clone();
    let forked = soon(cluster.fork(Fork::new())).await.unwrap();
    listening(&tested, 3).await;
    soon(cluster.setup(program("noisy"))).await.unwrap();
    soon(cluster.configure(tuning)).await.unwrap();
    soon(cluster.send(forked, &"a message")).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    soon(cluster.send_with(forked, &"a socket", socket)).await.unwrap();
    soon(cluster.kill_worker(forked, Signal::CONT)).await.unwrap();
    soon(cluster.signal(Signal::CONT)).await.unwrap();
    soon(cluster.scale(3)).await.unwrap();
    soon(cluster.stop_instance(Instance(2))).await.unwrap();
    soon(cluster.start_instance(Instance(2))).await.unwrap();
    soon(cluster.restart_instance(Instance(0))).await.unwrap();
    soon(cluster.restart()).await.unwrap();
    assert_eq!(soon(cluster.reload(Reload::default())).await.unwrap().replaced, 3);
    soon(cluster.cancel_reload()).await.unwrap();
    soon(cluster.disconnect(forked)).await.unwrap();
    assert!(soon(cluster.workers()).await.unwrap().len() >= 3);
    soon(cluster.disconnect_all()).await.unwrap();
    soon(cluster.stop()).await.unwrap();
    // It may have ended at once.
    let _ = soon(cluster.kill()).await;
    while soon(tested.events.next()).await.is_some() {}
    soon(tested.events.ending()).await.unwrap();
}

#[tokio::test]
async fn an_answer_waits_behind_what_its_worker_has_said_before() {
    let mut tested = Tested::start(settings(program("talks")));
    let (cluster, worker) = (tested.cluster.clone(), WorkerId(1));
    let asked = tokio::spawn(async move { cluster.request(worker, &"are you there?").await });
    let mut said = 0;
    while said < 2000 {
        assert!(!asked.is_finished() || said > 900, "it came before message {said}");
        tested.message(worker).await;
        said += 1;
    }
    assert_eq!(soon(asked).await.unwrap().unwrap().get(), "\"here\"");
}
