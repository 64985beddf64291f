//! A fake Node worker, byte by byte, against the session that the primary holds for it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[path = "common/side.rs"]
mod side;

use std::{io::Write, net::SocketAddr, sync::Arc};

use serde_json::value::RawValue;
use side::{ARRIVED, MISSING, hears, next, says, says_with, socket};
use tine_cluster::wire::node::{Answer, Event, HandleKind, ProtocolError, Refused, Session};

const ONLINE: &str = r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#;
const QUERY: &str = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":23401,"addressType":4,"flags":0,"backlog":false,"seq":1}"#;
const LISTENING: &str = r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":"127.0.0.1","port":23401,"addressType":4,"flags":0,"backlog":false,"seq":2}"#;

fn answer(seq: u64) -> Answer<'static> {
    Answer { seq, key: "h1", data: None }
}

fn address() -> SocketAddr {
    "127.0.0.1:23401".parse().unwrap()
}

#[test]
fn the_golden_transcript_of_round_robin() {
    let mut session = Session::default();
    says(&mut session, &[ONLINE, QUERY]);
    assert!(matches!(next(&mut session), Some(Event::Online)));
    let Some(Event::QueryServer { seq: 1, query }) = next(&mut session) else { panic!() };
    let to = Answer { seq: 1, key: "h1", data: query.data() };
    session.reply_round_robin(to, Some(address())).unwrap();
    assert_eq!(
        hears(&mut session),
        [
            r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"h1","ack":1,"data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":23401},"seq":0}"#
        ]
    );
    says(&mut session, &[LISTENING]);
    let Some(Event::Listening(query)) = next(&mut session) else { panic!() };
    assert_eq!(query.server_key().as_str(), "127.0.0.1:23401:4:undefined");
    assert_eq!(session.new_connection("h1", socket().0).unwrap(), 1);
    assert_eq!(
        hears(&mut session),
        [
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"h1","seq":1}}+"#
        ]
    );
    says(&mut session, &[ARRIVED, r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}"#]);
    assert!(matches!(next(&mut session), Some(Event::Reply { ack: 1, accepted: true })));
    session.disconnect().unwrap();
    assert_eq!(hears(&mut session), [r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":2}"#]);
    says(&mut session, &[r#"{"cmd":"NODE_CLUSTER","act":"close","key":"h1","seq":4}"#]);
    assert!(matches!(next(&mut session), Some(Event::Close { key }) if key == "h1"));
    assert!(next(&mut session).is_none());
}

#[test]
fn the_golden_transcript_of_a_shared_socket() {
    let mut session = Session::default();
    session.reply_seat(answer(1), HandleKind::Stream, socket().0).unwrap();
    assert_eq!(
        hears(&mut session),
        [
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","errno":0,"key":"h1","ack":1,"data":null,"seq":0}}+"#
        ]
    );
    says(&mut session, &[ARRIVED]);
    assert!(next(&mut session).is_none());
    session.reply_seat(answer(2), HandleKind::Datagram, socket().0).unwrap();
    assert!(hears(&mut session)[0].contains(r#""type":"dgram.Native""#));
}

#[test]
fn the_golden_transcripts_of_an_error_and_of_leaving() {
    let mut session = Session::default();
    session.reply_error(answer(1), -98).unwrap();
    assert_eq!(
        hears(&mut session),
        [r#"{"cmd":"NODE_CLUSTER","errno":-98,"key":"h1","ack":1,"data":null,"seq":0}"#]
    );
    says(&mut session, &[r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":6}"#, QUERY]);
    assert!(matches!(next(&mut session), Some(Event::ExitedAfterDisconnect { seq: 6 })));
    session.acknowledge(6).unwrap();
    assert_eq!(hears(&mut session), [r#"{"cmd":"NODE_CLUSTER","ack":6,"seq":1}"#]);
    assert!(next(&mut session).is_none(), "a leaving worker's question is not answered");
}

#[test]
fn ticket_keys_are_echoed_in_every_reply() {
    let mut session = Session::default();
    let keys = r#"{"ticketKeys":"00ff"}"#;
    says(&mut session, &[&QUERY.replace("\"data\":null", &format!("\"data\":{keys}"))]);
    let Some(Event::QueryServer { seq, query }) = next(&mut session) else { panic!() };
    let to = Answer { seq, key: "h1", data: query.data() };
    session.reply_round_robin(to, None).unwrap();
    session.reply_error(to, -98).unwrap();
    session.reply_seat(to, HandleKind::Stream, socket().0).unwrap();
    for line in hears(&mut session) {
        assert!(line.contains(&format!("\"data\":{keys}")), "{line}");
    }
}

#[test]
fn a_worker_that_is_fed_byte_by_byte_says_the_same() {
    let mut session = Session::default();
    let mut events = 0;
    for byte in format!("{ONLINE}\n{QUERY}\n\"hello\"\n").bytes() {
        session.receiver().push(&[byte], [], false);
        while next(&mut session).is_some() {
            events += 1;
        }
    }
    assert_eq!(events, 3);
}

#[test]
fn buns_internal_messages_are_understood_and_answered_in_kind() {
    let mut session = Session::default();
    says(&mut session, &[&format!("\x02{ONLINE}")]);
    assert!(matches!(next(&mut session), Some(Event::Online)));
    session.disconnect().unwrap();
    assert_eq!(
        hears(&mut session),
        ["\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"disconnect\",\"seq\":0}"]
    );
}

#[test]
fn nothing_but_answers_to_handles_overtakes_a_handle_and_the_order_is_kept() {
    let mut session = Session::default();
    let first = session.new_connection("h1", socket().0).unwrap();
    let hello = RawValue::from_string("\"hello\"".to_owned()).unwrap();
    session.send_user(&hello).unwrap();
    let second = session.new_connection("h1", socket().0).unwrap();
    session.disconnect().unwrap();
    says_with(
        &mut session,
        r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"mine"}"#,
        socket().0,
    );
    assert!(matches!(next(&mut session), Some(Event::UserHandle { .. })));
    let heard = hears(&mut session);
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].contains(&format!("\"seq\":{first}")) && heard[0].ends_with('+'));
    assert_eq!(heard[1], ARRIVED);
    assert!(session.bytes_queued() > 0);
    says(&mut session, &[ARRIVED]);
    assert!(next(&mut session).is_none());
    let heard = hears(&mut session);
    assert_eq!(heard.len(), 2, "up to the next handle: {heard:?}");
    assert_eq!(heard[0], "\"hello\"");
    assert!(heard[1].contains(&format!("\"seq\":{second}")) && heard[1].ends_with('+'));
    says(&mut session, &[ARRIVED]);
    assert!(next(&mut session).is_none());
    assert!(hears(&mut session)[0].contains("\"act\":\"disconnect\""));
    assert_eq!(session.bytes_queued(), 0);
}

#[test]
fn a_handle_that_does_not_arrive_is_sent_three_times_more_and_then_named() {
    let mut session = Session::default();
    let (connection, _writer) = socket();
    let connection = Arc::new(connection);
    let seq = session.new_connection("h1", Arc::clone(&connection)).unwrap();
    session.disconnect().unwrap();
    for sends in 1..=4 {
        let heard = hears(&mut session);
        assert_eq!(heard.len(), 1, "send {sends}");
        assert!(heard[0].ends_with('+'));
        says(&mut session, &[MISSING]);
        let event = next(&mut session);
        if sends < 4 {
            assert!(event.is_none(), "send {sends}: {event:?}");
            continue;
        }
        let Some(Event::HandleRefused(refused)) = event else { panic!("{event:?}") };
        assert_eq!(refused, Refused::Connection(seq));
    }
    assert!(hears(&mut session)[0].contains("disconnect"), "what was behind it goes on");
    assert_eq!(Arc::strong_count(&connection), 1, "the caller has the only share");
    let late = format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{seq},\"accepted\":true,\"seq\":9}}");
    says(&mut session, &[&late]);
    assert!(next(&mut session).is_none(), "it is not spoken of twice");
}

#[test]
fn a_seat_that_does_not_arrive_is_named_by_its_question() {
    let mut session = Session::default();
    session.reply_seat(answer(7), HandleKind::Stream, socket().0).unwrap();
    says(&mut session, &[MISSING; 4]);
    assert!(matches!(next(&mut session), Some(Event::HandleRefused(Refused::Seat(7)))));
}

#[test]
fn a_worker_handle_without_its_descriptor_is_refused_and_not_delivered() {
    let mut session = Session::default();
    says(&mut session, &[r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1}}"#, "1"]);
    assert!(matches!(next(&mut session), Some(Event::User(message)) if message.get() == "1"));
    assert_eq!(hears(&mut session), [MISSING]);
}

#[test]
fn a_worker_handle_is_acknowledged_and_delivered_with_its_descriptor() {
    let mut session = Session::default();
    let (reader, mut writer) = std::io::pipe().unwrap();
    says_with(
        &mut session,
        r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"x"}"#,
        reader.into(),
    );
    let Some(Event::UserHandle { message, kind, fd }) = next(&mut session) else { panic!() };
    assert_eq!((message.get(), kind.as_str()), (r#"{"a":1}"#, "net.Socket"));
    assert_eq!(hears(&mut session), [ARRIVED]);
    writer.write_all(b"x").unwrap();
    drop(fd);
    writer.write_all(b"x").expect_err("it was the only share");
}

#[test]
fn dropping_a_session_in_the_middle_closes_all_it_held() {
    let mut session = Session::default();
    let (sent, mut to_sent) = socket();
    let (held, mut to_held) = socket();
    let (unclaimed, mut to_unclaimed) = std::io::pipe().unwrap();
    session.new_connection("h1", sent).unwrap();
    session.new_connection("h1", held).unwrap();
    session.receiver().push(b"{\"cmd\":\"NODE_HA", [unclaimed.into()], false);
    assert!(next(&mut session).is_none());
    assert_eq!(hears(&mut session).len(), 1);
    for writer in [&mut to_sent, &mut to_held, &mut to_unclaimed] {
        writer.write_all(b"x").expect("still open");
    }
    drop(session);
    for writer in [&mut to_sent, &mut to_held, &mut to_unclaimed] {
        writer.write_all(b"x").expect_err("closed");
    }
}

#[test]
fn words_without_a_matching_question_are_harmless() {
    let mut session = Session::default();
    says(
        &mut session,
        &[
            r#"{"cmd":"NODE_CLUSTER","ack":77,"accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","act":"future","x":[1],"seq":1}"#,
            r#"{"cmd":"NODE_FUTURE"}"#,
            ARRIVED,
            MISSING,
            r#"{"cmd":"NODE_CLUSTER","act":"close","key":"never given","unknown":{},"seq":4}"#,
        ],
    );
    assert!(matches!(next(&mut session), Some(Event::Close { key }) if key == "never given"));
    assert!(next(&mut session).is_none());
    assert!(hears(&mut session).is_empty());
}

#[test]
fn questions_about_sockets_are_answered() {
    let mut session = Session::default();
    says(
        &mut session,
        &[
            r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"4:127.0.0.1:80"}"#,
            r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}"#,
        ],
    );
    assert!(next(&mut session).is_none());
    assert_eq!(
        hears(&mut session),
        [
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"4:127.0.0.1:80","count":0}"#,
            r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"k"}"#
        ]
    );
}

#[test]
fn user_messages_come_as_they_were_said() {
    let mut session = Session::default();
    let messages = [
        "\"ready\"",
        "1.50",
        "null",
        "true",
        "[1,{\"cmd\":\"NODE_CLUSTER\"}]",
        r#"{"cmd":"NODE_"}"#,
        r#"{"cmd":5}"#,
        r#"{"cmd":{"a":1}}"#,
        "{\"type\":\"log:out\",\"data\":\"\u{2028}😀\"}",
    ];
    says(&mut session, &messages);
    for expected in messages {
        let Some(Event::User(message)) = next(&mut session) else { panic!("{expected}") };
        assert_eq!(message.get(), expected);
    }
}

#[test]
fn a_user_message_is_one_line_whatever_its_layout() {
    let mut session = Session::default();
    let spread = RawValue::from_string("{\n  \"a\": \"\\n\"\n}".to_owned()).unwrap();
    session.send_user(&spread).unwrap();
    session.send_user_value(&["x\ny"]).unwrap();
    assert_eq!(hears(&mut session), ["{   \"a\": \"\\n\" }", "[\"x\\ny\"]"]);
}

#[test]
fn what_is_no_json_is_an_error_that_shows_it() {
    for (said, reason) in [
        ("", "not the JSON expected"),
        ("hello", "not the JSON expected"),
        ("{\"cmd\":", "not the JSON expected"),
        (r#"{"cmd":"NODE_CLUSTER","act":"queryServer"}"#, "without `seq`"),
        (r#"{"cmd":"NODE_CLUSTER","act":"close","seq":1}"#, "without `key`"),
        (r#"{"cmd":"NODE_HANDLE"}"#, "without `msg`"),
    ] {
        let mut session = Session::default();
        says(&mut session, &[said]);
        let error = session.next_event().unwrap_err();
        assert_eq!(error.to_string(), format!("the worker said {said:?}"));
        let ProtocolError::Malformed { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), reason, "{said}");
    }
}

#[test]
fn a_long_wrong_line_is_shown_by_its_beginning() {
    let mut session = Session::default();
    session.receiver().push(&[&[0xff; 500][..], b"\n"].concat(), [], false);
    let error = session.next_event().unwrap_err().to_string();
    assert!(error.len() < 300 && error.contains('…'), "{error}");
}
