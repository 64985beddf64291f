//! How workers hear that they are to stop, with real programs.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;
#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use common::{Directory, Tested, soon};
use node::node;
use rustix::process::Signal;
use tine_cluster::{
    core::worker::Patience,
    primary::{Event, Program, Settings, Stream, What},
};
use tine_linux::process::Exit;

/// Listens, says that it is up, and ends with 7 when it is told to shut down.
const HEARS: &str = "
require('net').createServer().listen(0, '127.0.0.1', () => process.send('up'));
process.on('message', (m) => { if (m === 'shutdown') process.exit(7); });
process.on('SIGINT', () => process.exit(8));";

/// Likewise, and does not listen to messages.
const DEAF: &str = "
require('net').createServer().listen(0, '127.0.0.1', () => process.send('up'));
process.on('message', () => {});
process.on('SIGINT', () => process.exit(8));";

fn by_message(program: Program) -> Settings {
    let mut settings = Settings::new(program, 1);
    settings.stop_by_message = true;
    settings.patience = Patience { kill: Duration::from_millis(300), ..settings.patience };
    settings
}

fn says_up(event: &mut Event) -> Option<()> {
    matches!(&event.what, What::Message { message, .. } if message.get() == "\"up\"").then_some(())
}

fn exit(event: &mut Event) -> Option<Exit> {
    match event.what {
        What::Exited { exit, asked: true, .. } => Some(exit),
        _ => None,
    }
}

#[tokio::test]
async fn a_worker_of_nodes_can_be_told_by_a_message() {
    let directory = Directory::new();
    let Some(program) = node(&directory, HEARS) else { return };
    let mut tested = Tested::start(by_message(program));
    tested.until(says_up).await;
    soon(tested.cluster.stop()).await.unwrap();
    assert_eq!(tested.until(exit).await, Exit::Code(7));
}

#[tokio::test]
async fn one_that_does_not_listen_to_messages_is_killed_when_its_time_is_up() {
    let directory = Directory::new();
    let Some(program) = node(&directory, DEAF) else { return };
    let mut tested = Tested::start(by_message(program));
    tested.until(says_up).await;
    soon(tested.cluster.stop()).await.unwrap();
    assert_eq!(tested.until(exit).await, Exit::Signal(Signal::KILL.as_raw()));
}

fn shell(script: &str) -> Program {
    let args = vec!["-c".into(), script.into()];
    Program { args, ..Program::new("/bin/sh") }
}

/// What the program says on its standard output from the stop, which comes when it has said `up`, to its end.
async fn last_lines(mut settings: Settings) -> Vec<String> {
    settings.stop_signal = Signal::TERM;
    let mut tested = Tested::start(settings);
    let mut lines = Vec::new();
    while let Some(event) = soon(tested.events.next()).await {
        match event.what {
            What::Output { line, .. } if line == b"up" => tested.cluster.stop().await.unwrap(),
            What::Output { stream: Stream::Out, line } => {
                lines.push(String::from_utf8(line).unwrap());
            }
            _ => {}
        }
    }
    lines
}

#[tokio::test]
async fn who_has_no_channel_gets_the_signal_all_the_same() {
    let program = shell("trap 'echo signal; exit' TERM; echo up; while :; do sleep 0.05; done");
    assert_eq!(last_lines(by_message(program)).await, ["signal"]);
}

/// A child that says when it is signalled, and says `up` when it is ready for that.
const CHILD: &str =
    "(trap 'echo child; exit' TERM; echo up; while :; do sleep 0.05; done) & child=$!;";

#[tokio::test]
async fn the_signal_goes_to_all_that_descends_from_a_worker() {
    let parent = "trap 'while kill -0 $child; do wait $child; done; echo parent; exit' TERM;";
    let settings = Settings::new(shell(&format!("{parent} {CHILD} wait")), 1);
    let lines = last_lines(settings).await;
    assert!(lines.contains(&"child".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_worker_that_sees_to_its_children_itself_is_signalled_alone() {
    let parent = "trap 'sleep 0.2; kill -9 $child; echo parent; exit' TERM;";
    let mut settings = Settings::new(shell(&format!("{parent} {CHILD} wait")), 1);
    settings.stop_tree = false;
    assert_eq!(last_lines(settings).await, ["parent"]);
}

#[tokio::test]
async fn what_such_a_worker_leaves_behind_is_signalled_when_it_has_gone() {
    let parent = "trap 'echo parent; exit' TERM;";
    let mut settings = Settings::new(shell(&format!("{parent} {CHILD} wait")), 1);
    settings.stop_tree = false;
    assert_eq!(last_lines(settings).await, ["parent", "child"]);
}
