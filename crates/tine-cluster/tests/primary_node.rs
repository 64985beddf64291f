//! The primary's API with workers of Node's. Without node these tests say so and pass.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;
#[path = "common/echo.rs"]
mod echo;
#[path = "common/node.rs"]
mod node;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use common::{Directory, Tested, soon};
use echo::ECHO;
use node::node;
use rustix::process::Signal;
use serde_json::{Value, json};
use tine_cluster::{
    core::worker::Phase,
    id::WorkerId,
    primary::{
        AddressType, Fork, ForkError, Program, RequestError, SendError, Settings, Stdio, What,
        WorkerError,
    },
};
use tine_linux::process::Exit;

#[tokio::test]
async fn a_cluster_without_instances_lives_until_it_is_stopped() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    assert_eq!(worker, WorkerId(1));
    tested.message(worker).await;
    tested.cluster.send(worker, &json!({ "exit": 7 })).await.unwrap();
    assert_eq!(tested.exit(worker).await, (Exit::Code(7), false));
    // Nobody took its place, and there can be another one.
    assert!(tested.cluster.workers().await.unwrap().iter().all(|worker| worker.is_dead));
    let second = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(second).await;
    tested.cluster.stop().await.unwrap();
    while soon(tested.events.next()).await.is_some() {}
    let ending = soon(tested.events.ending()).await.unwrap();
    assert_eq!(ending, tine_cluster::primary::Ending::Stopped);
    let late = tested.cluster.fork(Fork::new()).await.unwrap_err();
    assert!(matches!(late, ForkError::Ended(_)), "{late}");
}

#[tokio::test]
async fn a_cluster_ends_when_its_last_handle_is_dropped() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let Tested { cluster, mut events } = Tested::forks(program);
    cluster.fork(Fork::new()).await.unwrap();
    drop(cluster);
    soon(async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn the_events_of_a_life_come_in_nodes_order() {
    let directory = Directory::new();
    let script = "
        const s = require('net').createServer().listen(0, '127.0.0.1', () => {
            process.send(s.address().port);
            setImmediate(() => require('cluster').worker.disconnect());
        });";
    let Some(program) = node(&directory, script) else { return };
    let mut tested = Tested::forks(program);
    tested.cluster.fork(Fork::new()).await.unwrap();
    let (mut told, mut listening, mut said) = (Vec::new(), None, None);
    while told.last() != Some(&"exit") {
        let event = tested.next().await;
        assert_eq!((event.worker, event.instance), (WorkerId(1), None));
        told.push(match event.what {
            What::Started { .. } => "fork",
            // Not one of Node's.
            What::Ready => continue,
            What::Online => "online",
            What::Listening { address, .. } => {
                listening = Some(address);
                "listening"
            }
            What::Message { message, .. } => {
                said = Some(message.parse::<u16>().unwrap());
                "message"
            }
            What::Disconnected => "disconnect",
            What::Exited { exit, exited_after_disconnect, .. } => {
                assert_eq!((exit, exited_after_disconnect), (Exit::Code(0), true));
                "exit"
            }
            other => panic!("{other:?}"),
        });
    }
    let listening = listening.expect("it listened");
    assert_eq!(told.first().zip(told.get(1)), Some((&"fork", &"online")));
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told.ends_with(&["disconnect", "exit"]), "{told:?}");
    assert_eq!(
        (listening.address.as_deref(), listening.kind),
        (Some("127.0.0.1"), AddressType::V4)
    );
    assert_eq!(listening.port, said);
}

#[tokio::test]
async fn who_is_not_there_is_told_apart() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::forks(program);
    let nobody = WorkerId(9);
    let sent = tested.cluster.send(nobody, &1).await.unwrap_err();
    assert!(matches!(sent, SendError::NotConnected(WorkerId(9))), "{sent}");
    let left = tested.cluster.disconnect(nobody).await.unwrap_err();
    assert!(matches!(left, WorkerError::NoSuchWorker(WorkerId(9))), "{left}");
    let killed = tested.cluster.kill_worker(nobody, Signal::TERM).await.unwrap_err();
    assert!(matches!(killed, WorkerError::NoSuchWorker(_)), "{killed}");
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(worker).await;
    let asked = tested.cluster.request(worker, &1).await.unwrap_err();
    assert!(matches!(asked, RequestError::NoAnswers(_)), "{asked}");
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    let sent = tested.cluster.send(worker, &no_json).await.unwrap_err();
    assert!(matches!(sent, SendError::NotJson(_)), "{sent}");
    let program = Program::new("/no/such/program");
    let failed = tested.cluster.fork(Fork::new().program(program)).await.unwrap_err();
    assert!(matches!(failed, ForkError::NotStarted(_)), "{failed}");
}

#[tokio::test]
async fn a_worker_that_is_disconnected_finishes_and_exits_with_0() {
    let directory = Directory::new();
    let script = "
        require('http').createServer((q, s) => {
            process.send('asked');
            setTimeout(() => s.end('late'), 700);
        }).listen(0, '127.0.0.1', function () { process.send(this.address().port); });
        process.on('disconnect', () => setTimeout(() => {}, 400));";
    let Some(program) = node(&directory, script) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    let port: u16 = tested.message(worker).await.parse().unwrap();
    let asking = tokio::task::spawn_blocking(move || ask(port));
    assert_eq!(tested.message(worker).await.get(), "\"asked\"");
    soon(tested.cluster.disconnect(worker)).await.unwrap();
    assert!(soon(asking).await.unwrap().ends_with("late"));
    assert_eq!(tested.exit(worker).await, (Exit::Code(0), true));
}

fn ask(port: u16) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(common::DEADLINE)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn all_are_disconnected_before_they_have_listened() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::start(Settings::new(program, 2));
    let forked = tested.cluster.fork(Fork::new()).await.unwrap();
    soon(tested.cluster.disconnect_all()).await.unwrap();
    for _ in 1..=3 {
        let end = tested
            .until(|event| match event.what {
                What::Exited { exit, exited_after_disconnect, .. } => {
                    Some((exit, exited_after_disconnect))
                }
                _ => None,
            })
            .await;
        assert_eq!(end, (Exit::Code(0), true));
    }
    assert_eq!(forked, WorkerId(3));
    // It has forked, so it lives on.
    let next = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(next).await;
}

#[tokio::test]
async fn a_kill_is_a_signal_and_nothing_more() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(worker).await;
    tested.cluster.kill_worker(worker, Signal::TERM).await.unwrap();
    assert_eq!(tested.exit(worker).await, (Exit::Signal(Signal::TERM.as_raw()), false));
}

#[tokio::test]
async fn the_rows_of_workers_say_how_they_are() {
    let directory = Directory::new();
    let Some(program) = node(&directory, ECHO) else { return };
    let mut tested = Tested::start(Settings::new(program, 1));
    let forked = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.message(forked).await;
    let rows = tested.cluster.workers().await.unwrap();
    let [first, second] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((first.instance.map(|place| place.0), second.instance), (Some(0), None));
    assert!(rows.iter().all(|row| row.is_connected && !row.is_dead && row.pid > 0));
    assert_eq!(second.phase, Phase::Starting);
    tested.cluster.send(forked, &"leave").await.unwrap();
    tested.exit(forked).await;
    let rows = tested.cluster.workers().await.unwrap();
    let row = rows.iter().find(|row| row.worker == forked);
    assert!(row.is_none_or(|row| row.is_dead && !row.is_connected && row.exited_after_disconnect));
}

#[tokio::test]
async fn environment_arguments_and_program_are_the_forks_own() {
    let directory = Directory::new();
    let script = "process.send([process.env.WHO, process.env.NODE_APP_INSTANCE,
        process.env.KEPT, process.execArgv, process.argv.slice(2), process.cwd()]);";
    let Some(mut program) = node(&directory, script) else { return };
    program.env.extend([("WHO".into(), "all".into()), ("KEPT".into(), "yes".into())]);
    let mut tested = Tested::forks(program.clone());
    let worker = tested.cluster.fork(Fork::new().env("WHO", "me")).await.unwrap();
    let here = std::env::current_dir().unwrap();
    let said: Value = tested.message(worker).await.parse().unwrap();
    assert_eq!(said, json!(["me", null, "yes", [], [], here]));
    // From now on for all, as setupPrimary has it.
    program.exec_args.push("--no-warnings".into());
    program.args.push("argument".into());
    program.directory = Some("/".into());
    tested.cluster.setup(program.clone()).await.unwrap();
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    tested.until(|event| matches!(event.what, What::Setup).then_some(())).await;
    let said: Value = tested.message(worker).await.parse().unwrap();
    assert_eq!(said, json!(["all", null, "yes", ["--no-warnings"], ["argument"], "/"]));
    program.args.pop();
    let worker = tested.cluster.fork(Fork::new().program(program)).await.unwrap();
    let said: Value = tested.message(worker).await.parse().unwrap();
    assert_eq!(said[4], json!([]));
}

#[tokio::test]
async fn a_worker_runs_as_the_user_that_was_said_with_no_group_but_its_own() {
    use rustix::process::{Gid, Uid};
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: needs root");
        return;
    }
    let directory = Directory::new();
    let script = "process.send([process.getuid(), process.getgid(), process.getgroups()]);";
    let Some(mut program) = node(&directory, script) else { return };
    program.user = Some(tine_cluster::primary::User {
        uid: Uid::from_raw(65534),
        gid: Gid::from_raw(65534),
        groups: vec![Gid::from_raw(12345)],
    });
    let mut tested = Tested::forks(program);
    let worker = tested.cluster.fork(Fork::new()).await.unwrap();
    let said: Value = tested.message(worker).await.parse().unwrap();
    assert_eq!(said, json!([65534, 65534, [12345, 65534]]));
}

#[tokio::test]
async fn an_inspected_worker_gets_a_port_of_its_own() {
    let directory = Directory::new();
    let script = "process.send([process.debugPort, require('inspector').url() !== undefined]);";
    let Some(mut program) = node(&directory, script) else { return };
    program.exec_args = vec!["--inspect".into()];
    program.inspect_port = Some(0);
    let mut tested = Tested::forks(program);
    for _ in 0..2 {
        let worker = tested.cluster.fork(Fork::new()).await.unwrap();
        let said: Value = tested.message(worker).await.parse().unwrap();
        assert_eq!(said[1], true, "{said}");
    }
}

#[tokio::test]
async fn output_goes_where_it_was_said() {
    let directory = Directory::new();
    let script =
        "process.send(require('fs').readlinkSync('/proc/self/fd/1')); console.log('line');";
    let Some(program) = node(&directory, script) else { return };
    let own = std::fs::read_link("/proc/self/fd/1").unwrap();
    for (stdio, expected) in [
        (Stdio::Inherited, own.to_str().unwrap()),
        (Stdio::Null, "/dev/null"),
        (Stdio::Lines, "pipe:"),
    ] {
        let program = Program { stdio, ..program.clone() };
        let mut tested = Tested::forks(program);
        let worker = tested.cluster.fork(Fork::new()).await.unwrap();
        let link: String = tested.message(worker).await.parse().unwrap();
        assert!(link.starts_with(expected), "{link} is not {expected}");
        tested.cluster.disconnect(worker).await.unwrap();
        let (mut lines, mut ended) = (0, false);
        while !ended {
            match soon(tested.events.next()).await.unwrap().what {
                What::Output { line, .. } => lines += usize::from(line == b"line"),
                What::Exited { .. } => ended = true,
                _ => {}
            }
        }
        assert_eq!(lines, usize::from(stdio == Stdio::Lines), "they come before the end");
    }
}
