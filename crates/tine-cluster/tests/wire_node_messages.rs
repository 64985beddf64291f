//! Sockets that go to a Node worker's program, and what the worker says of them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{os::fd::OwnedFd, sync::Arc};

use serde_json::value::RawValue;
use tine_cluster::wire::node::{Event, Refused, Session, UserHandle};

const ARRIVED: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
const MISSING: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;

/// A socket to hand over, and the end that notices when it is closed.
fn socket() -> (Arc<OwnedFd>, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Arc::new(reader.into()), writer)
}

fn says(session: &mut Session, lines: &[&str]) {
    for line in lines {
        session.receiver().push(format!("{line}\n").as_bytes(), [], false);
    }
}

/// All that has gone out since, a line each, with a `+` if a descriptor went with it.
fn hears(session: &mut Session) -> Vec<String> {
    let outbox = session.outbox();
    let mut heard = Vec::new();
    while let Some((text, fd)) = outbox.front() {
        let with = if fd.is_some() { "+" } else { "" };
        let count = text.len();
        let text = std::str::from_utf8(text).unwrap();
        heard.push(format!("{}{with}", text.strip_suffix('\n').expect("whole lines")));
        outbox.sent(count);
    }
    heard
}

fn next(session: &mut Session) -> Option<Event> {
    session.next_event().unwrap()
}

#[test]
fn a_socket_with_a_message_is_confirmed_or_given_up_by_its_number() {
    let mut session = Session::default();
    let message = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let datagram = UserHandle::Datagram { v6: true };
    let first = session.send_user_handle(&message("1"), datagram, socket().0).unwrap();
    let second = session.send_user_handle(&message("2"), UserHandle::Server, socket().0).unwrap();
    let line = r#"{"cmd":"NODE_HANDLE","type":"dgram.Socket","dgramType":"udp6","msg":1}+"#;
    assert_eq!(hears(&mut session), [line]);
    says(&mut session, &[ARRIVED]);
    assert!(matches!(next(&mut session), Some(Event::HandleArrived(number)) if number == first));
    for attempt in 1..=4 {
        let line = r#"{"cmd":"NODE_HANDLE","type":"net.Server","msg":2}+"#;
        assert_eq!(hears(&mut session), [line]);
        says(&mut session, &[MISSING]);
        match next(&mut session) {
            None => assert!(attempt < 4),
            Some(Event::HandleRefused(Refused::Message(number))) => {
                assert_eq!((number, attempt), (second, 4));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(hears(&mut session).is_empty());
}
