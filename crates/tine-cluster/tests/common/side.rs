//! A worker played line by line against the session that the primary holds for it; no socket is between.

use std::os::fd::OwnedFd;

use tine_cluster::wire::{
    lines::{Outbox, Receiver},
    native, node,
};

/// What a worker of Node's says of a socket that was sent to it.
pub(crate) const ARRIVED: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
pub(crate) const MISSING: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;

/// The primary's side, of either protocol.
pub(crate) trait Side {
    type Event;

    fn incoming(&mut self) -> &mut Receiver;
    fn outgoing(&mut self) -> &mut Outbox;
    fn event(&mut self) -> Option<Self::Event>;
}

macro_rules! sides {
    ($($protocol:ident),+) => { $(
        impl Side for $protocol::Session {
            type Event = $protocol::Event;

            fn incoming(&mut self) -> &mut Receiver {
                self.receiver()
            }

            fn outgoing(&mut self) -> &mut Outbox {
                self.outbox()
            }

            fn event(&mut self) -> Option<Self::Event> {
                self.next_event().unwrap()
            }
        }
    )+ };
}

sides!(native, node);

/// A socket to hand over, and the end that notices when it is closed.
pub(crate) fn socket() -> (OwnedFd, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer)
}

pub(crate) fn says(session: &mut impl Side, lines: &[&str]) {
    for line in lines {
        session.incoming().push(format!("{line}\n").as_bytes(), [], false);
    }
}

pub(crate) fn says_with(session: &mut impl Side, line: &str, fd: OwnedFd) {
    session.incoming().push(format!("{line}\n").as_bytes(), [fd], false);
}

/// All that has gone out since, a line each, with a `+` if a descriptor went with it.
pub(crate) fn hears(session: &mut impl Side) -> Vec<String> {
    let outbox = session.outgoing();
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

/// What the worker has said, if it is anything that the primary has to know.
pub(crate) fn next<S: Side>(session: &mut S) -> Option<S::Event> {
    session.event()
}
