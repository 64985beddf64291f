//! Lines and the descriptors that came with them.
//!
//! A descriptor travels with the first byte of its line, but the kernel may glue: one `recvmsg` can
//! return the end of one line, some whole ones, and the line that the descriptor was sent with (it
//! stops after the data that carried one). So the exact position is lost, and a [`Receiver`]
//! remembers the stretch of bytes that each descriptor arrived with instead. [`Receiver::claim`]
//! takes, for a line that says it has one, the oldest whose stretch overlaps the line; failing that,
//! one that came earlier and that nobody claimed; never one that came later.

mod outbox;
mod socket;

use std::{collections::VecDeque, ops::Range, os::fd::OwnedFd};

use thiserror::Error;

pub use outbox::{MOST_DESCRIPTORS, MOST_LINES, Outbox, QueueFull};
pub use socket::{Flushed, Received, flush, receive};

/// An idle receiver keeps no more than this allocated, in bytes.
const KEEP: usize = 4 * 1024;

/// How much of a wrong line is shown, in characters.
const EXCERPT: usize = 60;

/// What a peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, in bytes without its newline.
    pub line: usize,
    /// How many descriptors may wait for the line that claims them. What comes beyond is closed.
    pub descriptors: usize,
}

/// The stream cannot be read on: its peer exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// A line exceeds [`Limits::line`].
    #[error("a line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More descriptors than [`Limits::descriptors`] have come that no line claims.
    #[error("more than {limit} descriptors have come without a line that claims them")]
    TooManyDescriptors {
        /// The limit.
        limit: usize,
    },
}

/// Cuts a stream into lines and says which descriptor belongs to which.
///
/// It may be fed in any portions: [`Self::push`] what one `recvmsg` returned, then take
/// [`Self::next_line`] until there is none. Dropping it closes the descriptors that nobody claimed.
#[derive(Debug)]
pub struct Receiver {
    limits: Limits,
    buffer: Vec<u8>,
    /// The start of the first line not yet given out, within `buffer`.
    start: usize,
    /// Up to here `buffer` is known to hold no newline after `start`, so that no byte is looked at
    /// twice.
    scanned: usize,
    /// The position of `buffer[0]` in the stream.
    origin: u64,
    arrived: VecDeque<Arrived>,
    /// Where in the stream the line was that `next_line` gave out last.
    line: Range<u64>,
    /// More descriptors have come than may wait.
    overrun: bool,
    /// The last read was as long as it could be.
    expects_much: bool,
}

/// A descriptor, or the hole that one left which the kernel could not give us.
#[derive(Debug)]
struct Arrived {
    /// The bytes that the same `recvmsg` returned.
    with: Range<u64>,
    fd: Option<OwnedFd>,
}

impl Receiver {
    /// A receiver that has seen nothing yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            origin: 0,
            arrived: VecDeque::new(),
            line: 0..0,
            overrun: false,
            expects_much: false,
        }
    }

    /// Takes in what one `recvmsg` returned.
    ///
    /// `lost` is `MSG_CTRUNC`: the kernel had a descriptor that it could not install (the table is
    /// full). A line that finds it lost gets none, instead of the next one's.
    pub fn push(&mut self, bytes: &[u8], fds: impl IntoIterator<Item = OwnedFd>, lost: bool) {
        let from = self.origin + self.buffer.len() as u64;
        let with = from..from + bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        let hole = lost.then_some(None);
        for fd in fds.into_iter().map(Some).chain(hole) {
            if self.arrived.len() == self.limits.descriptors {
                self.overrun = true;
                break;
            }
            self.arrived.push_back(Arrived { with: with.clone(), fd });
        }
    }

    /// Whether the peer said so much last time that a large buffer pays.
    pub(super) const fn expects_much(&self) -> bool {
        self.expects_much
    }

    pub(super) const fn expect_much(&mut self, much: bool) {
        self.expects_much = much;
    }

    /// The next whole line without its newline, if it has arrived.
    ///
    /// # Errors
    ///
    /// When the peer exceeds a limit.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        if self.overrun {
            return Err(Unreadable::TooManyDescriptors { limit: self.limits.descriptors });
        }
        let newline = self.buffer[self.scanned..].iter().position(|&byte| byte == b'\n');
        let end = newline.map_or(self.buffer.len(), |at| self.scanned + at);
        if end - self.start > self.limits.line {
            return Err(Unreadable::LineTooLong { limit: self.limits.line });
        }
        self.scanned = end;
        if newline.is_none() {
            self.compact();
            return Ok(None);
        }
        let text = self.buffer[self.start..end].to_vec();
        self.line = self.origin + self.start as u64..self.origin + end as u64 + 1;
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(text))
    }

    /// The descriptor of the line that [`Self::next_line`] gave out last; `None` when it came
    /// without one. To be called once for each line that says it has one.
    pub fn claim(&mut self) -> Option<OwnedFd> {
        let line = &self.line;
        let overlaps = |one: &Arrived| one.with.start < line.end && one.with.end > line.start;
        let at = match self.arrived.iter().position(overlaps) {
            // Whatever is older belonged to a line that was told it had none.
            Some(at) => {
                self.arrived.drain(..at);
                0
            }
            None => self.arrived.iter().position(|one| one.with.end <= line.start)?,
        };
        self.arrived.remove(at)?.fd
    }

    /// The descriptors that have arrived and that no line has claimed.
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.arrived.iter().filter(|one| one.fd.is_some()).count()
    }

    /// The bytes of the unfinished line.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Forgets the lines given out, and the memory that a long one needed.
    fn compact(&mut self) {
        if self.start == 0 {
            return;
        }
        self.buffer.drain(..self.start);
        self.origin += self.start as u64;
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.shrink_to(KEEP);
    }
}

/// The beginning of a line, fit to be shown to a person.
pub(super) fn excerpt(line: &[u8]) -> String {
    // No character takes more than four bytes.
    let beginning = &line[..line.len().min(4 * EXCERPT)];
    let text = String::from_utf8_lossy(beginning);
    let mut shown: String = text.chars().take(EXCERPT).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}
