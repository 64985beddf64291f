//! Trapped calls that were taken from the kernel, which gives them to nobody else.
//!
//! Whoever has the listener and knows a call can answer it. So each is written down before anything is done
//! about it, in a file in memory that the keeper has too: that costs one system call, and nobody is told. What
//! was answered needs no mark, for the kernel says whether a call still waits.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{pread, pwrite},
};
use tine_linux::seccomp::{Listener, Notification};

/// So many of one worker may wait at once, each in a thread of its own, without that one is forgotten.
const PLACES: u64 = 64;
/// Bytes of a call. All of them are on one page, so that none is written in part.
const LENGTH: usize = 8 * Notification::WORDS;

/// The calls of one worker.
#[derive(Debug)]
pub(super) struct Taken {
    file: OwnedFd,
}

impl Taken {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: memfd_create("tine-calls", MemfdFlags::CLOEXEC)? })
    }

    /// Goes on with the file of another process.
    pub(super) const fn adopt(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Its file, for another process to go on with.
    pub(super) fn into_file(self) -> OwnedFd {
        self.file
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// To be told of every call, with how many were told before it.
    pub(super) fn note(&self, count: u64, call: &Notification) {
        let bytes: Vec<u8> = call.to_words().into_iter().flat_map(u64::to_ne_bytes).collect();
        // There is no room left in memory: it is as if it had not been kept.
        let _ = pwrite(&self.file, &bytes, count % PLACES * LENGTH as u64);
    }

    /// Those that nobody has answered, in the order in which they were made.
    pub(super) fn unanswered(&self, listener: &Listener) -> Vec<Notification> {
        let calls = (0..PLACES).filter_map(|place| self.read(place));
        let calls: BTreeMap<u64, Notification> = calls.map(|call| (call.id(), call)).collect();
        calls.into_values().filter(|call| listener.is_waiting(call)).collect()
    }

    fn read(&self, place: u64) -> Option<Notification> {
        let mut bytes = [0; LENGTH];
        let read = pread(&self.file, &mut bytes, place * LENGTH as u64).ok()?;
        let mut words = [0; Notification::WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        (read == LENGTH).then(|| Notification::from_words(words))?
    }
}
