//! What this process says to its primary.

use std::{
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::event::{EventfdFlags, eventfd};

use crate::wire::{
    lines::{Flushed, Outbox, flush},
    native::QUEUE,
};

/// A message goes into the outbox when no more than this waits there, in bytes. What belongs to the
/// protocol always does.
const ROOM: usize = 64 * 1024;

/// The way out. Whoever speaks writes as much as the socket takes; the rest is the channel's thread's.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// A lock, because several threads say lines, and none may come into the middle of another. Nobody
    /// sleeps while holding it.
    out: Mutex<Out>,
    /// Something has gone.
    moved: Condvar,
    /// Tells the channel's thread that something is left for it.
    wake: OwnedFd,
}

#[derive(Debug)]
struct Out {
    outbox: Outbox,
    /// Bytes that have gone out so far.
    gone: u64,
    closed: bool,
}

impl Outgoing {
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let out = Out { outbox: Outbox::new(QUEUE), gone: 0, closed: false };
        Ok(Self { out: Mutex::new(out), moved: Condvar::new(), wake })
    }

    /// Says a line. Does not wait.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the primary has gone, and when it has not read for four megabytes.
    pub(super) fn say(&self, socket: &UnixStream, line: Vec<u8>) -> io::Result<()> {
        self.put(&mut self.lock(), socket, (line, None))
    }

    /// Says a message: waits until there is room for it, and until it has gone.
    pub(super) fn send(
        &self,
        socket: &UnixStream,
        line: Vec<u8>,
        fd: Option<OwnedFd>,
    ) -> io::Result<()> {
        let mut out = self.lock();
        while out.outbox.bytes() > ROOM && !out.closed {
            out = self.wait(out);
        }
        self.put(&mut out, socket, (line, fd))?;
        let end = out.gone + out.outbox.bytes() as u64;
        while out.gone < end {
            if out.closed {
                return Err(ErrorKind::BrokenPipe.into());
            }
            out = self.wait(out);
        }
        Ok(())
    }

    fn put(
        &self,
        out: &mut Out,
        socket: &UnixStream,
        (line, fd): (Vec<u8>, Option<OwnedFd>),
    ) -> io::Result<()> {
        if out.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        out.outbox.push(line, fd.map(Arc::new)).map_err(io::Error::other)?;
        out.flush(socket);
        if !out.outbox.is_empty() {
            // It cannot be full, for the thread empties it at each turn.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
        if out.closed { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Writes what the socket takes. Whether something is left.
    pub(super) fn goes_on(&self, socket: &UnixStream) -> bool {
        let mut out = self.lock();
        out.flush(socket);
        self.moved.notify_all();
        !out.outbox.is_empty() && !out.closed
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.moved.notify_all();
    }

    /// Readable when something was left for the channel's thread.
    pub(super) fn wake(&self) -> impl AsFd {
        &self.wake
    }

    pub(super) fn woken(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, out: MutexGuard<'a, Out>) -> MutexGuard<'a, Out> {
        self.moved.wait(out).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn flush(&mut self, socket: &UnixStream) {
        let before = self.outbox.bytes();
        match flush(socket, &mut self.outbox) {
            Ok(Flushed::All | Flushed::WouldBlock) => {}
            Ok(Flushed::Closed) | Err(_) => self.closed = true,
        }
        self.gone += (before - self.outbox.bytes()) as u64;
    }
}
