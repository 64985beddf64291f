//! The way out to one worker: one handle in flight, everything else behind it.

use std::{collections::VecDeque, os::fd::OwnedFd, sync::Arc};

use super::session::Refused;
use crate::wire::lines::{MOST_DESCRIPTORS, MOST_LINES, Outbox, QueueFull};

/// Node sends a handle that did not arrive three times more.
const SENDS: u32 = 4;

/// After a handle nothing but the answers to the worker's own handles goes out until the worker has
/// said whether it arrived: Node's worker remembers one descriptor at a time, and would deliver one
/// connection under the name of the next.
#[derive(Debug)]
pub(super) struct Lane {
    outbox: Outbox,
    held: VecDeque<Frame>,
    held_bytes: usize,
    held_handles: usize,
    in_flight: Option<Handle>,
    limit: usize,
}

#[derive(Debug)]
enum Frame {
    Plain(Arc<[u8]>),
    Handle(Handle),
}

#[derive(Debug)]
struct Handle {
    text: Arc<[u8]>,
    fd: Arc<OwnedFd>,
    what: Refused,
    sends: u32,
}

impl Lane {
    pub(super) const fn new(limit: usize) -> Self {
        let outbox = Outbox::new(usize::MAX);
        Self {
            outbox,
            held: VecDeque::new(),
            held_bytes: 0,
            held_handles: 0,
            in_flight: None,
            limit,
        }
    }

    pub(super) const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    pub(super) const fn bytes(&self) -> usize {
        self.outbox.bytes() + self.held_bytes
    }

    pub(super) const fn waits(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn push(&mut self, text: Vec<u8>) -> Result<(), QueueFull> {
        self.admit(text.len())?;
        self.dispatch(Frame::Plain(text.into()))
    }

    pub(super) fn push_handle(
        &mut self,
        text: Vec<u8>,
        fd: Arc<OwnedFd>,
        what: Refused,
    ) -> Result<(), QueueFull> {
        self.admit(text.len())?;
        if self.held_handles == MOST_DESCRIPTORS {
            return Err(QueueFull::Descriptors);
        }
        self.dispatch(Frame::Handle(Handle { text: text.into(), fd, what, sends: 0 }))
    }

    /// For the answers to the worker's own handles, which may not wait.
    pub(super) fn push_at_once(&mut self, text: Vec<u8>) -> Result<(), QueueFull> {
        self.admit(text.len())?;
        self.outbox.push(text, None)
    }

    /// The worker has the handle; gives what it was.
    pub(super) fn arrived(&mut self) -> Result<Option<Refused>, QueueFull> {
        let what = self.in_flight.take().map(|handle| handle.what);
        self.release()?;
        Ok(what)
    }

    /// The worker has not got it: it is sent again, or given up and named.
    pub(super) fn missing(&mut self) -> Result<Option<Refused>, QueueFull> {
        let Some(handle) = self.in_flight.take() else { return Ok(None) };
        if handle.sends < SENDS {
            // A worker can say so without reading.
            self.admit(handle.text.len())?;
            self.send(handle)?;
            return Ok(None);
        }
        self.release()?;
        Ok(Some(handle.what))
    }

    fn admit(&self, more: usize) -> Result<(), QueueFull> {
        if self.bytes() + more > self.limit {
            return Err(QueueFull::Bytes { waiting: self.bytes(), limit: self.limit });
        }
        if self.outbox.lines() + self.held.len() >= MOST_LINES {
            return Err(QueueFull::Lines);
        }
        Ok(())
    }

    fn dispatch(&mut self, frame: Frame) -> Result<(), QueueFull> {
        if self.waits() {
            self.held_bytes += frame.len();
            self.held_handles += usize::from(frame.is_handle());
            self.held.push_back(frame);
            return Ok(());
        }
        match frame {
            Frame::Plain(text) => self.outbox.push(text, None),
            Frame::Handle(handle) => self.send(handle),
        }
    }

    fn send(&mut self, mut handle: Handle) -> Result<(), QueueFull> {
        handle.sends += 1;
        self.outbox.push(Arc::clone(&handle.text), Some(Arc::clone(&handle.fd)))?;
        self.in_flight = Some(handle);
        Ok(())
    }

    /// Lets go what was held, up to and including the next handle.
    fn release(&mut self) -> Result<(), QueueFull> {
        while !self.waits()
            && let Some(frame) = self.held.pop_front()
        {
            self.held_bytes -= frame.len();
            self.held_handles -= usize::from(frame.is_handle());
            self.dispatch(frame)?;
        }
        Ok(())
    }
}

impl Frame {
    const fn is_handle(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Handle(_) => true,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Handle(handle) => handle.text.len(),
        }
    }
}
