//! What waits to be sent.

use std::{collections::VecDeque, os::fd::OwnedFd, sync::Arc};

use thiserror::Error;

/// Frames in the order in which they go out, some with a descriptor.
///
/// A descriptor is sent once, with the first byte of its frame, and let go of as soon as that byte
/// has gone; whoever may need it again keeps a clone of the [`Arc`].
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    bytes: usize,
    descriptors: usize,
    limit: usize,
}

#[derive(Debug)]
struct Frame {
    text: Arc<[u8]>,
    sent: usize,
    fd: Option<Arc<OwnedFd>>,
}

/// So many descriptors may wait for one peer, whatever its limit in bytes: they are worth more than
/// their lines are long, for the process that holds them may have few.
pub const MOST_DESCRIPTORS: usize = 1024;

/// So many lines may wait for one peer: the shortest are worth more than they are long.
pub const MOST_LINES: usize = 8192;

/// The peer does not read, and what waits for it has come to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueFull {
    /// In bytes.
    #[error("{waiting} bytes wait for the peer to read, and the limit is {limit}")]
    Bytes {
        /// Bytes that wait already.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// In lines.
    #[error("{MOST_LINES} lines wait for the peer to read, and no more may")]
    Lines,
    /// In descriptors.
    #[error("{MOST_DESCRIPTORS} descriptors wait for the peer to read, and no more may")]
    Descriptors,
}

impl Outbox {
    /// An empty one that takes up to `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, descriptors: 0, limit }
    }

    /// Appends a frame, to be followed by nothing that is not a frame.
    ///
    /// # Errors
    ///
    /// When the limit would be exceeded; nothing was appended then.
    pub fn push(
        &mut self,
        text: impl Into<Arc<[u8]>>,
        fd: Option<Arc<OwnedFd>>,
    ) -> Result<(), QueueFull> {
        let text = text.into();
        if self.bytes + text.len() > self.limit {
            return Err(QueueFull::Bytes { waiting: self.bytes, limit: self.limit });
        }
        if self.frames.len() == MOST_LINES {
            return Err(QueueFull::Lines);
        }
        if fd.is_some() && self.descriptors == MOST_DESCRIPTORS {
            return Err(QueueFull::Descriptors);
        }
        self.descriptors += usize::from(fd.is_some());
        self.bytes += text.len();
        self.frames.push_back(Frame { text, sent: 0, fd });
        Ok(())
    }

    /// Bytes not yet sent.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lines not yet sent to their ends.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.frames.len()
    }

    /// Nothing is left to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What the next `sendmsg` should carry.
    #[must_use]
    pub fn front(&self) -> Option<(&[u8], Option<&Arc<OwnedFd>>)> {
        let frame = self.frames.front()?;
        Some((&frame.text[frame.sent..], frame.fd.as_ref()))
    }

    /// Notes that `count` bytes of [`Self::front`] have gone. With the first of them its descriptor
    /// has gone, and must not go again with the rest.
    pub fn sent(&mut self, count: usize) {
        let Some(frame) = self.frames.front_mut() else { return };
        let count = count.min(frame.text.len() - frame.sent);
        self.bytes -= count;
        frame.sent += count;
        if count > 0 && frame.fd.take().is_some() {
            self.descriptors -= 1;
        }
        if frame.sent == frame.text.len() {
            self.frames.pop_front();
        }
    }
}
