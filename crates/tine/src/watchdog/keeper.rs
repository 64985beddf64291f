//! The manager's end of the line to its watchdog.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::process::Pid;

use super::{
    journal::{self, Journal},
    message::{Ended, Word},
    packet::{self, LARGEST_VALUE, Wait},
    store::{Item, Store},
};
use crate::daemon::say;

/// What does not fit into the socket at once is sent by a thread.
const STACK: usize = 64 << 10;

/// Has the watchdog keep what the next manager needs. Clones are the same one.
///
/// Nobody waits: what the socket does not take at once goes to a thread, and what comes later goes
/// behind it. It keeps everything itself as well, for the case that the watchdog is killed.
#[derive(Clone, Debug)]
pub struct Keeper {
    line: Arc<OwnedFd>,
    /// A lock, for once: held to copy a few kilobytes, and never while the socket is waited for, so
    /// that whoever has something kept gets it into the order in which it happened, without a task
    /// in between that might be killed with the message.
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

#[derive(Debug, Default)]
struct Inner {
    store: Store,
    /// Where the values are written down as well.
    journal: Option<Journal>,
    waiting: VecDeque<Parcel>,
    /// A thread sends what waits.
    at_work: bool,
}

#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Parcel {
    fn send(&self, line: &OwnedFd, wait: Wait) -> io::Result<()> {
        let lent: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        packet::send(line, &self.bytes, &lent, wait)
    }
}

impl Keeper {
    /// For a manager that begins with this in the watchdog's store.
    #[must_use]
    pub fn new(line: OwnedFd, store: Store) -> Self {
        let inner = Inner { store, ..Inner::default() };
        Self { line: Arc::new(line), inner: Arc::new((Mutex::new(inner), Condvar::new())) }
    }

    /// A duplicate of where the watchdog's words come from, and its end shows.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors to be had.
    pub fn line(&self) -> io::Result<OwnedFd> {
        self.line.try_clone()
    }

    /// Keeps it, in place of what was there. Descriptors are duplicated.
    pub fn put(&self, key: &str, value: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let (parcel, item) = match (parcel(key, value, descriptors), Item::of(value, descriptors)) {
            (Ok(parcel), Ok(item)) => (parcel, item),
            (Err(error), _) | (_, Err(error)) => {
                return self.put_lent((key, value), descriptors, &error);
            }
        };
        let mut inner = self.lock();
        inner.store.put(key, item);
        if let Some(journal) = &inner.journal {
            journal.put(key, value);
        }
        self.post(&mut inner, parcel);
    }

    /// There are no descriptors for copies: the watchdog gets those that are lent, at once or not at all. Who
    /// becomes the watchdog itself lacks it then.
    fn put_lent(
        &self,
        (key, value): (&str, &[u8]),
        descriptors: &[BorrowedFd<'_>],
        error: &io::Error,
    ) {
        if value.len() <= LARGEST_VALUE {
            let mut inner = self.lock();
            let bytes = Word::Put { key, value }.encode();
            // Nothing overtakes what waits.
            if !inner.at_work && packet::send(&self.line, &bytes, descriptors, Wait::Never).is_ok()
            {
                inner.store.take(key);
                if let Some(journal) = &inner.journal {
                    journal.put(key, value);
                }
                return;
            }
        }
        // Without it the next manager replaces what this one cannot hand over.
        say(&format!("`{key}` cannot be kept for a next manager: {error}"));
        self.forget(key);
    }

    /// Says it, with these descriptors, if that can be done at once.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where something waits, `EPIPE` where the watchdog has gone.
    pub(super) fn say_now(&self, word: Word<'_>, lent: &[BorrowedFd<'_>]) -> io::Result<()> {
        let inner = self.lock();
        // Nothing overtakes what waits.
        if inner.at_work {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        packet::send(&self.line, &word.encode(), lent, Wait::Never)
    }

    /// Keeps it no longer.
    pub fn forget(&self, key: &str) {
        let mut inner = self.lock();
        if inner.store.take(key).is_some() {
            if let Some(journal) = &inner.journal {
                journal.forget(key);
            }
            self.post(&mut inner, plain(Word::Forget { key }));
        }
    }

    /// From now on writes down all values there, for a manager that comes when the watchdog was killed
    /// together with this process. Without that file such a one starts everything anew.
    pub fn write_down(&self, path: PathBuf) {
        let keeper = self.clone();
        match Journal::begin(path, move || journal::written(&keeper.lock().store)) {
            Ok(journal) => self.lock().journal = Some(journal),
            Err(error) => say(&format!("what is kept cannot be written down: {error}")),
        }
    }

    /// Nothing is to be found there any more.
    pub fn end_journal(&self) {
        let journal = self.lock().journal.take();
        if let Some(journal) = journal {
            journal.end();
        }
    }

    /// It is known how this child of the watchdog has ended.
    pub fn heard_of(&self, ended: Pid) {
        let key = Ended::key(ended);
        let mut inner = self.lock();
        inner.store.take(&key);
        // It was the watchdog that put it there.
        self.post(&mut inner, plain(Word::Forget { key: &key }));
    }

    /// Keeps nothing any more whose key begins so.
    pub fn forget_below(&self, prefix: &str) {
        let keys: Vec<String> = self.lock().store.below(prefix).cloned().collect();
        for key in &keys {
            self.forget(key);
        }
    }

    /// Has the watchdog go on as this program, and fork a manager from that, when this process has
    /// ended. Returns when it knows.
    pub fn become_program(&self, program: &Path) {
        let mut inner = self.lock();
        self.post(&mut inner, plain(Word::Become { program }));
        let is_busy = |inner: &mut Inner| inner.at_work;
        drop(self.inner.1.wait_while(inner, is_busy));
    }

    /// Everything that is kept, for this process to be the next watchdog.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors to be had.
    pub fn copies(&self) -> io::Result<Store> {
        self.lock().store.try_clone()
    }

    /// A watchdog that has gone needs nothing any more: the copies are what counts.
    fn post(&self, inner: &mut MutexGuard<'_, Inner>, parcel: Parcel) {
        if inner.at_work {
            return inner.waiting.push_back(parcel);
        }
        let sent = parcel.send(&self.line, Wait::Never);
        if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            inner.waiting.push_back(parcel);
            inner.at_work = true;
            self.send_later();
        }
    }

    fn send_later(&self) {
        let keeper = self.clone();
        let work = move || keeper.send_what_waits();
        let thread = thread::Builder::new().name("keeper".to_owned()).stack_size(STACK);
        if let Err(error) = thread.spawn(work) {
            say(&format!("the watchdog cannot be told what to keep: {error}"));
        }
    }

    fn send_what_waits(&self) {
        loop {
            let mut inner = self.lock();
            let Some(parcel) = inner.waiting.pop_front() else {
                inner.at_work = false;
                self.inner.1.notify_all();
                return;
            };
            drop(inner);
            // A watchdog that has gone takes nothing, and nothing is waited for.
            let _ = parcel.send(&self.line, Wait::AsLongAsItTakes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plain(word: Word<'_>) -> Parcel {
    Parcel { bytes: word.encode(), descriptors: Vec::new() }
}

fn parcel(key: &str, value: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Parcel> {
    let copies = Item::of(&[], descriptors)?.descriptors;
    if value.len() <= LARGEST_VALUE {
        return Ok(Parcel { bytes: Word::Put { key, value }.encode(), descriptors: copies });
    }
    let file = packet::file_of(value)?;
    let descriptors = [file].into_iter().chain(copies).collect();
    Ok(Parcel { bytes: Word::PutLarge { key }.encode(), descriptors })
}

#[cfg(test)]
mod tests {
    use super::{super::packet::Packet, *};

    fn next(line: &OwnedFd, room: &mut [u8]) -> Packet {
        packet::receive(line, room, Wait::AsLongAsItTakes).expect("a packet").expect("a packet")
    }

    #[test]
    fn what_does_not_fit_at_once_comes_later_and_in_order() {
        let (line, other) = packet::pair().expect("a pair");
        let keeper = Keeper::new(line, Store::default());
        let value = vec![b'x'; LARGEST_VALUE];
        for number in 0..100 {
            keeper.put(&number.to_string(), &value, &[]);
        }
        keeper.forget("99");
        let mut room = packet::buffer();
        for number in 0..100 {
            let packet = next(&other, &mut room);
            let key = number.to_string();
            let expected = Word::Put { key: &key, value: &value };
            assert_eq!(Word::decode(&room[..packet.length]), Ok(expected));
        }
        let packet = next(&other, &mut room);
        assert_eq!(Word::decode(&room[..packet.length]), Ok(Word::Forget { key: "99" }));
        assert_eq!(keeper.copies().expect("copies").count(), 99);
    }

    #[test]
    fn a_large_value_comes_in_a_file_before_the_descriptors() {
        let (line, other) = packet::pair().expect("a pair");
        let keeper = Keeper::new(line, Store::default());
        let value = vec![b'x'; LARGEST_VALUE + 1];
        let held = packet::file_of(b"held").expect("a file");
        keeper.put("large", &value, &[held.as_fd()]);
        let mut room = packet::buffer();
        let packet = next(&other, &mut room);
        assert_eq!(Word::decode(&room[..packet.length]), Ok(Word::PutLarge { key: "large" }));
        let files = packet.descriptors.into_iter().map(packet::read_file);
        let files: io::Result<Vec<_>> = files.collect();
        assert_eq!(files.expect("files"), [value, b"held".to_vec()]);
    }

    #[test]
    fn without_descriptors_for_copies_those_that_are_lent_are_sent_unless_something_waits() {
        let (line, other) = packet::pair().expect("a pair");
        let keeper = Keeper::new(line, Store::default());
        let lacks = io::Error::from(rustix::io::Errno::MFILE);
        let held = packet::file_of(b"held").expect("a file");
        keeper.put_lent(("key", b"value"), &[held.as_fd()], &lacks);
        let mut room = packet::buffer();
        let packet = next(&other, &mut room);
        let expected = Word::Put { key: "key", value: b"value" };
        assert_eq!(Word::decode(&room[..packet.length]), Ok(expected));
        let files = packet.descriptors.into_iter().map(packet::read_file);
        assert_eq!(files.collect::<io::Result<Vec<_>>>().expect("files"), [b"held".to_vec()]);
        keeper.put("old", b"older", &[]);
        keeper.lock().at_work = true;
        keeper.put_lent(("old", b"new"), &[], &lacks);
        assert_eq!(keeper.copies().expect("copies").count(), 0, "it is forgotten");
    }

    #[test]
    fn without_a_watchdog_everything_is_still_kept() {
        let (line, other) = packet::pair().expect("a pair");
        drop(other);
        let keeper = Keeper::new(line, Store::default());
        keeper.put("a/1", b"one", &[]);
        keeper.put("a/2", b"two", &[]);
        keeper.put("b", b"three", &[]);
        keeper.forget_below("a/");
        let copies = keeper.copies().expect("copies");
        assert_eq!(copies.items().map(|(key, _)| &**key).collect::<Vec<_>>(), ["b"]);
    }
}
