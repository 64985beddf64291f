//! Lines and descriptors: a stream is cut as it was written, and each descriptor goes to its line.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tine_cluster::wire::lines::{Limits, Outbox, Received, Receiver, Unreadable, receive};

use crate::{
    choices::Choices,
    pipe::{Watched, inode, watched},
};

/// Any bytes with any descriptors in any portions; or lines of somebody who keeps the rules, in any
/// portions, through the kernel.
///
/// # Panics
///
/// When a line differs from what was written, or is longer than the limit; when a descriptor goes to
/// two lines, to one that came before it, to another than its own, or to none and stays open.
pub fn lines(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    if choices.bit() { through_the_kernel(&mut choices) } else { anything(&mut choices) }
}

// === Anything ===

/// What was fed so far, and what is to come of it.
struct Stream {
    limits: Limits,
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    given: Vec<(Watched, Range<usize>)>,
    /// Those, and those that were lost.
    arrived: usize,
    /// Which of them came last, of those that went to a line.
    claimed: Option<usize>,
}

fn anything(choices: &mut Choices<'_>) {
    let limits = Limits { line: choices.below(40), descriptors: 1 + choices.below(6) };
    let mut receiver = Receiver::new(limits);
    let (bytes, given, claimed) = (Vec::new(), Vec::new(), None);
    let mut stream = Stream { limits, bytes, at: 0, given, arrived: 0, claimed };
    while !choices.is_over() {
        stream.feed(&mut receiver, choices);
        if choices.below(3) != 0 && !stream.read(&mut receiver, choices) {
            break;
        }
    }
    drop(receiver);
    assert!(stream.given.iter().all(|(one, _)| one.is_closed()), "a descriptor is left open");
}

impl Stream {
    fn feed(&mut self, receiver: &mut Receiver, choices: &mut Choices<'_>) {
        let (count, lost) = (choices.below(4).saturating_sub(1), choices.below(8) == 7);
        let end_some = |&byte: &u8| if byte.is_multiple_of(8) { b'\n' } else { byte };
        let portion: Vec<u8> = choices.bytes(24).iter().map(end_some).collect();
        let with = self.bytes.len()..self.bytes.len() + portion.len();
        let (fds, ends): (Vec<OwnedFd>, Vec<Watched>) = (0..count).map(|_| watched()).unzip();
        self.given.extend(ends.into_iter().map(|end| (end, with.clone())));
        receiver.push(&portion, fds, lost);
        self.arrived += count + usize::from(lost);
        self.bytes.extend(portion);
        assert!(receiver.unclaimed() <= self.limits.descriptors);
    }

    /// `false` when the stream has come to its end by the limit.
    fn read(&mut self, receiver: &mut Receiver, choices: &mut Choices<'_>) -> bool {
        loop {
            let rest = &self.bytes[self.at..];
            let length = rest.iter().position(|&byte| byte == b'\n');
            let line = match receiver.next_line() {
                Ok(line) => line,
                Err(Unreadable::LineTooLong { .. }) => {
                    assert!(length.unwrap_or(rest.len()) > self.limits.line, "it was short enough");
                    return false;
                }
                Err(Unreadable::TooManyDescriptors { limit }) => {
                    assert!(self.arrived > limit, "there was room for them");
                    return false;
                }
            };
            assert_eq!(line.as_deref(), length.map(|length| &rest[..length]));
            assert!(length.unwrap_or(rest.len()) <= self.limits.line, "it is too long");
            let Some(length) = length else {
                assert_eq!(receiver.unfinished(), rest.len());
                return true;
            };
            self.at += length + 1;
            for _ in 0..choices.below(3) {
                self.claim(receiver);
            }
        }
    }

    fn claim(&mut self, receiver: &mut Receiver) {
        let Some(fd) = receiver.claim() else { return };
        let inode = inode(&fd);
        let place = self.given.iter().position(|(one, _)| one.inode == inode).expect("given");
        assert!(self.claimed < Some(place), "it went to two lines, or its turn was over");
        self.claimed = Some(place);
        let (_, with) = &self.given[place];
        assert!(with.start < self.at, "it came after its line");
    }
}

// === Through the kernel ===

/// Lines of which some are said to carry a descriptor, as `Outbox` and `flush` would send them.
struct Sender {
    outbox: Outbox,
    sent: usize,
    expected: Vec<(Vec<u8>, Option<u64>)>,
    ends: Vec<Watched>,
}

fn through_the_kernel(choices: &mut Choices<'_>) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors are left");
    ours.set_nonblocking(true).expect("a socket");
    theirs.set_nonblocking(true).expect("a socket");
    let mut sender = Sender::new(choices);
    let mut receiver = Receiver::new(Limits { line: 64, descriptors: 64 });
    let mut got = 0;
    while got < sender.expected.len() {
        match choices.below(3) {
            _ if choices.is_over() => sender.send(&ours, usize::MAX),
            0 => sender.send(&ours, usize::MAX),
            1 => sender.send(&ours, 1 + choices.below(16)),
            _ => {}
        }
        if choices.is_over() || choices.bit() {
            got += take(&theirs, &mut receiver, &sender.expected[got..]);
        }
    }
    drop((receiver, sender.outbox));
    assert!(sender.ends.iter().all(Watched::is_closed), "a descriptor is left open");
}

impl Sender {
    fn new(choices: &mut Choices<'_>) -> Self {
        let (expected, ends) = (Vec::new(), Vec::new());
        let mut sender = Self { outbox: Outbox::new(4096), sent: 0, expected, ends };
        for _ in 0..=choices.below(12) {
            let (length, has) = (choices.below(20), choices.bit());
            let text = vec![b'a'; length];
            let (fd, end) = if has { Some(watched()).unzip() } else { (None, None) };
            let line = [&text[..], b"\n"].concat();
            sender.outbox.push(line, fd.map(Arc::new)).expect("it is short");
            sender.expected.push((text, end.as_ref().map(|end| end.inode)));
            sender.ends.extend(end);
        }
        sender
    }

    /// One `sendmsg`, of the next line or of its beginning.
    fn send(&mut self, socket: &UnixStream, most: usize) {
        let Some((text, fd)) = self.outbox.front() else { return };
        let text = &text[..text.len().min(most)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fd.map(|fd| fd.as_fd()).into_iter().collect();
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "it is room for one");
        }
        let parts = [IoSlice::new(text)];
        let count = sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).expect("room");
        self.outbox.sent(count);
        self.sent += count;
    }
}

/// One `recvmsg`, and the lines that are whole by then.
fn take(
    socket: &UnixStream,
    receiver: &mut Receiver,
    expected: &[(Vec<u8>, Option<u64>)],
) -> usize {
    match receive(socket, receiver).expect("an open socket") {
        Received::Bytes(_) | Received::WouldBlock => {}
        Received::Last(_) => {
            let more = receive(socket, receiver).expect("an open socket");
            assert_eq!(more, Received::WouldBlock, "it was not the last");
        }
        Received::Closed => panic!("nobody closed it"),
    }
    let mut got = 0;
    while let Some(line) = receiver.next_line().expect("short lines") {
        let (text, descriptor) = &expected[got];
        assert_eq!(&line, text);
        if let Some(own) = descriptor {
            let fd = receiver.claim().expect("it came with one");
            assert_eq!(inode(fd), *own, "it is another line's");
        }
        got += 1;
    }
    got
}
