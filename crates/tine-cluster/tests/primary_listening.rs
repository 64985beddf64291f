//! Listening in a cluster as in Node's, with real workers that link this crate: this very program, which
//! starts itself once more.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/part.rs"]
mod part;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
};

use common::{Directory, Tested, soon};
use part::program;
use serde_json::{Value, json};
use tine_cluster::{
    id::WorkerId,
    policy::{Mechanism, Policy},
    primary::{Fork, Program, Settings, What},
    worker::{Message, Options, Worker},
};
use tine_linux::process::Exit;

/// The worker.
#[test]
fn plays_its_part() {
    part::play(&[("listens", listens), ("serves", serves)]);
}

/// Does as it is told, and tells what came of it.
fn listens(worker: &Worker) {
    let (mut open, mut udp) = (Vec::new(), Vec::new());
    for Message { message, reply, .. } in worker.messages() {
        let (what, options) = message.parse::<(String, Value)>().unwrap();
        let options = Options {
            exclusive: options["exclusive"] == true,
            v6only: options["v6only"] == true,
            backlog: options["backlog"].as_u64().and_then(|backlog| backlog.try_into().ok()),
        };
        let done = match what.split_once(' ').unwrap_or((&what, "")) {
            ("tcp", address) => worker.listen_with(address, options).map(|listener| {
                open.push(listener);
                open[open.len() - 1].local_addr().unwrap().port()
            }),
            ("udp", address) => worker.listen_udp_with(address, options).map(|socket| {
                udp.push(socket);
                udp[udp.len() - 1].local_addr().unwrap().port()
            }),
            ("close", _) => {
                open.clear();
                udp.clear();
                Ok(0)
            }
            (other, _) => panic!("{other}"),
        };
        let done = done.map_err(|error| error.raw_os_error());
        reply.expect("it is asked").send(&json!([done.ok(), done.err()])).unwrap();
    }
}

/// Serves its pid on tokio, at a port and at a path.
fn serves(worker: &Worker) {
    let path = std::env::var_os("AT").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = worker.listen("127.0.0.1:0").unwrap().into_async().unwrap();
        let unix = worker.listen_unix(path).unwrap().into_async().unwrap();
        worker.send(&tcp.local_addr().unwrap().port()).unwrap();
        let messages = worker.messages().into_async().unwrap();
        loop {
            tokio::select! {
                accepted = tcp.accept() => match accepted.unwrap() {
                    Some((stream, _)) => tell_pid(stream.into_std().unwrap()),
                    None => break,
                },
                accepted = unix.accept() => match accepted.unwrap() {
                    Some((stream, _)) => tell_pid(stream.into_std().unwrap()),
                    None => break,
                },
                message = messages.recv() => match message.unwrap() {
                    Some(message) => worker.send(&message.message).unwrap(),
                    None => break,
                },
            }
        }
    });
}

fn tell_pid(mut stream: impl Write) {
    write!(stream, "{}", std::process::id()).unwrap();
}

/// Two workers that listen as they are told.
struct Two {
    tested: Tested,
    workers: [WorkerId; 2],
}

impl Two {
    async fn start(mechanism: Mechanism) -> Self {
        let mut settings = Settings::new(program("listens"), 0);
        settings.policy = match mechanism {
            Mechanism::OneQueue => Policy::Shared,
            Mechanism::KernelCbpf => Policy::Random,
            _ => Policy::Rr,
        };
        settings.mechanism = Some(mechanism);
        let tested = Tested::start(settings);
        let first = tested.cluster.fork(Fork::new()).await.unwrap();
        let second = tested.cluster.fork(Fork::new()).await.unwrap();
        Self { tested, workers: [first, second] }
    }

    /// The port, or what went wrong.
    async fn ask(&self, worker: usize, what: &str, options: Value) -> Result<u16, i32> {
        let question = (what, options);
        let asked = self.tested.cluster.request(self.workers[worker], &question);
        let (port, errno): (Option<u16>, Option<i32>) = soon(asked).await.unwrap().parse().unwrap();
        port.ok_or_else(|| errno.unwrap())
    }

    async fn listen(&self, worker: usize, what: &str) -> Result<u16, i32> {
        self.ask(worker, what, json!({})).await
    }
}

const IN_USE: Result<u16, i32> = Err(98);

#[tokio::test]
async fn workers_share_what_they_listen_on_as_in_node() {
    for mechanism in [Mechanism::HandOver, Mechanism::OneQueue, Mechanism::KernelCbpf] {
        let two = Two::start(mechanism).await;
        // Port 0: the first call of each worker is one port, the second another.
        let first = two.listen(0, "tcp 127.0.0.1:0").await.unwrap();
        let second = two.listen(0, "tcp 127.0.0.1:0").await.unwrap();
        assert_ne!(first, second);
        assert_eq!(two.listen(1, "tcp 127.0.0.1:0").await, Ok(first), "{mechanism}");
        assert_eq!(two.listen(1, "tcp 127.0.0.1:0").await, Ok(second));
        // The same worker cannot have it twice, but again when it was closed.
        let again = format!("tcp 127.0.0.1:{first}");
        assert_eq!(two.listen(0, &again).await, IN_USE, "{mechanism}");
        two.listen(0, "close").await.unwrap();
        assert_eq!(two.listen(0, "tcp 127.0.0.1:0").await, Ok(first), "{mechanism}: from 0 again");
        // Closed by all it is free for the world.
        two.listen(0, "close").await.unwrap();
        two.listen(1, "close").await.unwrap();
        TcpListener::bind(("127.0.0.1", first)).unwrap();
    }
}

#[tokio::test]
async fn an_exclusive_address_is_one_workers_alone() {
    let two = Two::start(Mechanism::OneQueue).await;
    let exclusive = || json!({ "exclusive": true });
    let port = two.ask(0, "tcp 127.0.0.1:0", exclusive()).await.unwrap();
    let same = format!("tcp 127.0.0.1:{port}");
    assert_eq!(two.ask(1, &same, exclusive()).await, IN_USE);
    assert_eq!(two.listen(1, &same).await, IN_USE);
    assert_ne!(two.ask(1, "tcp 127.0.0.1:0", exclusive()).await, Ok(port));
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    two.listen(0, "close").await.unwrap();
    assert_eq!(two.listen(1, &same).await, Ok(port));
    let udp = two.ask(0, "udp 127.0.0.1:0", exclusive()).await.unwrap();
    assert_eq!(two.listen(1, &format!("udp 127.0.0.1:{udp}")).await, IN_USE);
}

#[tokio::test]
async fn datagrams_ipv6_and_backlog_are_as_asked() {
    let two = Two::start(Mechanism::OneQueue).await;
    let udp = two.listen(0, "udp 127.0.0.1:0").await.unwrap();
    assert_eq!(two.listen(1, "udp 127.0.0.1:0").await, Ok(udp));
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let named = format!("udp {free}");
    assert_eq!(two.listen(0, &named).await, Ok(free.port()));
    assert_eq!(two.listen(0, &named).await, IN_USE);
    assert_eq!(two.listen(1, &named).await, Ok(free.port()));
    two.listen(0, "close").await.unwrap();
    assert_eq!(two.listen(0, &named).await, Ok(free.port()), "closed without a word");
    let v6 = two.ask(0, "tcp [::]:0", json!({ "v6only": true, "backlog": 7 })).await.unwrap();
    TcpStream::connect(("::1", v6)).unwrap();
    TcpStream::connect(("127.0.0.1", v6)).unwrap_err();
    let mut list = std::process::Command::new("ss");
    list.args(["-Hltn", "sport", "=", &v6.to_string()]);
    let Ok(listed) = list.output() else { return };
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.split_whitespace().nth(2), Some("7"), "{listed}");
}

#[tokio::test]
async fn tokio_serves_whatever_is_behind_the_listener() {
    for mechanism in [Mechanism::HandOver, Mechanism::OneQueue] {
        let directory = Directory::new();
        let path = directory.path().join("s");
        let mut settings = Settings::new(program("serves"), 0);
        let handed = mechanism == Mechanism::HandOver;
        settings.policy = if handed { Policy::Rr } else { Policy::Shared };
        let mut tested = Tested::start(settings);
        let worker = tested.cluster.fork(Fork::new().env("AT", &path)).await.unwrap();
        let port: u16 = tested.message(worker).await.parse().unwrap();
        let pid = tested.cluster.workers().await.unwrap()[0].pid.to_string();
        let asking = tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            for _ in 0..20 {
                let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
                client.set_read_timeout(Some(common::DEADLINE)).unwrap();
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                said.push(text);
                let mut client = UnixStream::connect(&path).unwrap();
                client.set_read_timeout(Some(common::DEADLINE)).unwrap();
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                said.push(text);
            }
            said
        });
        let said = soon(asking).await.unwrap();
        assert!(said.iter().all(|said| *said == pid), "{said:?}");
        tested.cluster.send(worker, &"and messages").await.unwrap();
        assert_eq!(tested.message(worker).await.get(), "\"and messages\"");
        soon(tested.cluster.disconnect(worker)).await.unwrap();
        assert_eq!(tested.exit(worker).await, (Exit::Code(0), true));
    }
}

/// The example that cargo has built beside this test.
fn example(name: &str) -> Program {
    let test = std::env::current_exe().unwrap();
    let file = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(file.is_file(), "`cargo build --examples` builds {}", file.display());
    Program::new(file)
}

#[tokio::test]
async fn the_examples_serve_and_stop() {
    for name in ["axum", "worker"] {
        let mut program = example(name);
        program.args.push("127.0.0.1:0".into());
        let mut tested = Tested::start(Settings::new(program, 2));
        let mut port = 0;
        // Both, for who does not serve yet is stopped by a signal alone.
        for _ in 0..2 {
            port = tested
                .until(|event| match &event.what {
                    What::Listening { address, .. } => address.port,
                    _ => None,
                })
                .await;
        }
        let asking = tokio::task::spawn_blocking(move || {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.set_read_timeout(Some(common::DEADLINE)).unwrap();
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let mut text = Vec::new();
            // The simple example does not read the question, which ends in a reset after its answer.
            drop(client.read_to_end(&mut text));
            String::from_utf8(text).unwrap()
        });
        let said = soon(asking).await.unwrap();
        let pids = tested.cluster.workers().await.unwrap();
        assert!(pids.iter().any(|row| said.ends_with(&row.pid.to_string())), "{name}: {said}");
        tested.cluster.stop().await.unwrap();
        for _ in 0..2 {
            let end = tested
                .until(|event| match event.what {
                    What::Exited { exit, .. } => Some(exit),
                    _ => None,
                })
                .await;
            assert_eq!(end, Exit::Code(0), "{name}");
        }
    }
}
