//! The two system calls.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

use super::{Outbox, Receiver};

/// What one call reads of a peer that says much, in bytes: as much as libuv does.
const MUCH: usize = 64 * 1024;

/// What one call reads of a peer that says little: some dozens of the usual lines.
const LITTLE: usize = 4 * 1024;

/// Room for descriptors in one call. A peer that keeps the rules sends one.
const ROOM: usize = 32;

/// What became of a [`receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a closed channel is never readable again"]
pub enum Received {
    /// So many bytes went into the receiver. There may be more.
    Bytes(usize),
    /// So many bytes went into the receiver, and nothing is left at the moment.
    Last(usize),
    /// Nothing to read at the moment.
    WouldBlock,
    /// The peer has closed its end, and all it had sent was read.
    Closed,
}

/// What became of a [`flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what would block must be flushed again when the socket is writable"]
pub enum Flushed {
    /// Everything has been sent.
    All,
    /// The socket's buffer is full; the rest is still in the outbox.
    WouldBlock,
    /// The peer has closed its end. What it had sent can still be read.
    Closed,
}

/// `recvmsg(2)` once, into `receiver`; descriptors are `CLOEXEC` from birth.
///
/// Blocks if the socket does. The buffer lives for the call only, so an idle channel costs none.
/// See <https://man7.org/linux/man-pages/man2/recvmsg.2.html>.
///
/// # Errors
///
/// Those of the call. Out of descriptors is not one of them: the kernel then leaves them out, and
/// the line they belong to will find none.
pub fn receive(socket: impl AsFd, receiver: &mut Receiver) -> io::Result<Received> {
    if receiver.expects_much() {
        receive_into(socket, receiver, &mut vec![0; MUCH])
    } else {
        receive_into(socket, receiver, &mut [0; LITTLE])
    }
}

fn receive_into(
    socket: impl AsFd,
    receiver: &mut Receiver,
    buffer: &mut [u8],
) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let room = buffer.len();
    let mut parts = [IoSliceMut::new(buffer)];
    let got = loop {
        match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(got) => break got,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::WouldBlock),
            // The peer closed with some of our lines unread; its own were all delivered before.
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        }
    };
    if got.bytes == 0 {
        return Ok(Received::Closed);
    }
    let lost = got.flags.contains(ReturnFlags::CTRUNC);
    let fds: Vec<OwnedFd> = control.drain().flat_map(rights).collect();
    // The kernel ends a read early for one reason but want of data: a descriptor came with it.
    let more = got.bytes == room || lost || !fds.is_empty();
    receiver.push(&buffer[..got.bytes], fds, lost);
    receiver.expect_much(got.bytes == room);
    Ok(if more { Received::Bytes(got.bytes) } else { Received::Last(got.bytes) })
}

fn rights(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        // Foreign and open-ended: credentials and what the kernel may yet add.
        _ => Vec::new(),
    }
}

/// `sendmsg(2)` until `outbox` is empty or the socket takes no more.
///
/// Blocks if the socket does. Never raises `SIGPIPE`.
/// See <https://man7.org/linux/man-pages/man2/sendmsg.2.html>.
///
/// # Errors
///
/// Those of the call; `ETOOMANYREFS` when this user has more descriptors in flight than its limit of
/// open files.
pub fn flush(socket: impl AsFd, outbox: &mut Outbox) -> io::Result<Flushed> {
    while let Some((text, fd)) = outbox.front() {
        let result = match fd {
            Some(fd) => send_with(&socket, text, &[fd.as_fd()]),
            None => send_with(&socket, text, &[]),
        };
        match result {
            Ok(count) => outbox.sent(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Flushed::WouldBlock),
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(Flushed::Closed),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Flushed::All)
}

fn send_with(socket: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "the space was sized for one descriptor");
    }
    sendmsg(socket, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)
}
