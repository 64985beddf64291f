//! Sockets that go to a Node worker's program, and what the worker says of them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "common/side.rs"]
mod side;

use serde_json::value::RawValue;
use side::{ARRIVED, MISSING, hears, next, says, socket};
use tine_cluster::wire::node::{Event, Refused, Session, UserHandle};

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
