//! Lines, descriptors, and the two system calls, on real socket pairs.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    sync::Arc,
};

use proptest::prelude::*;
use tine_cluster::wire::lines::{
    Flushed, Limits, MOST_DESCRIPTORS, Outbox, QueueFull, Received, Receiver, Unreadable, flush,
    receive,
};

const LIMITS: Limits = Limits { line: 1024, descriptors: 16 };

/// A descriptor that can be told from others: by the inode of its pipe.
fn descriptor() -> (OwnedFd, u64) {
    let (reader, _) = std::io::pipe().unwrap();
    let fd = OwnedFd::from(reader);
    let inode = inode(&fd);
    (fd, inode)
}

fn inode(fd: &OwnedFd) -> u64 {
    std::fs::File::from(fd.try_clone().unwrap()).metadata().unwrap().ino()
}

fn claimed(receiver: &mut Receiver) -> Option<u64> {
    receiver.claim().as_ref().map(inode)
}

fn line(receiver: &mut Receiver) -> Option<String> {
    receiver.next_line().unwrap().map(|line| String::from_utf8(line).unwrap())
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

#[test]
fn bytes_one_by_one_make_the_same_line() {
    let mut receiver = Receiver::new(LIMITS);
    for byte in b"{\"a\":1}" {
        receiver.push(&[*byte], [], false);
        assert_eq!(line(&mut receiver), None);
    }
    receiver.push(b"\n", [], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("{\"a\":1}"));
    assert_eq!(line(&mut receiver), None);
}

#[test]
fn two_lines_in_one_read_are_two_lines() {
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"one\n\nthree\nfo", [], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("one"));
    assert_eq!(line(&mut receiver).as_deref(), Some(""));
    assert_eq!(line(&mut receiver).as_deref(), Some("three"));
    assert_eq!(line(&mut receiver), None);
    assert_eq!(receiver.unfinished(), 2);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_lines(
        lines in prop::collection::vec("[a-z]{0,20}", 0..20),
        cuts in prop::collection::vec(1..30_usize, 1..50),
    ) {
        let stream = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
        let mut receiver = Receiver::new(LIMITS);
        let mut rest = stream.as_bytes();
        let mut got = Vec::new();
        for &cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            receiver.push(now, [], false);
            got.extend(std::iter::from_fn(|| line(&mut receiver)));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, lines);
    }
}

#[test]
fn a_descriptor_that_came_before_its_line_is_kept_for_it() {
    let (fd, inode) = descriptor();
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"plain\n", [fd], false);
    receiver.push(b"handle\n", [], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("plain"));
    assert_eq!(line(&mut receiver).as_deref(), Some("handle"));
    assert_eq!(claimed(&mut receiver), Some(inode));
}

#[test]
fn a_descriptor_that_came_after_its_line_does_not_shift_those_that_follow() {
    let ((late, _), (right, inode)) = (descriptor(), descriptor());
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"first\n", [], false);
    receiver.push(b"x\n", [late], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("first"));
    assert_eq!(claimed(&mut receiver), None);
    assert_eq!(line(&mut receiver).as_deref(), Some("x"));
    receiver.push(b"second\n", [right], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("second"));
    assert_eq!(claimed(&mut receiver), Some(inode));
    assert_eq!(receiver.unclaimed(), 0);
}

#[test]
fn lines_that_the_kernel_glued_keep_their_own_descriptors() {
    let ((one, first), (two, second)) = (descriptor(), descriptor());
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"half of ", [one], false);
    receiver.push(b"one\ntwo\n", [two], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("half of one"));
    assert_eq!(claimed(&mut receiver), Some(first));
    assert_eq!(line(&mut receiver).as_deref(), Some("two"));
    assert_eq!(claimed(&mut receiver), Some(second));
}

#[test]
fn a_descriptor_that_the_kernel_could_not_install_is_not_replaced_by_the_next() {
    let (two, second) = descriptor();
    let mut receiver = Receiver::new(LIMITS);
    receiver.push(b"half of ", [], true);
    receiver.push(b"one\ntwo\n", [two], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("half of one"));
    assert_eq!(claimed(&mut receiver), None);
    assert_eq!(line(&mut receiver).as_deref(), Some("two"));
    assert_eq!(claimed(&mut receiver), Some(second));
}

#[test]
fn more_descriptors_than_may_wait_are_closed_and_end_the_stream() {
    let mut receiver = Receiver::new(Limits { line: 1024, descriptors: 2 });
    let mut writers = Vec::new();
    for _ in 0..3 {
        let (reader, writer) = std::io::pipe().unwrap();
        receiver.push(b"x\n", [reader.into()], false);
        writers.push(writer);
    }
    assert_eq!(receiver.unclaimed(), 2);
    let broken: Vec<bool> = writers.iter_mut().map(|w| w.write_all(b"x").is_err()).collect();
    assert_eq!(broken, [false, false, true], "what came beyond was closed");
    let error = receiver.next_line().unwrap_err();
    assert_eq!(error, Unreadable::TooManyDescriptors { limit: 2 });
}

#[test]
fn a_hundred_megabytes_without_a_newline_come_to_the_limit() {
    let limit = 1 << 20;
    let mut receiver = Receiver::new(Limits { line: limit, descriptors: 1 });
    let portion = vec![b'x'; 64 * 1024];
    let mut fed = 0;
    let error = loop {
        assert!(fed < 100 << 20, "it was never refused");
        receiver.push(&portion, [], false);
        fed += portion.len();
        if let Err(error) = receiver.next_line() {
            break error;
        }
    };
    assert_eq!(error, Unreadable::LineTooLong { limit });
    assert!(fed <= limit + portion.len(), "no more than one read beyond the limit is held");
}

#[test]
fn a_line_of_exactly_the_limit_passes() {
    let mut receiver = Receiver::new(Limits { line: 4, descriptors: 1 });
    receiver.push(b"four\nfives\n", [], false);
    assert_eq!(line(&mut receiver).as_deref(), Some("four"));
    assert_eq!(receiver.next_line(), Err(Unreadable::LineTooLong { limit: 4 }));
}

#[test]
fn a_partial_write_sends_the_descriptor_once_and_the_rest_without_it() {
    let (ours, theirs) = pair();
    let (fd, inode) = descriptor();
    let long = [vec![b'x'; 3 << 20], b"\n".to_vec()].concat();
    let mut outbox = Outbox::new(usize::MAX);
    outbox.push(long.clone(), Some(Arc::new(fd))).unwrap();
    outbox.push(*b"short\n", None).unwrap();
    let mut receiver = Receiver::new(Limits { line: 4 << 20, descriptors: 16 });
    assert_eq!(flush(&ours, &mut outbox).unwrap(), Flushed::WouldBlock, "3 MiB do not fit");
    assert!(outbox.bytes() < long.len() + 6);
    assert!(outbox.front().unwrap().1.is_none(), "the descriptor has gone");
    let mut lines = Vec::new();
    while lines.len() < 2 {
        match receive(&theirs, &mut receiver).unwrap() {
            Received::Bytes(_) | Received::Last(_) => {}
            Received::WouldBlock => drop(flush(&ours, &mut outbox).unwrap()),
            Received::Closed => panic!("nobody closed it"),
        }
        if let Some(line) = receiver.next_line().unwrap() {
            if lines.is_empty() {
                assert_eq!(receiver.unclaimed(), 1, "it came once");
                assert_eq!(claimed(&mut receiver), Some(inode));
            }
            lines.push(line);
        }
    }
    assert_eq!(lines[0].len(), 3 << 20);
    assert_eq!(lines[1], b"short");
    assert!(outbox.is_empty());
}

#[test]
fn a_received_descriptor_is_closed_on_exec() {
    let (ours, theirs) = pair();
    let mut outbox = Outbox::new(1024);
    outbox.push(*b"take\n", Some(Arc::new(descriptor().0))).unwrap();
    assert_eq!(flush(&ours, &mut outbox).unwrap(), Flushed::All);
    let mut receiver = Receiver::new(LIMITS);
    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::Bytes(5));
    assert_eq!(line(&mut receiver).as_deref(), Some("take"));
    let fd = receiver.claim().unwrap();
    let flags = rustix::io::fcntl_getfd(fd.as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn an_empty_channel_would_block_and_a_closed_one_is_closed() {
    let (ours, theirs) = pair();
    let mut receiver = Receiver::new(LIMITS);
    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::WouldBlock);
    (&theirs).write_all(b"unread").unwrap();
    (&ours).write_all(b"last words\n").unwrap();
    drop(ours);
    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::Last(11));
    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::Closed);
    let mut outbox = Outbox::new(1024);
    outbox.push(*b"too late\n", None).unwrap();
    assert_eq!(flush(&theirs, &mut outbox).unwrap(), Flushed::Closed);
}

#[test]
fn an_outbox_takes_so_many_descriptors_and_no_more() {
    let mut outbox = Outbox::new(usize::MAX);
    let (fd, _) = descriptor();
    let fd = Arc::new(fd);
    for _ in 0..MOST_DESCRIPTORS {
        outbox.push(*b"x\n", Some(Arc::clone(&fd))).unwrap();
    }
    assert_eq!(outbox.push(*b"x\n", Some(Arc::clone(&fd))), Err(QueueFull::Descriptors));
    outbox.push(*b"plain\n", None).unwrap();
    outbox.sent(1);
    outbox.push(*b"x\n", Some(fd)).unwrap();
}

#[test]
fn an_outbox_at_its_limit_refuses_and_keeps_what_it_has() {
    let mut outbox = Outbox::new(10);
    outbox.push(*b"12345678", None).unwrap();
    let error = outbox.push(*b"345", None).unwrap_err();
    assert_eq!(error.to_string(), "8 bytes wait for the peer to read, and the limit is 10");
    let (ours, mut theirs) = pair();
    assert_eq!(flush(&ours, &mut outbox).unwrap(), Flushed::All);
    drop(ours);
    let mut text = String::new();
    theirs.read_to_string(&mut text).unwrap();
    assert_eq!(text, "12345678");
}

#[test]
fn a_short_read_was_the_last_unless_a_descriptor_ended_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut receiver = Receiver::new(LIMITS);
    let mut outbox = Outbox::new(1 << 20);
    outbox.push(&b"one\n"[..], Some(Arc::new(descriptor().0))).unwrap();
    outbox.push(&b"two\n"[..], None).unwrap();
    assert_eq!(flush(&ours, &mut outbox).unwrap(), Flushed::All);

    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::Bytes(4));
    assert_eq!(receive(&theirs, &mut receiver).unwrap(), Received::Last(4));
}

#[test]
fn a_peer_that_says_much_is_read_in_larger_pieces() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&ours).write_all(&vec![b'x'; 100_000]).unwrap();
    let mut receiver = Receiver::new(Limits { line: 200_000, descriptors: 1 });

    let Received::Bytes(first) = receive(&theirs, &mut receiver).unwrap() else { panic!() };
    let Received::Bytes(second) = receive(&theirs, &mut receiver).unwrap() else { panic!() };
    assert!(second > first, "{first} bytes, then {second}");
}
