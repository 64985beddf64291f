//! What a worker holds for a successor itself, should this process be killed together with whoever keeps
//! its records: the ends of its pipes, its channel and its trap, and what its whole group needs.
//!
//! It is one descriptor: a socket in whose queue the others wait (`SCM_RIGHTS` in unix(7)). So they are
//! open as long as a process of the worker has it, nobody reads from them by mistake, and what comes
//! about after the worker's start can be added. A successor looks at them and leaves them there.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::{
    fs::fstat,
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    process::{Resource, getpid, getrlimit},
};
use tine_linux::{foreign::has_capability, socket::peek_from};

use super::{records::EndsRecord, start::Parts, task::Task, worker::Worker};
use crate::{
    id::{ListenerId, SeatId},
    policy::Mechanism,
};

/// The descriptor's number in the worker: above those that a program gets for a while, and below those
/// that would make the kernel give it a larger table of them.
pub(super) const PLACE: u32 = 240;
/// With fewer descriptors a worker would miss that one.
const LEAST_LIMIT: u64 = 512;
/// Under this name are the worker's own; under the others those of records, by their keys.
pub(super) const OWN: &str = "worker";
/// More come with no message.
const MOST: usize = 16;
/// There is no room for more in a queue, as kernels are set up.
const MOST_MESSAGES: usize = 4096;
/// No name is longer.
const LONGEST: usize = 64;
/// So many of a user's descriptors may wait in queues, by the limit that its processes begin with; half of
/// them is left to its programs.
const IN_QUEUES: usize = 1024 / 2;
/// `CAP_SYS_ADMIN` and `CAP_SYS_RESOURCE`, either of which is without that limit.
const UNLIMITED: [u32; 2] = [21, 24];

/// How many wait in queues because of this process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Descriptors under a name.
pub(super) type Named = (String, Vec<OwnedFd>);

/// The way into what one worker holds.
#[derive(Debug)]
pub(super) struct Ends {
    into: OwnedFd,
    waiting: AtomicUsize,
}

/// Both sides, for a worker that is yet to be started.
#[derive(Debug)]
pub(super) struct Pair {
    into: OwnedFd,
    out_of: OwnedFd,
}

impl Pair {
    /// `None`: the worker could not have it, or too many wait already.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let has_room = || WAITING.load(Ordering::Relaxed) < IN_QUEUES || is_unlimited();
        if getrlimit(Resource::Nofile).current.is_some_and(|most| most < LEAST_LIMIT) || !has_room()
        {
            return Ok(None);
        }
        let flags = SocketFlags::CLOEXEC;
        let (into, out_of) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Some(Self { into, out_of }))
    }

    /// The worker's side, which goes to [`PLACE`].
    pub(super) fn theirs(&self) -> BorrowedFd<'_> {
        self.out_of.as_fd()
    }
}

fn is_unlimited() -> bool {
    UNLIMITED.iter().any(|number| has_capability(getpid(), *number).unwrap_or(false))
}

impl Ends {
    /// Those of a worker that this process has started.
    pub(super) const fn new(into: OwnedFd) -> Self {
        Self { into, waiting: AtomicUsize::new(0) }
    }

    /// Those of a worker that another process has started: so many wait there at the least.
    pub(super) fn adopt(into: OwnedFd, waiting: usize) -> Self {
        WAITING.fetch_add(waiting, Ordering::Relaxed);
        Self { into, waiting: AtomicUsize::new(waiting) }
    }

    fn put(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::TOOBIG.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.into, &[IoSlice::new(name.as_bytes())], &mut control, flags)?;
        self.waiting.fetch_add(descriptors.len(), Ordering::Relaxed);
        WAITING.fetch_add(descriptors.len(), Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        WAITING.fetch_sub(*self.waiting.get_mut(), Ordering::Relaxed);
    }
}

/// Everything that waits there, in the order in which it came; it goes on waiting.
pub(super) fn look(out_of: impl AsFd) -> io::Result<Vec<Named>> {
    peek_from(&out_of, 0)?;
    let mut all = Vec::new();
    // A worker that adds to it all the time keeps nobody busy for ever.
    while all.len() < MOST_MESSAGES {
        match look_at_next(out_of.as_fd()) {
            Ok(Some(named)) => all.push(named),
            Ok(None) | Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// The kernel ends each look behind the first message with descriptors.
fn look_at_next(out_of: BorrowedFd<'_>) -> rustix::io::Result<Option<Named>> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(out_of, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    Ok(Some((String::from_utf8_lossy(&bytes[..got.bytes]).into_owned(), descriptors)))
}

/// What the descriptors are of: two of one inode are the same pipe or socket.
pub(super) fn inodes<'a>(
    descriptors: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> io::Result<Vec<u64>> {
    descriptors.into_iter().map(|fd| Ok(fstat(fd)?.st_ino)).collect()
}

impl Task {
    /// The worker that runs since a moment ago holds what a successor needs of it.
    pub(super) fn leave_ends(
        &mut self,
        worker: &mut Worker,
        (pair, parts): (Pair, &Parts),
    ) -> io::Result<()> {
        let (_, own) = parts.ends(worker.trap.as_deref());
        let record = EndsRecord { number: PLACE, inodes: inodes(own.iter().copied())? };
        let Pair { into, out_of } = pair;
        drop(out_of);
        let with_way: Vec<BorrowedFd<'_>> = own.iter().copied().chain([into.as_fd()]).collect();
        let ends = Ends::new(into.try_clone()?);
        ends.put(OWN, &with_way)?;
        for (name, descriptors) in self.of_the_group() {
            ends.put(&name, &descriptors)?;
        }
        self.keeping.put_ends(worker.id, &record, into.as_fd());
        worker.ends = Some(ends);
        Ok(())
    }

    /// What no worker has by itself: programs that choose a seat, and sockets that this process accepts on.
    fn of_the_group(&self) -> Vec<(String, Vec<BorrowedFd<'_>>)> {
        let registry = self.seats.registry();
        let programs = registry.listeners().filter_map(|(id, _)| self.program_of(id));
        let sockets = registry.listeners().flat_map(|(id, _)| registry.seats_of(id));
        programs.chain(sockets.filter_map(|(seat, _)| self.accepted_here(seat))).collect()
    }

    fn program_of(&self, id: ListenerId) -> Option<(String, Vec<BorrowedFd<'_>>)> {
        let (_, descriptors) = self.seats.listener_record(id)?;
        (!descriptors.is_empty()).then(|| (format!("listener/{}", id.0), descriptors))
    }

    fn accepted_here(&self, seat: SeatId) -> Option<(String, Vec<BorrowedFd<'_>>)> {
        let (_, listener) = self.seats.listener_of(seat)?;
        let is_ours = listener.choice.mechanism == Mechanism::HandOver;
        let socket = self.seats.socket(seat).filter(|_| is_ours)?;
        Some((format!("seat/{}", seat.0), vec![socket]))
    }

    /// All workers get what this listener has now.
    pub(super) fn spread_program(&self, id: ListenerId) {
        self.spread(self.program_of(id));
    }

    /// Likewise the socket of this seat, if this process accepts on it.
    pub(super) fn spread_socket(&self, id: SeatId) {
        self.spread(self.accepted_here(id));
    }

    /// One that has no room for it any more keeps what it had.
    fn spread(&self, named: Option<(String, Vec<BorrowedFd<'_>>)>) {
        let Some((name, descriptors)) = named else { return };
        for ends in self.workers.values().filter_map(|worker| worker.ends.as_ref()) {
            let _ = ends.put(&name, &descriptors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_seen_as_often_as_it_is_looked_for_also_when_nobody_can_add_to_it() {
        let pair = Pair::open().unwrap().expect("room for one descriptor more");
        let (one, other) = std::io::pipe().unwrap();
        let ends = Ends::new(pair.into);
        ends.put(OWN, &[one.as_fd(), other.as_fd()]).unwrap();
        ends.put("listener/3", &[other.as_fd()]).unwrap();
        drop(ends);
        let expected = inodes([one.as_fd(), other.as_fd()]).unwrap();
        drop((one, other));
        for _ in 0..2 {
            let seen = look(&pair.out_of).unwrap();
            let names: Vec<&str> = seen.iter().map(|(name, _)| &**name).collect();
            assert_eq!(names, [OWN, "listener/3"]);
            assert_eq!(inodes(seen[0].1.iter().map(AsFd::as_fd)).unwrap(), expected);
            assert_eq!(seen[1].1.len(), 1);
        }
    }
}
