//! A fake Node worker at the other end of a real socket, where it matters which bytes and which
//! descriptors arrive together.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{
    io::{IoSlice, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use serde_json::value::RawValue;
use tine_cluster::wire::{
    lines::{Flushed, Limits, Received, Receiver, flush, receive},
    node::{Address, Answer, Event, HandleKind, Refused, Session},
};

const ARRIVED: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
const MISSING: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;
const HANDLE: &str = r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"mine"}"#;

/// A descriptor, the file behind it, and the end that notices when no copy of it is left.
fn descriptor() -> (OwnedFd, u64, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = OwnedFd::from(reader);
    let inode = inode(&reader);
    (reader, inode, writer.into())
}

fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

/// Not even on its way through the kernel.
fn is_closed(writer: &OwnedFd) -> bool {
    let mut one = [PollFd::new(writer, PollFlags::empty())];
    poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    one[0].revents().contains(PollFlags::ERR)
}

/// What Node's side of the channel does, byte by byte.
struct Worker {
    socket: UnixStream,
    receiver: Receiver,
}

/// The primary's side.
struct Primary {
    socket: UnixStream,
    session: Session,
}

fn pair() -> (Primary, Worker) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let receiver = Receiver::new(Limits { line: 4 << 20, descriptors: 64 });
    (Primary { socket: ours, session: Session::default() }, Worker { socket: theirs, receiver })
}

impl Worker {
    fn says(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// Lines, each with its end.
    fn says_lines(&mut self, lines: &[&str]) {
        self.says(&lines.iter().flat_map(|line| [line, "\n"]).collect::<String>());
    }

    fn sends(&self, text: &str, fds: &[&OwnedFd]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let parts = [IoSlice::new(text.as_bytes())];
        let sent = sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, text.len());
    }

    /// All that has come, a line each, with the descriptor that came with it.
    fn hears(&mut self) -> Vec<(String, Option<OwnedFd>)> {
        while let Received::Bytes(_) = receive(&self.socket, &mut self.receiver).unwrap() {}
        let mut heard = Vec::new();
        while let Some(line) = self.receiver.next_line().unwrap() {
            let line = String::from_utf8(line).unwrap();
            let has = line.starts_with(r#"{"cmd":"NODE_HANDLE","#);
            heard.push((line, has.then(|| self.receiver.claim()).flatten()));
        }
        assert_eq!(self.receiver.unclaimed(), 0, "a descriptor without a line");
        heard
    }

    fn hears_lines(&mut self) -> Vec<String> {
        self.hears().into_iter().map(|(line, _)| line).collect()
    }
}

impl Primary {
    /// All that the worker has said; what needs an answer at once is answered.
    fn hears(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Received::Bytes(_) | Received::Last(_) =
            receive(&self.socket, self.session.receiver()).unwrap()
        {
            while let Some(event) = self.session.next_event().unwrap() {
                events.push(event);
            }
        }
        assert_eq!(flush(&self.socket, self.session.outbox()).unwrap(), Flushed::All);
        events
    }

    fn says(&mut self, what: impl FnOnce(&mut Session)) {
        what(&mut self.session);
        assert_eq!(flush(&self.socket, self.session.outbox()).unwrap(), Flushed::All);
    }

    fn hands_over(&mut self, fd: OwnedFd) -> u64 {
        let mut number = 0;
        self.says(|session| number = session.new_connection("h1", fd).unwrap());
        number
    }
}

/// The descriptors that were delivered, by the files behind them.
fn delivered(events: &[Event]) -> Vec<u64> {
    let fd = |event: &Event| match event {
        Event::UserHandle { fd, .. } => Some(inode(fd)),
        _ => None,
    };
    events.iter().filter_map(fd).collect()
}

#[test]
fn byte_by_byte_a_worker_is_heard_with_the_descriptor_of_its_first_byte() {
    let (mut primary, mut worker) = pair();
    let (fd, expected, _end) = descriptor();
    let mut events = Vec::new();
    worker.sends(&HANDLE[..1], &[&fd]);
    for byte in HANDLE[1..].chars().chain("\n\"hello\"\n".chars()) {
        events.extend(primary.hears());
        worker.says(&byte.to_string());
    }
    events.extend(primary.hears());
    assert_eq!(delivered(&events), [expected]);
    assert!(matches!(&events[1], Event::User(message) if message.get() == "\"hello\""));
    assert_eq!(worker.hears_lines(), [ARRIVED]);
}

#[test]
fn the_arrival_and_the_reply_in_one_read_are_two_words() {
    let (mut primary, mut worker) = pair();
    let (fd, expected, _end) = descriptor();
    let ack = primary.hands_over(fd);
    primary.says(|session| session.disconnect().unwrap());
    let heard = worker.hears();
    assert_eq!(heard.len(), 1, "nothing overtakes a handle");
    assert_eq!(heard[0].1.as_ref().map(inode), Some(expected));
    let reply = format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":true,"seq":3}}"#);
    worker.says_lines(&[ARRIVED, &reply]);
    let events = primary.hears();
    assert!(matches!(events[..], [Event::Reply { accepted: true, ack: said }] if said == ack));
    assert_eq!(worker.hears_lines(), [r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":1}"#]);
}

#[test]
fn a_descriptor_may_come_before_its_line_or_with_its_last_byte() {
    let (mut primary, mut worker) = pair();
    let ((early, first, _), (late, second, _)) = (descriptor(), descriptor());
    worker.sends("\"plain\"\n", &[&early]);
    worker.says_lines(&[HANDLE]);
    let events = primary.hears();
    assert!(matches!(events[0], Event::User(_)));
    assert_eq!(delivered(&events), [first]);
    worker.says(HANDLE);
    worker.sends("\n", &[&late]);
    assert_eq!(delivered(&primary.hears()), [second]);
    assert_eq!(worker.hears_lines(), [ARRIVED, ARRIVED]);
}

#[test]
fn a_descriptor_after_its_line_is_missed_and_goes_to_no_other_line() {
    let (mut primary, mut worker) = pair();
    let ((late, _, end), (own, expected, _)) = (descriptor(), descriptor());
    worker.says_lines(&[HANDLE]);
    assert!(primary.hears().is_empty());
    assert_eq!(worker.hears_lines(), [MISSING]);
    worker.sends("\"late\"\n", &[&late]);
    drop(late);
    worker.sends(&format!("{HANDLE}\n"), &[&own]);
    assert_eq!(delivered(&primary.hears()), [expected]);
    assert_eq!(worker.hears_lines(), [ARRIVED]);
    assert!(is_closed(&end), "nobody has it");
}

#[test]
fn two_descriptors_sent_at_once_go_to_a_line_each_or_to_none() {
    let (mut primary, mut worker) = pair();
    let ((one, first, _), (two, second, _)) = (descriptor(), descriptor());
    worker.sends(&format!("{HANDLE}\n{HANDLE}\n{HANDLE}\n"), &[&one, &two]);
    assert_eq!(delivered(&primary.hears()), [first, second]);
    assert_eq!(worker.hears_lines(), [ARRIVED, ARRIVED, MISSING]);
}

#[test]
fn while_an_acknowledgement_is_late_all_wait_and_then_come_in_order() {
    let (mut primary, mut worker) = pair();
    let ((one, first, _), (two, second, _)) = (descriptor(), descriptor());
    let (seq, later) = (primary.hands_over(one), primary.hands_over(two));
    let hello = RawValue::from_string("\"hello\"".to_owned()).unwrap();
    primary.says(|session| session.send_user(&hello).unwrap());
    let heard = worker.hears();
    assert!(heard.len() == 1 && heard[0].0.contains(&format!("\"seq\":{seq}}}")));
    assert_eq!(heard[0].1.as_ref().map(inode), Some(first));
    // Whatever else it says meanwhile.
    worker.says_lines(&["\"busy\"", r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#]);
    primary.hears();
    assert!(worker.hears().is_empty());
    worker.says_lines(&[ARRIVED]);
    primary.hears();
    let heard = worker.hears();
    assert!(heard.len() == 1 && heard[0].0.contains(&format!("\"seq\":{later}}}")));
    assert_eq!(heard[0].1.as_ref().map(inode), Some(second));
    worker.says_lines(&[ARRIVED]);
    primary.hears();
    let count = r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":0}"#;
    assert_eq!(worker.hears_lines(), ["\"hello\"", count]);
}

#[test]
fn a_connection_is_sent_four_times_with_its_descriptor_and_not_a_fifth() {
    let (mut primary, mut worker) = pair();
    let (fd, expected, end) = descriptor();
    let seq = primary.hands_over(fd);
    let mut events = Vec::new();
    for send in 1..=4 {
        let heard = worker.hears();
        assert_eq!(heard.len(), 1, "send {send}");
        assert_eq!(heard[0].1.as_ref().map(inode), Some(expected), "send {send}");
        worker.says_lines(&[MISSING]);
        events.extend(primary.hears());
        assert_eq!(events.len(), usize::from(send == 4), "send {send}");
    }
    let refused = Refused::Connection(seq);
    assert!(matches!(events[0], Event::HandleRefused(named) if named == refused));
    assert!(worker.hears().is_empty() && is_closed(&end));
}

#[test]
fn a_channel_that_ends_with_a_handle_on_its_way_leaves_none_open() {
    // How much of the handle's line the worker reads before it goes; more than there is: all.
    for read in [0, 1, 40, 4096] {
        let (mut primary, worker) = pair();
        let ((one, _, sent), (two, _, held)) = (descriptor(), descriptor());
        primary.hands_over(one);
        primary.hands_over(two);
        let mut text = vec![0; read];
        // Without room for descriptors the kernel closes what comes.
        assert!(rustix::io::read(&worker.socket, &mut text).is_ok(), "{read}");
        assert!(!is_closed(&sent) && !is_closed(&held));
        drop(worker);
        assert!(primary.hears().is_empty());
        assert_eq!(receive(&primary.socket, primary.session.receiver()).unwrap(), Received::Closed);
        drop(primary);
        assert!(is_closed(&sent) && is_closed(&held), "{read}");
    }
}

#[test]
fn what_a_worker_sent_before_its_end_is_heard_after_it() {
    let (mut primary, mut worker) = pair();
    let (fd, _, end) = descriptor();
    let ack = primary.hands_over(fd);
    worker.hears();
    let reply = format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":true,"seq":3}}"#);
    worker.says_lines(&[ARRIVED, &reply]);
    worker.says("{\"cmd\":\"NODE_CLU");
    drop(worker);
    let mut events = Vec::new();
    while receive(&primary.socket, primary.session.receiver()).unwrap() != Received::Closed {
        events.extend(std::iter::from_fn(|| primary.session.next_event().unwrap()));
    }
    assert!(matches!(events[..], [Event::Reply { accepted: true, .. }]), "{events:?}");
    drop(primary);
    assert!(is_closed(&end));
}

#[test]
fn the_golden_transcript_of_a_worker_that_leaves_by_itself() {
    let (mut primary, mut worker) = pair();
    worker.says_lines(&[
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":"h1","seq":5}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":6}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","address":null,"port":0,"addressType":4,"seq":7}"#,
    ]);
    let events = primary.hears();
    let [Event::Close { key }, Event::ExitedAfterDisconnect { seq: 6 }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(key, "h1");
    primary.says(|session| session.acknowledge(6).unwrap());
    assert_eq!(worker.hears_lines(), [r#"{"cmd":"NODE_CLUSTER","ack":6,"seq":0}"#]);
    drop(worker);
    assert_eq!(receive(&primary.socket, primary.session.receiver()).unwrap(), Received::Closed);
}

#[test]
fn a_shared_socket_arrives_as_the_very_socket() {
    let (mut primary, mut worker) = pair();
    let (fd, expected, _end) = descriptor();
    let to = Answer { seq: 1, key: "h1", data: None };
    primary.says(|session| session.reply_seat(to, HandleKind::Stream, fd).unwrap());
    let heard = worker.hears();
    assert_eq!(
        heard[0].0,
        r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","errno":0,"key":"h1","ack":1,"data":null,"seq":0}}"#
    );
    assert_eq!(heard[0].1.as_ref().map(inode), Some(expected));
}

#[test]
fn a_question_may_leave_out_its_port_and_its_backlog() {
    let (mut primary, mut worker) = pair();
    worker.says_lines(&[
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"0.0.0.0","addressType":"udp4","fd":-1,"flags":0,"seq":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":23401,"addressType":4,"flags":0,"backlog":false,"seq":2}"#,
    ]);
    let events = primary.hears();
    let [Event::QueryServer { query: udp, .. }, Event::QueryServer { query: tcp, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(matches!(udp.address(), Ok(Address::Udp { port: None, .. })));
    assert_eq!((udp.backlog(), tcp.backlog()), (None, None));
}
