//! Messages and sockets between the primary and workers of Node's. Without node these tests say so and
//! pass.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/echo.rs"]
mod echo;
#[path = "common/node.rs"]
mod node;

use std::{
    io::Read,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
};

use common::{Directory, Tested, soon};
use echo::ECHO;
use node::node;
use rustix::process::Signal;
use serde_json::{Value, json};
use tine_cluster::{
    descriptor::Descriptor,
    primary::{Fork, SendError, What},
};

#[tokio::test]
async fn every_kind_of_message_comes_back_in_order() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    assert_eq!(tested.message(worker).await.get(), "\"up\"");
    let long = "x".repeat(4 << 20);
    let all = [
        json!("text"),
        json!(1.5),
        json!(null),
        json!(true),
        json!([1, "two"]),
        json!({ "cmd": "NODE_" }),
        json!("\u{2028} \u{1f980} \n"),
        json!(long),
        json!("last"),
    ];
    for message in &all {
        soon(tested.cluster.send(worker, message)).await.unwrap();
    }
    for message in &all {
        assert_eq!(&tested.message(worker).await.parse::<Value>().unwrap(), message);
    }
}

#[tokio::test]
async fn a_worker_that_nobody_listens_to_waits_and_loses_nothing() {
    const COUNT: u32 = 20_000;
    let directory = Directory::new();
    let script = format!(
        "const fill = 'x'.repeat(1000);
         if (process.env.FLOOD) for (let n = 0; n < {COUNT}; n++) process.send({{ n, fill }});
         else {{ process.on('message', (m) => process.send(m)); process.send('up'); }}"
    );
    let Some(program) = node(&directory, &script) else { return };
    let mut tested = Tested::forks(program);
    let quiet = tested.cluster.fork(Fork::new()).await.unwrap();
    assert_eq!(tested.message(quiet).await.get(), "\"up\"");
    let flood = tested.cluster.fork(Fork::new().env("FLOOD", "1")).await.unwrap();
    tested.cluster.send(quiet, &"are you there?").await.unwrap();
    let (mut next, mut answered) = (0, false);
    while next < COUNT || !answered {
        let event = tested.next().await;
        let What::Message { message, .. } = event.what else { continue };
        if event.worker == quiet {
            answered = true;
            assert!(next < COUNT, "it waited for the flood's end");
        } else {
            assert_eq!(event.worker, flood);
            assert_eq!(message.parse::<Value>().unwrap()["n"], next);
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_worker_that_does_not_read_holds_up_its_writer_alone() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::forks(program);
    let stopped = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(stopped).await;
    tested.cluster.kill_worker(stopped, Signal::STOP).await.unwrap();
    let fill = "x".repeat(100_000);
    let cluster = tested.cluster.clone();
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while cluster.send(stopped, &fill).await.is_ok() {
            written += 1;
            assert!(written < 1000, "a hundred megabytes were taken that nobody reads");
        }
        written
    });
    let other = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(other).await;
    tested.cluster.send(other, &"still there").await.unwrap();
    assert_eq!(tested.message(other).await.get(), "\"still there\"");
    assert!(!writer.is_finished());
    tested.cluster.kill_worker(stopped, Signal::KILL).await.unwrap();
    assert!(soon(writer).await.unwrap() < 100);
}

/// Says what kind of handle it was given, and writes to connections.
const TAKES_HANDLES: &str = "
process.on('message', (m, h) => {
    const kind = h && h.constructor.name;
    if (kind === 'Socket' && h.end) h.end('from the worker');
    process.send([m, kind, kind === 'Server' ? h.listening : h && h.address ? h.address() : null]);
    if (h && h.close) h.close();
});
process.send('up');";

#[tokio::test]
async fn sockets_of_every_kind_arrive_as_nodes_own() {
    let directory = Directory::new();
    let Some(program) = node(&directory, TAKES_HANDLES) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(worker).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port();
    let path = UnixListener::bind(directory.path().join("s")).unwrap();
    let all: [(Descriptor, &str); 4] = [
        (accepted.into(), "Socket"),
        (far.into(), "Socket"),
        (udp.into(), "Socket"),
        (listener.into(), "Server"),
    ];
    for (n, (socket, kind)) in all.into_iter().enumerate() {
        soon(tested.cluster.send_with(worker, &n, socket)).await.unwrap();
        let said: Value = tested.message(worker).await.parse().unwrap();
        assert_eq!((&said[0], &said[1]), (&json!(n), &json!(kind)), "{said}");
        match n {
            2 => assert_eq!(said[2]["port"], port),
            3 => assert_eq!(said[2], true),
            _ => {}
        }
    }
    let mut said = String::new();
    client.set_read_timeout(Some(common::DEADLINE)).unwrap();
    near.set_read_timeout(Some(common::DEADLINE)).unwrap();
    client.read_to_string(&mut said).unwrap();
    near.read_to_string(&mut said).unwrap();
    assert_eq!(said, "from the workerfrom the worker");
    let refused = tested.cluster.send_with(worker, &5, path).await.unwrap_err();
    assert!(matches!(refused, SendError::NotForNode), "{refused}");
}

#[tokio::test]
async fn messages_do_not_overtake_a_socket() {
    let directory = Directory::new();
    let Some(program) = node(&directory, TAKES_HANDLES) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(worker).await;
    let cluster = &tested.cluster;
    let (one, _other) = UnixStream::pair().unwrap();
    let sent = tokio::join!(
        cluster.send_with(worker, &0, one),
        cluster.send(worker, &1),
        cluster.send(worker, &2),
    );
    assert!(matches!(sent, (Ok(()), Ok(()), Ok(()))), "{sent:?}");
    for n in 0..3 {
        assert_eq!(tested.message(worker).await.parse::<Value>().unwrap()[0], n);
    }
}

#[tokio::test]
async fn a_socket_of_a_worker_comes_with_its_message() {
    let directory = Directory::new();
    let script = "
        const net = require('net');
        const s = net.createServer((c) => process.send('mine', c, () => process.send('after')));
        s.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
            net.connect(s.address().port, '127.0.0.1').unref();
        });";
    let Some(program) = node(&directory, script) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    let (message, descriptor) = tested
        .until(|event| match &mut event.what {
            What::Message { message, descriptor, .. } => Some((message.clone(), descriptor.take())),
            _ => None,
        })
        .await;
    assert_eq!(message.get(), "\"mine\"");
    let Some(Descriptor::TcpStream(stream)) = descriptor else { panic!("{descriptor:?}") };
    stream.peer_addr().unwrap();
    assert_eq!(tested.message(worker).await.get(), "\"after\"");
}
