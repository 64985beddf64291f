//! The primary's API and the worker's, with real workers that link this crate: this very program, which
//! starts itself once more.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;
#[path = "common/part.rs"]
mod part;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use common::{Directory, Tested, soon};
use part::program;
use serde_json::{Value, json};
use tine_cluster::{
    core::worker::Phase,
    descriptor::Descriptor,
    id::WorkerId,
    policy::Policy,
    primary::{Fork, RequestError, SendError, Settings, What, WorkerError},
    worker::{Message, Worker},
};
use tine_linux::process::Exit;

/// The worker.
#[test]
fn plays_its_part() {
    part::play(&[
        ("echo", echo),
        ("asks", asks),
        ("floods", floods),
        ("leaves", leaves),
        ("stops", stops),
    ]);
}

/// Says every message again with its socket, and answers where that is wanted.
fn echo(worker: &Worker) {
    worker.send(&json!({ "id": worker.id(), "instance": worker.instance() })).unwrap();
    for Message { message, descriptor, reply } in worker.messages() {
        match (reply, descriptor) {
            (Some(reply), _) if message.get() == "\"nothing\"" => drop(reply),
            (Some(reply), _) => reply.send(&json!({ "you said": message })).unwrap(),
            (None, Some(socket)) => worker.send_with(&message, socket).unwrap(),
            (None, None) if message.get() == "\"exit\"" => return,
            (None, None) => worker.send(&message).unwrap(),
        }
    }
}

fn asks(worker: &Worker) {
    let long = Duration::from_secs(30);
    let answer = worker.request(&"what is it?", long).unwrap();
    worker.send(&json!(["heard", answer])).unwrap();
    let dropped = worker.request(&"dropped", long).unwrap_err();
    let late = worker.request(&"never", Duration::from_millis(50)).unwrap_err();
    worker.send(&[dropped.to_string(), late.to_string()]).unwrap();
    worker.stop().wait();
}

fn floods(worker: &Worker) {
    let fill = "x".repeat(1000);
    for n in 0..20_000 {
        worker.send(&json!({ "n": n, "fill": fill })).unwrap();
    }
}

fn leaves(worker: &Worker) {
    let listener = worker.listen("127.0.0.1:0").unwrap();
    assert!(worker.is_connected() && !worker.exited_after_disconnect());
    worker.disconnect().unwrap();
    worker.disconnect().unwrap();
    assert!(worker.exited_after_disconnect());
    assert!(listener.accept().unwrap().is_none());
}

/// Listens, and does nothing else.
fn stops(worker: &Worker) {
    let listener = worker.listen("127.0.0.1:0").unwrap();
    assert!(listener.accept().unwrap().is_none());
}

async fn forked(part: &str) -> (Tested, WorkerId) {
    let tested = Tested::forks(program(part));
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    (tested, worker)
}

#[tokio::test]
async fn a_worker_knows_who_it_is_and_answers() {
    let (mut tested, worker) = forked("echo").await;
    let said: Value = tested.message(worker).await.parse().unwrap();
    assert_eq!(said, json!({ "id": 1, "instance": null }));
    let answer = soon(tested.cluster.request(worker, &[1, 2])).await.unwrap();
    assert_eq!(answer.parse::<Value>().unwrap(), json!({ "you said": [1, 2] }));
    let none = soon(tested.cluster.request(worker, &"nothing")).await.unwrap_err();
    assert!(matches!(none, RequestError::Unanswered(_)), "{none}");
    let rows = tested.cluster.workers().await.unwrap();
    assert!(rows[0].is_connected && rows[0].phase == Phase::Starting, "{rows:?}");
    tested.cluster.send(worker, &"exit").await.unwrap();
    assert_eq!(tested.exit(worker).await, (Exit::Code(0), false));
}

#[tokio::test]
async fn an_owner_that_waits_for_itself_is_told_so() {
    let (tested, worker) = forked("floods").await;
    // The answer would come behind more than may wait, and nobody takes an event meanwhile.
    let error = soon(tested.cluster.request(worker, &1)).await.unwrap_err();
    assert!(matches!(error, RequestError::Unheard(_)), "{error}");
}

#[tokio::test]
async fn a_request_ends_with_its_worker() {
    let (mut tested, worker) = forked("echo").await;
    tested.message(worker).await;
    tested.cluster.kill_worker(worker, rustix::process::Signal::STOP).await.unwrap();
    let cluster = tested.cluster.clone();
    let asking = tokio::spawn(async move { cluster.request(worker, &1).await });
    tested.cluster.kill_worker(worker, rustix::process::Signal::KILL).await.unwrap();
    let error = soon(asking).await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Unanswered(_) | RequestError::Send(_)), "{error}");
}

#[tokio::test]
async fn sockets_go_there_and_back() {
    let (mut tested, worker) = forked("echo").await;
    tested.message(worker).await;
    let directory = Directory::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let unix = UnixListener::bind(directory.path().join("s")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let all: [Descriptor; 5] = [stream.into(), tcp.into(), far.into(), unix.into(), udp.into()];
    for socket in all {
        let kind = std::mem::discriminant(&socket);
        soon(tested.cluster.send_with(worker, &"take it", socket)).await.unwrap();
        let back = tested
            .until(|event| match &mut event.what {
                What::Message { descriptor, .. } => descriptor.take(),
                _ => None,
            })
            .await;
        assert_eq!(std::mem::discriminant(&back), kind, "{back:?}");
        if let Descriptor::UnixStream(mut stream) = back {
            stream.write_all(b"the same one").unwrap();
        }
    }
    let mut said = [0; 12];
    near.set_read_timeout(Some(common::DEADLINE)).unwrap();
    near.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"the same one");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_the_longest_arrives() {
    let (mut tested, worker) = forked("echo").await;
    tested.message(worker).await;
    let limit = tine_cluster::wire::native::LONGEST_MESSAGE;
    let error = tested.cluster.send(worker, &"x".repeat(limit)).await.unwrap_err();
    assert!(matches!(error, SendError::TooLong { .. }), "{error}");
    soon(tested.cluster.send(worker, &"x".repeat(limit - 2))).await.unwrap();
    assert_eq!(tested.message(worker).await.get().len(), limit);
}

#[tokio::test]
async fn a_worker_asks_and_hears_when_there_is_no_answer() {
    let (mut tested, worker) = forked("asks").await;
    let mut kept = Vec::new();
    let mut said = Vec::new();
    while said.len() < 2 {
        let What::Message { message, reply, .. } = tested.next().await.what else { continue };
        match (reply, message.get()) {
            (Some(reply), "\"what is it?\"") => reply.send(&42).await.unwrap(),
            (Some(reply), "\"dropped\"") => drop(reply),
            (Some(reply), _) => kept.push(reply),
            (None, text) => said.push(text.to_owned()),
        }
    }
    assert_eq!(said[0], r#"["heard",42]"#);
    assert_eq!(said[1], r#"["the primary does not answer","no answer came within 50ms"]"#);
    soon(tested.cluster.disconnect(worker)).await.unwrap();
    let end = tested.exit(worker).await;
    assert_eq!(end, (Exit::Code(0), true));
}

#[tokio::test]
async fn no_message_of_a_flood_is_lost_and_nobody_else_waits() {
    let mut tested = Tested::forks(program("echo"));
    let flood = tested.cluster.fork(Fork::new().program(program("floods"))).await.unwrap();
    let quiet = tested.cluster.fork(Fork::new()).await.unwrap();
    let answer = soon(tested.cluster.request(quiet, &1)).await.unwrap();
    assert_eq!(answer.parse::<Value>().unwrap()["you said"], 1);
    let (mut next, mut ended) = (0, false);
    while !ended {
        let event = tested.next().await;
        match event.what {
            What::Message { message, .. } if event.worker == flood => {
                assert_eq!(message.parse::<Value>().unwrap()["n"], next);
                next += 1;
            }
            What::Exited { exit, .. } => {
                assert_eq!(exit, Exit::Code(0));
                ended = true;
            }
            _ => {}
        }
    }
    assert_eq!(next, 20_000, "all of them come before its end");
}

#[tokio::test]
async fn a_worker_leaves_by_its_own_wish() {
    for policy in [Policy::Rr, Policy::Shared] {
        let mut settings = Settings::new(program("leaves"), 0);
        settings.policy = policy;
        let mut tested = Tested::start(settings);
        let worker = tested.cluster.fork(Fork::new()).await.unwrap();
        assert_eq!(tested.exit(worker).await, (Exit::Code(0), true));
    }
}

/// The instances that have a worker which is not leaving.
async fn instances(tested: &Tested) -> Vec<u32> {
    let rows = tested.cluster.workers().await.unwrap();
    let serving = rows.iter().filter(|row| matches!(row.phase, Phase::Starting | Phase::Online));
    serving.filter_map(|row| Some(row.instance?.0)).collect()
}

#[tokio::test]
async fn a_cluster_grows_and_shrinks_from_its_end() {
    let mut tested = Tested::start(Settings::new(program("stops"), 1));
    let forked = tested.cluster.fork(Fork::new()).await.unwrap();
    soon(tested.cluster.scale(3)).await.unwrap();
    for _ in 0..4 {
        tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    }
    assert_eq!(instances(&tested).await, [0, 1, 2]);
    soon(tested.cluster.scale(1)).await.unwrap();
    assert_eq!(instances(&tested).await, [0]);
    for _ in 0..2 {
        let left = tested
            .until(|event| match event.what {
                What::Exited { exit, asked, .. } => Some((exit, asked, event.instance)),
                _ => None,
            })
            .await;
        assert_eq!((left.0, left.1), (Exit::Code(0), true));
        assert!(left.2.is_some_and(|instance| instance.0 > 0));
    }
    // To nothing and back, at once: the instance waits for its last worker to be gone.
    let down = tested.cluster.scale(0);
    let up = tested.cluster.scale(1);
    let both = soon(async { tokio::join!(down, up) }).await;
    assert!(matches!(both, (Ok(()), Ok(()))), "{both:?}");
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    assert_eq!(instances(&tested).await, [0]);
    let rows = tested.cluster.workers().await.unwrap();
    assert!(rows.iter().any(|row| row.worker == forked), "it is nobody's instance: {rows:?}");
    tested.cluster.stop().await.unwrap();
    let late = tested.cluster.scale(2).await.unwrap_err();
    assert!(matches!(late, WorkerError::Stopping | WorkerError::Ended(_)), "{late}");
}
