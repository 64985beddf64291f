//! The native protocol: the lines of `docs/protocol-native.md`, and a fake worker.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "common/side.rs"]
mod side;

use std::{io::Write, sync::Arc};

use side::{hears, next, says, says_with, socket};
use tine_cluster::{
    json::Json,
    wire::{
        lines::{QueueFull, Receiver},
        native::{
            Event, LIMITS, LONGEST_MESSAGE, Listen, ProtocolError, QUEUE, Session, ToPrimary,
            ToWorker, Wanted, decode, encode,
        },
    },
};

const HELLO: &str = r#"{"type":"hello","version":1,"pid":4711}"#;

fn greeted() -> Session {
    let mut session = Session::default();
    says(&mut session, &[HELLO]);
    assert_eq!(next(&mut session), Some(Event::Hello { pid: 4711 }));
    session
}

/// Every line `< …` and `> …` of the transcript in the documentation.
fn transcript(mark: char) -> Vec<String> {
    let page = include_str!("../../../docs/protocol-native.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix(mark)?.strip_prefix(" {"));
    lines.map(|rest| format!("{{{}", rest.split("  ").next().unwrap())).collect()
}

#[test]
fn the_transcript_of_the_documentation_is_what_is_spoken() {
    let mut session = Session::default();
    let said = transcript('<');
    assert!(said.len() >= 7, "{said:?}");
    says(&mut session, &said.iter().map(String::as_str).collect::<Vec<_>>());
    let tcp = |text: &str| Wanted::Tcp { address: text.parse().unwrap(), v6only: false };
    assert_eq!(next(&mut session), Some(Event::Hello { pid: 4711 }));
    let listen = |seq, wanted, backlog| {
        Event::Listen(Listen { seq, wanted, backlog, index: 0, exclusive: false })
    };
    assert_eq!(next(&mut session), Some(listen(1, tcp("0.0.0.0:8003"), Some(511))));
    session.reply_handed_over(1, "h1", "0.0.0.0:8003".parse().ok()).unwrap();
    assert_eq!(next(&mut session), Some(listen(2, tcp("[::1]:8004"), None)));
    session.reply_seat(2, "h2", socket().0).unwrap();
    let path = Wanted::Unix { path: "/run/app.sock".into() };
    assert_eq!(next(&mut session), Some(listen(3, path, None)));
    session.reply_error(3, 98).unwrap();
    assert_eq!(next(&mut session), Some(Event::Ready));
    assert_eq!(session.new_connection("h1", socket().0).unwrap(), 1);
    assert_eq!(next(&mut session), Some(Event::Reply { connection: 1, accepted: true }));
    assert_eq!(session.new_connection("h1", socket().0).unwrap(), 2);
    let asked = Json::of(&serde_json::json!({ "who": "am I?" })).unwrap();
    let asked = Event::Message { message: asked, seq: Some(1), fd: None };
    assert_eq!(next(&mut session), Some(asked));
    session.reply(1, Json::of(&4711).ok()).unwrap();
    session.send(Json::of(&["reload", "templates"]).unwrap(), None).unwrap();
    session.stop().unwrap();
    assert_eq!(next(&mut session), Some(Event::Reply { connection: 2, accepted: false }));
    assert_eq!(next(&mut session), Some(Event::Close { key: "h1".to_owned() }));
    assert_eq!(next(&mut session), None);
    let heard: Vec<_> =
        hears(&mut session).iter().map(|line| line.trim_end_matches('+').to_owned()).collect();
    assert_eq!(heard, transcript('>'));
}

#[test]
fn only_lines_that_say_so_carry_a_descriptor() {
    let mut session = greeted();
    session.reply_handed_over(1, "a", None).unwrap();
    session.reply_seat(2, "b", socket().0).unwrap();
    session.reply_error(3, 13).unwrap();
    session.new_connection("a", socket().0).unwrap();
    session.stop().unwrap();
    for line in hears(&mut session) {
        assert_eq!(line.ends_with('+'), line.contains(r#""fds":1"#), "{line}");
    }
}

#[test]
fn unknown_fields_and_types_are_ignored() {
    let mut session = greeted();
    says(
        &mut session,
        &[
            r#"{"type":"weather","sky":["blue"],"seq":3}"#,
            r#"{"type":"listen","seq":9,"socket":"udp","address":"[::]:53","v6only":true,"colour":1}"#,
        ],
    );
    let wanted = Wanted::Udp { address: "[::]:53".parse().unwrap(), v6only: true };
    let listen = Listen { seq: 9, wanted, backlog: None, index: 0, exclusive: false };
    assert_eq!(next(&mut session), Some(Event::Listen(listen)));
}

#[test]
fn the_descriptor_of_an_unknown_line_does_not_go_to_the_next() {
    let ((unknown, mut to_unknown), (seat, mut to_seat)) = (socket(), socket());
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"{\"type\":\"gift\",\"fds\":1}\n", [unknown], false);
    receiver.push(b"{\"type\":\"seat\",\"seq\":1,\"key\":\"h\",\"fds\":1}\n", [seat], false);
    let (message, _) = decode::<ToWorker>(&mut receiver).unwrap().unwrap();
    assert_eq!(message, ToWorker::Unknown);
    to_unknown.write_all(b"x").expect_err("closed");
    let (message, fd) = decode::<ToWorker>(&mut receiver).unwrap().unwrap();
    assert!(matches!(message, ToWorker::Seat(_)));
    to_seat.write_all(b"x").expect("open");
    drop(fd.expect("its own"));
    to_seat.write_all(b"x").expect_err("closed");
}

#[test]
fn a_descriptor_that_a_worker_sends_is_closed() {
    let mut session = greeted();
    let (fd, mut writer) = socket();
    says_with(&mut session, r#"{"type":"ready","fds":1}"#, fd);
    assert_eq!(next(&mut session), Some(Event::Ready));
    writer.write_all(b"x").expect_err("closed");
}

#[test]
fn a_worker_that_does_not_greet_or_speaks_another_version_is_refused() {
    for (said, sentence) in [
        (r#"{"type":"ready"}"#, "the worker did not begin with hello"),
        (
            r#"{"type":"hello","version":2,"pid":1}"#,
            "the worker speaks version 2 of the protocol, and this side speaks 1",
        ),
        ("", "the other side said \"\""),
        (r#"{"type":"hello"}"#, r#"the other side said "{\"type\":\"hello\"}""#),
        ("GET / HTTP/1.1", "the other side said \"GET / HTTP/1.1\""),
    ] {
        let mut session = Session::default();
        says(&mut session, &[said]);
        assert_eq!(session.next_event().unwrap_err().to_string(), sentence);
    }
}

#[test]
fn a_line_without_end_is_refused() {
    let mut session = greeted();
    session.receiver().push(&vec![b'{'; LIMITS.line + 1], [], false);
    assert!(matches!(session.next_event(), Err(ProtocolError::Endless(_))));
}

#[test]
fn a_connection_is_spoken_of_once() {
    let mut session = greeted();
    let (fd, _writer) = socket();
    let fd = Arc::new(fd);
    let connection = session.new_connection("h1", Arc::clone(&fd)).unwrap();
    hears(&mut session);
    assert_eq!(Arc::strong_count(&fd), 1, "once sent, the caller has the only share");
    let took = encode(&ToPrimary::Took { connection, accepted: true });
    session.receiver().push(&took, [], false);
    session.receiver().push(&took, [], false);
    assert_eq!(next(&mut session), Some(Event::Reply { connection, accepted: true }));
    assert_eq!(next(&mut session), None);
}

#[test]
fn a_worker_that_does_not_read_comes_to_the_limit() {
    let mut session = greeted();
    let key = "k".repeat(1000);
    let refused = (0..10_000).find_map(|seq| session.reply_handed_over(seq, &key, None).err());
    let waiting = session.bytes_queued();
    assert_eq!(refused, Some(QueueFull::Bytes { waiting, limit: QUEUE }));
    assert!(waiting <= QUEUE);
}

#[test]
fn a_message_keeps_its_text_and_its_socket() {
    let mut session = greeted();
    let line = br#"{"message": {"a":1.10} ,"fds":1,"type":"message"}"#;
    session.receiver().push(&[line, &b"\n"[..]].concat(), [socket().0], false);
    let Some(Event::Message { message, seq: None, fd: Some(_) }) = next(&mut session) else {
        panic!("no message")
    };
    assert_eq!(message.get(), r#"{"a":1.10}"#);
    says(&mut session, &[r#"{"type":"message","seq":5,"message":null}"#]);
    assert!(matches!(next(&mut session), Some(Event::Message { seq: Some(5), .. })));
    session.reply(5, None).unwrap();
    session.send(message, Some(socket().0)).unwrap();
    let heard = hears(&mut session);
    assert_eq!(
        heard,
        [r#"{"type":"reply","seq":5}"#, r#"{"type":"message","fds":1,"message":{"a":1.10}}+"#]
    );
}

#[test]
fn an_answer_has_the_number_of_its_request() {
    let mut session = greeted();
    let first = session.request(Json::of(&"one").unwrap()).unwrap();
    let second = session.request(Json::of(&"two").unwrap()).unwrap();
    assert_ne!(first, second);
    says(&mut session, &[&format!(r#"{{"type":"reply","seq":{second}}}"#)]);
    assert_eq!(next(&mut session), Some(Event::Answer { seq: second, message: None }));
    says(&mut session, &[&format!(r#"{{"type":"reply","seq":{first},"message":null}}"#)]);
    let null = Json::of(&()).ok();
    assert_eq!(next(&mut session), Some(Event::Answer { seq: first, message: null }));
}

#[test]
fn the_longest_message_fits_into_a_line() {
    let message = Json::of(&"x".repeat(LONGEST_MESSAGE - 2)).unwrap();
    let mut session = greeted();
    session.request(message.clone()).unwrap();
    session.reply(u64::MAX, Some(message.clone())).unwrap();
    session.send(message, Some(socket().0)).unwrap();
    assert!(hears(&mut session).iter().all(|line| line.len() <= LIMITS.line));
}
