//! Packets with descriptors, over a socket that keeps them apart.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        sendmsg, socketpair, sockopt,
    },
};

/// A value that is longer goes in a file of its own.
pub(super) const LARGEST_VALUE: usize = 64 << 10;
/// With letter and key.
const LARGEST: usize = LARGEST_VALUE + (4 << 10);
/// More come with no packet; the kernel's own limit is 253.
const MOST_DESCRIPTORS: usize = 64;
/// So much may be under way, if the kernel allows it.
const ROOM: usize = 1 << 20;

/// The watchdog's end and the manager's.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    for end in [&one, &other] {
        sockopt::set_socket_send_buffer_size(end, ROOM)?;
    }
    Ok((one, other))
}

/// Whether to wait for room, or for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Never,
    AsLongAsItTakes,
}

pub(super) fn send(
    to: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("more descriptors than one packet can have"));
    }
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, wait == Wait::Never);
    let packet = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| sendmsg(&to, &packet, &mut control, flags))?;
    Ok(())
}

/// A packet that came.
#[derive(Debug)]
pub(super) struct Packet {
    /// So much of the buffer.
    pub(super) length: usize,
    pub(super) descriptors: Vec<OwnedFd>,
    /// Not all descriptors could be taken.
    pub(super) is_cut: bool,
}

/// Room for one packet.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; LARGEST]
}

/// The next packet; `None`: nobody is left who could send one.
///
/// # Errors
///
/// `EAGAIN` where none is there and none is waited for.
pub(super) fn receive(from: impl AsFd, into: &mut [u8], wait: Wait) -> io::Result<Option<Packet>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, wait == Wait::Never);
    let received = loop {
        match recvmsg(&from, &mut [IoSliceMut::new(into)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            received => break received?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    let is_cut = received.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
    Ok(Some(Packet { length: received.bytes, descriptors, is_cut }))
}

/// A file in memory that holds this.
pub(super) fn file_of(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("tine", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// What it holds.
pub(super) fn read_file(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(file);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_apart_and_descriptors_come_with_them() {
        let (one, other) = pair().expect("a pair");
        let held = file_of(b"held").expect("a file");
        send(&one, b"first", &[held.as_fd(), held.as_fd()], Wait::Never).expect("room");
        send(&one, b"second", &[], Wait::Never).expect("room");
        drop(one);
        let mut room = buffer();
        let first = receive(&other, &mut room, Wait::Never).expect("it is there").expect("one");
        assert_eq!((&room[..first.length], first.descriptors.len()), (&b"first"[..], 2));
        let bytes = first.descriptors.into_iter().next().map(read_file).expect("one");
        assert_eq!(bytes.expect("a file"), b"held");
        let second = receive(&other, &mut room, Wait::Never).expect("it is there").expect("one");
        assert_eq!(&room[..second.length], b"second");
        assert!(receive(&other, &mut room, Wait::Never).expect("the end").is_none());
    }

    #[test]
    fn a_socket_that_is_full_is_not_waited_for() {
        let (one, _other) = pair().expect("a pair");
        let packet = vec![b'x'; LARGEST_VALUE];
        let error = (0..1000).find_map(|_| send(&one, &packet, &[], Wait::Never).err());
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
