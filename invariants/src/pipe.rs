//! Descriptors that can be told apart, and whose end is noticed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The other end of a descriptor that was given away.
#[derive(Debug)]
pub(crate) struct Watched {
    writer: OwnedFd,
    /// The file behind it.
    pub(crate) inode: u64,
}

/// A descriptor to be given away.
pub(crate) fn watched() -> (OwnedFd, Watched) {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("descriptors are left");
    let inode = inode(&reader);
    (reader, Watched { writer, inode })
}

/// The file behind a descriptor.
pub(crate) fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).expect("an open descriptor").st_ino
}

impl Watched {
    /// Whether no copy of it is left, in this process or on its way.
    pub(crate) fn is_closed(&self) -> bool {
        let mut one = [PollFd::new(&self.writer, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut one, Some(&at_once)).expect("an open descriptor");
        one[0].revents().contains(PollFlags::ERR)
    }
}
