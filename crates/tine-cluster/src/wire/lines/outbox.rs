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
    limit: usize,
}

#[derive(Debug)]
struct Frame {
    text: Arc<[u8]>,
    sent: usize,
    fd: Option<Arc<OwnedFd>>,
}

/// The peer does not read, and what waits for it has come to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{waiting} bytes wait for the peer to read, and the limit is {limit}")]
pub struct QueueFull {
    /// Bytes that wait already.
    pub waiting: usize,
    /// The limit, in bytes.
    pub limit: usize,
}

impl Outbox {
    /// An empty one that takes up to `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limit }
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
            return Err(QueueFull { waiting: self.bytes, limit: self.limit });
        }
        self.bytes += text.len();
        self.frames.push_back(Frame { text, sent: 0, fd });
        Ok(())
    }

    /// Bytes not yet sent.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
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
        if count > 0 {
            frame.fd = None;
        }
        if frame.sent == frame.text.len() {
            self.frames.pop_front();
        }
    }
}
