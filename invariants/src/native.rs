//! Our own protocol, both sides of it, with a peer that says anything.

use std::{collections::BTreeSet, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use serde_json::Value;
use tine_cluster::{
    json::Json,
    wire::{
        lines::{Outbox, Receiver},
        native::{
            Event, LIMITS, Message, ProtocolError, QUEUE, Reply, Session, ToPrimary, ToWorker,
            decode, encode,
        },
    },
};

use crate::{
    choices::Choices,
    pipe::{Watched, watched},
};

/// A worker says anything in any portions, with descriptors, while its primary answers; or a primary
/// does, and a worker reads it.
///
/// # Panics
///
/// When a connection is answered for twice, a line goes out with a descriptor that it does not speak
/// of, more waits than may, or a descriptor stays open; when a message changes on its way there and
/// back.
pub fn native(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    if choices.bit() { conversation(&mut choices) } else { worker_reads(&mut choices) }
}

/// What a worker may say, right and wrong; `#` becomes a number.
const SAID: [&str; 24] = [
    r#"{"type":"hello","version":1,"pid":1}"#,
    r#"{"type":"hello","version":2,"pid":1}"#,
    r#"{"type":"listen","seq":#,"socket":"tcp","address":"127.0.0.1:#"}"#,
    r#"{"type":"listen","seq":#,"socket":"udp","address":"[::]:53","v6only":true,"index":#}"#,
    r#"{"type":"listen","seq":#,"socket":"unix","path":"/run/a\u0000b","backlog":#}"#,
    r#"{"type":"listen","seq":#,"socket":"tcp"}"#,
    r#"{"type":"took","connection":#,"accepted":true}"#,
    r#"{"type":"took","connection":#,"accepted":false}"#,
    r#"{"type":"took","connection":#,"accepted":true,"fds":1}"#,
    r#"{"type":"close","key":"h#"}"#,
    r#"{"type":"ready"}"#,
    r#"{"type":"ready","fds":18446744073709551615}"#,
    r#"{"type":"gift","fds":#}"#,
    r#"{"fds":1}"#,
    r#"{"type":"leaving"}"#,
    r#"{"type":"message","message":[#]}"#,
    r#"{"message": {"a" : 1.0} ,"seq":#,"fds":1,"type":"message"}"#,
    r#"{"type":"message","seq":#}"#,
    r#"{"type":"reply","seq":#,"message":null}"#,
    r#"{"type":"reply","seq":#}"#,
    r#"{"type":"ready","fds":-1}"#,
    "[]",
    "",
    "\u{2028}",
];

/// Likewise a primary.
const TOLD: [&str; 11] = [
    r#"{"type":"seat","seq":#,"key":"h#","fds":1}"#,
    r#"{"type":"handed-over","seq":#,"key":"h#","address":"127.0.0.1:#"}"#,
    r#"{"type":"handed-over","seq":#,"key":"h#"}"#,
    r#"{"type":"error","seq":#,"errno":98}"#,
    r#"{"type":"connection","key":"h#","connection":#,"fds":1}"#,
    r#"{"type":"stop"}"#,
    r#"{"type":"message","fds":1,"message":{"a": #}}"#,
    r#"{"type":"reply","seq":#}"#,
    r#"{"type":"weather","fds":2}"#,
    r#"{"type":"seat"}"#,
    "null",
];

/// A line of these, or any bytes.
fn line(choices: &mut Choices<'_>, known: &[&str]) -> Vec<u8> {
    let what = choices.below(known.len() + 2);
    let number = choices.below(8).to_string();
    let Some(known) = known.get(what) else { return choices.bytes(60).to_vec() };
    let mut text = known.replace('#', &number).into_bytes();
    text.push(b'\n');
    text
}

/// Feeds `text` in portions, some of them with a descriptor.
fn feed(receiver: &mut Receiver, text: &[u8], choices: &mut Choices<'_>, given: &mut Vec<Watched>) {
    let cut = if choices.bit() { 1 + choices.below(text.len().max(1)) } else { text.len().max(1) };
    for portion in text.chunks(cut) {
        let (fds, ends): (Vec<OwnedFd>, Vec<Watched>) =
            (0..usize::from(choices.below(6) == 5)).map(|_| watched()).unzip();
        given.extend(ends);
        receiver.push(portion, fds, choices.below(32) == 31);
        assert!(receiver.unclaimed() <= LIMITS.descriptors);
    }
}

fn conversation(choices: &mut Choices<'_>) {
    let mut given = Vec::new();
    let (fd, _end) = watched();
    let shared = Arc::new(fd);
    let mut primary = Primary::default();
    while !choices.is_over() {
        if choices.bit() {
            primary.acts(choices, &shared);
        } else {
            let text = line(choices, &SAID);
            feed(primary.session.receiver(), &text, choices, &mut given);
        }
        if primary.hears().is_err() {
            break;
        }
    }
    drop(primary);
    assert_eq!(Arc::strong_count(&shared), 1, "a session that is gone holds a descriptor");
    assert!(given.iter().all(Watched::is_closed), "a worker's descriptor is left open");
}

#[derive(Default)]
struct Primary {
    session: Session,
    greeted: bool,
    out: BTreeSet<u64>,
    asked: Vec<u64>,
    partly: Option<Vec<u8>>,
}

impl Primary {
    fn acts(&mut self, choices: &mut Choices<'_>, shared: &Arc<OwnedFd>) {
        let address: Option<SocketAddr> = choices.bit().then(|| ([127, 0, 0, 1], 80).into());
        let seq = self.asked.pop().unwrap_or_default();
        // What is full says so, and has taken nothing in: the bound below holds.
        let message = Json::of(&seq).expect("a number is JSON");
        let done = match choices.below(9) {
            0 => self.session.reply_seat(seq, "h1", Arc::clone(shared)),
            1 => self.session.reply_handed_over(seq, "h1", address),
            2 => self.session.reply_error(seq, 98),
            3 => self.session.stop(),
            4 => {
                let sent = self.session.new_connection("h1", Arc::clone(shared));
                sent.map(|number| assert!(self.out.insert(number), "{number} is there twice"))
            }
            5 => {
                let (fd, _end) = watched();
                self.session.send(message, choices.bit().then_some(fd))
            }
            6 => self.session.request(message).map(drop),
            7 => self.session.reply(seq, choices.bit().then_some(message)),
            _ => {
                self.goes_out(usize::from(choices.byte()));
                Ok(())
            }
        };
        let _ = done;
        assert!(self.session.bytes_queued() <= QUEUE, "more waits than may");
    }

    /// Some bytes leave; what leaves is whole lines, with a descriptor where they say so.
    fn goes_out(&mut self, most: usize) {
        let outbox: &mut Outbox = self.session.outbox();
        let Some((text, fd)) = outbox.front() else { return };
        let (count, has) = (text.len().min(most), fd.is_some());
        let begun = self.partly.get_or_insert_with(|| {
            let says: Value = serde_json::from_slice(text).expect("a line of JSON");
            assert_eq!(has, says.get("fds").is_some_and(|fds| *fds == 1), "{says}");
            Vec::new()
        });
        assert!(begun.is_empty() || !has, "a descriptor goes twice");
        begun.extend_from_slice(&text[..count]);
        if count == text.len() {
            let line = self.partly.take().unwrap_or_default();
            assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
        }
        outbox.sent(count);
    }

    fn hears(&mut self) -> Result<(), ProtocolError> {
        while let Some(event) = self.session.next_event()? {
            self.greeted |= matches!(event, Event::Hello { .. });
            if let Event::Reply { connection, .. } = event {
                assert!(self.out.remove(&connection), "{connection} was not asked for");
            } else if let Event::Listen(listen) = event {
                there_and_back(&ToPrimary::Listen(listen.clone()));
                self.asked.push(listen.seq);
            }
            assert!(self.greeted, "nothing is heard before hello");
        }
        Ok(())
    }
}

fn worker_reads(choices: &mut Choices<'_>) {
    let mut receiver = Receiver::new(LIMITS);
    let mut given = Vec::new();
    while !choices.is_over() {
        let text = line(choices, &TOLD);
        feed(&mut receiver, &text, choices, &mut given);
        while let Ok(Some((message, fd))) = decode::<ToWorker>(&mut receiver) {
            drop(fd);
            if message != ToWorker::Unknown {
                there_and_back(&message);
            }
        }
    }
    drop(receiver);
    assert!(given.iter().all(Watched::is_closed), "a descriptor is left open");
}

/// What one side writes the other reads.
fn there_and_back<M>(message: &M)
where
    M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    M: From<Message> + From<Reply>,
{
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(&encode(message), [], false);
    let (again, _) = decode::<M>(&mut receiver).expect("our own line").expect("a whole one");
    assert_eq!(&again, message);
}
