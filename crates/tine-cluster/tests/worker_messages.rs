//! The worker's messages, with the test in the part of the primary.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other test uses more of it")]
mod peer;

use peer::{DEADLINE, beside, cluster};
use rustix::event::{PollFd, PollFlags, poll};
use tine_cluster::{
    json::Json,
    wire::native::Event,
    worker::{SendError, Worker},
};

#[test]
fn messages_can_be_polled_for_and_end_with_the_primary() {
    let (worker, mut primary) = cluster();
    let messages = worker.messages();
    assert!(messages.try_recv().is_none());
    let readable = messages.descriptor().unwrap().expect("there is a primary");
    primary.say(|session| session.send(Json::of(&"hello").unwrap(), None).unwrap());
    let mut fds = [PollFd::new(&readable, PollFlags::IN)];
    assert_eq!(poll(&mut fds, None).unwrap(), 1);
    assert_eq!(messages.try_recv().unwrap().message.get(), "\"hello\"");
    drop(primary);
    let ended = beside(move || messages.recv().is_none());
    assert!(ended.result());
    assert!(!worker.is_connected());
    let unheard = worker.send(&1).unwrap_err();
    assert!(matches!(unheard, SendError::Closed(_)), "{unheard}");
}

#[test]
fn alone_there_is_nobody_to_talk_to() {
    let worker = Worker::alone();
    assert!(matches!(worker.send(&1), Err(SendError::Alone)));
    assert!(worker.request(&1, DEADLINE).is_err());
    assert!(worker.messages().recv().is_none());
    assert!(worker.messages().descriptor().unwrap().is_none());
    worker.disconnect().unwrap();
    assert!(worker.id().is_none() && !worker.is_connected() && !worker.exited_after_disconnect());
}

#[test]
fn a_primary_that_does_not_read_holds_up_who_sends_and_nobody_else() {
    let (worker, mut primary) = cluster();
    let sender = worker.clone();
    let fill = "x".repeat(100_000);
    let sending = beside(move || (0..50).all(|_| sender.send(&fill).is_ok()));
    // The primary's words arrive, and what is asked gets its answer, while the sender waits.
    primary.say(|session| session.send(Json::of(&"still there?").unwrap(), None).unwrap());
    assert_eq!(worker.messages().recv().unwrap().message.get(), "\"still there?\"");
    worker.ready().unwrap();
    let mut heard = 0;
    while heard < 50 {
        match primary.hear() {
            Some(Event::Message { .. }) => heard += 1,
            Some(Event::Ready) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(sending.result());
}
