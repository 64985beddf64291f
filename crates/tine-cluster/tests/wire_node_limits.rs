//! What a Node worker can make its primary hold: each kind of it comes to a limit.
//! And what it says against itself.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "common/side.rs"]
mod side;

use std::sync::Arc;

use side::{ARRIVED, MISSING, says, socket};
use tine_cluster::wire::{
    lines::{MOST_DESCRIPTORS, MOST_LINES, QueueFull},
    node::{Event, Limits, ProtocolError, Session},
};

#[test]
fn a_hundred_megabytes_in_one_line_are_refused_at_the_default_limit() {
    let mut session = Session::default();
    let portion = vec![b'['; 64 << 10];
    let mut fed = 0;
    let error = loop {
        assert!(fed < 100 << 20, "it was never refused");
        session.receiver().push(&portion, [], false);
        fed += portion.len();
        if let Err(error) = session.next_event() {
            break error;
        }
    };
    assert!(matches!(error, ProtocolError::Endless(_)), "{error:?}");
    assert!(fed <= Limits::default().line + portion.len());
}

#[test]
fn a_line_without_end_is_an_error() {
    let mut session = Session::new(Limits { line: 1000, queue: 1000 });
    session.receiver().push(&[b'['; 1001], [], false);
    let error = session.next_event().unwrap_err();
    assert!(matches!(error, ProtocolError::Endless(_)), "{error:?}");
}

#[test]
fn a_worker_that_does_not_read_comes_to_the_limit() {
    let mut session = Session::new(Limits { line: 1000, queue: 1000 });
    let (connection, _writer) = socket();
    let connection = Arc::new(connection);
    let mut sent = 0;
    while session.new_connection("h1", Arc::clone(&connection)).is_ok() {
        sent += 1;
    }
    assert!((5..20).contains(&sent), "{sent} of about 110 bytes each");
    assert!(session.bytes_queued() <= 1000);
    assert_eq!(Arc::strong_count(&connection), 1 + sent + 1, "one more for the line in the outbox");
    let ask = r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#;
    says(&mut session, &[ask; 100]);
    let error = session.next_event().unwrap_err();
    assert!(matches!(error, ProtocolError::DoesNotRead(_)), "{error:?}");
}

#[test]
fn descriptors_for_a_worker_that_does_not_read_come_to_a_limit_before_their_bytes() {
    let mut session = Session::default();
    let (connection, _writer) = socket();
    let connection = Arc::new(connection);
    let mut waiting = 0;
    let error = loop {
        match session.new_connection("h1", Arc::clone(&connection)) {
            Ok(_) => waiting += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, QueueFull::Descriptors);
    assert_eq!(waiting, 1 + MOST_DESCRIPTORS, "one is on its way, the others are behind it");
    // What goes out makes room.
    let sent = session.outbox().front().unwrap().0.len();
    session.outbox().sent(sent);
    says(&mut session, &[ARRIVED]);
    assert!(session.next_event().unwrap().is_none());
    assert!(session.new_connection("h1", connection).is_ok());
}

#[test]
fn short_lines_that_are_not_read_come_to_a_limit_of_their_own() {
    let mut session = Session::default();
    let ask = r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#;
    let error = loop {
        says(&mut session, &[ask; 100]);
        if let Err(error) = session.next_event() {
            break error;
        }
    };
    assert!(matches!(error, ProtocolError::DoesNotRead(QueueFull::Lines)), "{error:?}");
    assert_eq!(session.outbox().lines(), MOST_LINES);
}

#[test]
fn a_handle_that_is_sent_again_and_again_comes_to_the_limit_too() {
    let mut session = Session::new(Limits { line: 1000, queue: 1000 });
    let (connection, _writer) = socket();
    let connection = Arc::new(connection);
    while session.new_connection("h1", Arc::clone(&connection)).is_ok() {}
    // It has read none of them.
    says(&mut session, &[MISSING; 40]);
    let error = session.next_event().unwrap_err();
    assert!(matches!(error, ProtocolError::DoesNotRead(_)), "{error:?}");
    assert!(session.bytes_queued() <= 1000);
}

#[test]
fn a_connection_that_was_replied_for_and_then_never_came_is_spoken_of_once() {
    let mut session = Session::default();
    let seq = session.new_connection("h1", socket().0).unwrap();
    let reply = format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{seq},\"accepted\":true,\"seq\":9}}");
    says(&mut session, &[&reply]);
    let event = session.next_event().unwrap();
    assert!(matches!(event, Some(Event::Reply { accepted: true, .. })));
    says(&mut session, &[MISSING; 4]);
    assert!(session.next_event().unwrap().is_none());
}
