//! Waits for descriptors, in the one way that is sound without `unsafe`.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// A descriptor that tokio waits for. It owns it, so the number means the same file as long as tokio
/// knows it.
///
/// # Errors
///
/// When the runtime cannot take it: out of memory or of epoll watches.
#[expect(
    deprecated,
    reason = "unsound only for types whose `AsRawFd` lies or changes; OwnedFd's does neither, and \
              the successor is an unsafe function"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
