//! The watchdog looks into workers for a manager that may not: it is an ancestor of them all.
//!
//! ```text
//!   manager ──d, m: with one end of a pair──▶ watchdog       over the line, as everything
//!      ▲                                         │
//!      └── errno, bytes, descriptor ◀────────────┘           over the pair, once
//! ```
//!
//! Each question has a pair of its own, so that a late answer goes nowhere, and nobody waits in a row.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Pid,
};
use tine_cluster::primary::Reach;
use tine_linux::{foreign, process::Process};

use super::{
    Keeper,
    message::Word,
    packet::{self, Wait},
};

/// A watchdog that runs answers in microseconds.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// Before what was asked for.
const ERRNO: usize = size_of::<i32>();
/// Why an answer is none, where the kernel has given no number.
const UNKNOWN: i32 = rustix::io::Errno::IO.raw_os_error();

impl Reach for Keeper {
    fn duplicate(&self, of: &Process, number: i32) -> io::Result<OwnedFd> {
        let answer = ask(self, Word::Duplicate { number }, &[of.as_fd()])?;
        answer.descriptor.ok_or_else(|| io::Error::other("the watchdog sent no descriptor"))
    }

    fn read_memory(&self, of: Pid, address: u64, into: &mut [u8]) -> io::Result<()> {
        let length = u16::try_from(into.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let answer = ask(self, Word::Memory { thread: of, address, length }, &[])?;
        if answer.bytes.len() != into.len() {
            return Err(io::Error::other("the watchdog sent less memory than was asked for"));
        }
        into.copy_from_slice(&answer.bytes);
        Ok(())
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

fn ask(keeper: &Keeper, word: Word<'_>, lent: &[BorrowedFd<'_>]) -> io::Result<Answer> {
    let (own, other) = packet::pair()?;
    let mut descriptors = vec![other.as_fd()];
    descriptors.extend_from_slice(lent);
    keeper.say_now(word, &descriptors)?;
    // The watchdog has the only one, so that its end shows.
    drop(other);
    if poll(&mut [PollFd::new(&own, PollFlags::IN)], Some(&PATIENCE))? == 0 {
        return Err(ErrorKind::TimedOut.into());
    }
    receive(&own)
}

fn receive(from: &OwnedFd) -> io::Result<Answer> {
    let mut room = packet::buffer();
    let packet = packet::receive(from, &mut room, Wait::Never)?.ok_or(ErrorKind::BrokenPipe)?;
    let (errno, bytes) = room[..packet.length]
        .split_first_chunk::<ERRNO>()
        .ok_or_else(|| io::Error::other("the watchdog's answer cannot be understood"))?;
    match i32::from_ne_bytes(*errno) {
        0 => {
            Ok(Answer { bytes: bytes.to_vec(), descriptor: packet.descriptors.into_iter().next() })
        }
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// What the watchdog does for [`Word::Duplicate`]. Who asked and has gone meanwhile needs no answer.
pub(super) fn duplicate(number: i32, descriptors: &[OwnedFd]) {
    if let [to, process] = descriptors {
        let found = foreign::duplicate(process, number);
        answer(to, found.map(|fd| Answer { descriptor: Some(fd), ..Answer::default() }));
    }
}

/// What it does for [`Word::Memory`].
pub(super) fn read_memory((thread, address, length): (Pid, u64, u16), descriptors: &[OwnedFd]) {
    if let [to] = descriptors {
        let mut bytes = vec![0; usize::from(length)];
        let found = foreign::read_memory(thread, address, &mut bytes);
        answer(to, found.map(|()| Answer { bytes, ..Answer::default() }));
    }
}

fn answer(to: &OwnedFd, found: io::Result<Answer>) {
    let errno = found.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(UNKNOWN));
    let Answer { bytes, descriptor } = found.unwrap_or_default();
    let lent: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
    // The pair is new and has room; nobody waits for a manager that has gone.
    let _ = packet::send(to, &[&errno.to_ne_bytes()[..], &bytes].concat(), &lent, Wait::Never);
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, thread};

    use super::{super::store::Store, *};

    /// A watchdog that answers so many questions.
    fn watchdog(line: OwnedFd, questions: usize) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            let mut room = packet::buffer();
            for _ in 0..questions {
                let packet = packet::receive(&line, &mut room, Wait::AsLongAsItTakes);
                let packet = packet.expect("a packet").expect("a packet");
                match Word::decode(&room[..packet.length]).expect("a word") {
                    Word::Duplicate { number } => duplicate(number, &packet.descriptors),
                    Word::Memory { thread, address, length } => {
                        read_memory((thread, address, length), &packet.descriptors);
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
    }

    #[test]
    fn descriptors_and_memory_come_from_who_may_have_them() {
        let (line, other) = packet::pair().expect("a pair");
        let watchdog = watchdog(other, 4);
        let keeper = Keeper::new(line, Store::default());
        let own = Process::open(rustix::process::getpid()).expect("it is there");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let twin = keeper.duplicate(&own, number).expect("a duplicate");
        drop(writer);
        io::Write::write_all(&mut File::from(twin), b"it").expect("it is open");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the end");
        assert_eq!(text, "it");
        let error = keeper.duplicate(&own, i32::MAX).expect_err("there is none");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));

        let there = b"what lies there";
        let mut read = [0; 15];
        let at = there.as_ptr().expose_provenance() as u64;
        keeper.read_memory(own.pid(), at, &mut read).expect("it lies there");
        assert_eq!(&read, there);
        let error = keeper.read_memory(own.pid(), 8, &mut read).expect_err("nothing does");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::FAULT.raw_os_error()));
        watchdog.join().expect("it has answered");
    }

    #[test]
    fn a_watchdog_that_stands_still_or_has_gone_is_not_waited_for() {
        let (line, other) = packet::pair().expect("a pair");
        let keeper = Keeper::new(line, Store::default());
        let own = Process::open(rustix::process::getpid()).expect("it is there");
        let silent = keeper.duplicate(&own, 0).expect_err("nobody answers");
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        drop(other);
        let gone = keeper.duplicate(&own, 0).expect_err("nobody is there");
        // The one where it had not read the question before, the other from then on.
        assert!(
            matches!(gone.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{gone}"
        );
    }
}
