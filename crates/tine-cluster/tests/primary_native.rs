//! The primary's API and the worker's, with real workers that link this crate: this very program, which
//! starts itself once more.
#![cfg(all(feature = "tokio", feature = "worker"))]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use common::{Directory, Tested, soon};
use serde_json::{Value, json};
use tine_cluster::{
    core::worker::Phase,
    descriptor::Descriptor,
    id::WorkerId,
    policy::{Mechanism, Policy},
    primary::{Fork, Program, RequestError, SendError, Settings, What, WorkerError},
    worker::{Message, Options, Worker},
};
use tine_linux::process::Exit;

/// What a worker is to do.
const PART: &str = "TINE_TEST_PART";

/// Starts this test binary again, as a worker with this part.
fn program(part: &str) -> Program {
    let args = ["--exact", "plays_its_part", "--nocapture", "--test-threads=1"];
    let mut program = Program::new(std::env::current_exe().unwrap());
    program.args = args.map(Into::into).to_vec();
    program.env.push((PART.into(), part.into()));
    program
}

/// The worker. As a test of its own it has nothing to do.
#[test]
fn plays_its_part() {
    let Ok(part) = std::env::var(PART) else { return };
    let worker = Worker::from_env().unwrap();
    match part.as_str() {
        "echo" => echo(&worker),
        "asks" => asks(&worker),
        "floods" => floods(&worker),
        "leaves" => leaves(&worker),
        "listens" => listens(&worker),
        "serves" => serves(&worker),
        "stops" => stops(&worker),
        other => panic!("{other} is no part"),
    }
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

/// Listens, and does nothing else.
fn stops(worker: &Worker) {
    let listener = worker.listen("127.0.0.1:0").unwrap();
    assert!(listener.accept().unwrap().is_none());
}

fn tell_pid(mut stream: impl Write) {
    write!(stream, "{}", std::process::id()).unwrap();
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

/// The example that cargo has built beside this test.
fn example(name: &str) -> Option<Program> {
    let test = std::env::current_exe().unwrap();
    let file = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    if !file.is_file() {
        eprintln!("skipped: the example {name} was not built");
        return None;
    }
    Some(Program::new(file))
}

#[tokio::test]
async fn the_examples_serve_and_stop() {
    for name in ["axum", "worker"] {
        let Some(mut program) = example(name) else { return };
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
