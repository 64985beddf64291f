//! The primary's wish that this worker end.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Says whether this worker is to stop accepting, finish what it has, and exit. Clones say the same.
#[derive(Clone, Debug)]
pub struct Stop(Option<Arc<PipeReader>>);

/// What a wait for either of two things ended with.
pub(super) enum Woken {
    Ready,
    Stop,
}

impl Stop {
    pub(super) const fn never() -> Self {
        Self(None)
    }

    /// A wish that is expressed by dropping the second part.
    pub(super) fn new() -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        Ok((Self(Some(Arc::new(reader))), writer))
    }

    /// Whether the wish has been expressed.
    #[must_use]
    pub fn requested(&self) -> bool {
        let Some(reader) = &self.0 else { return false };
        let mut fds = [PollFd::new(reader, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Sleeps until it is; for ever without a primary.
    pub fn wait(&self) {
        let Some(reader) = &self.0 else {
            loop {
                std::thread::park();
            }
        };
        let mut fds = [PollFd::new(reader, PollFlags::IN)];
        while !poll(&mut fds, None).is_ok_and(|count| count > 0) {}
    }

    /// For the loop of a runtime: readable (hung up) as soon as the wish has been expressed. `None`
    /// without a primary.
    #[must_use]
    pub fn as_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|reader| reader.as_fd())
    }

    /// Sleeps until `socket` is readable or, failing that, the wish has been expressed.
    pub(super) fn or_readable(&self, socket: impl AsFd) -> io::Result<Woken> {
        let mut fds = vec![PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        fds.extend(self.as_descriptor().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        loop {
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => return Ok(Woken::Ready),
                Ok(_) => return Ok(Woken::Stop),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
