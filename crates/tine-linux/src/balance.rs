//! Who gets the next connection, decided in the kernel.
//!
//! A [`Balancer`] is an eBPF program (`bpf/seats.bpf.c`) for one `SO_REUSEPORT` group, and the tables
//! it decides by. Each listening socket has a [`Slot`]; the *rotation* is the list of slots that
//! connections are given to, replaced as a whole.
//!
//! Round robin is exact over seats whose accept queue is empty. A seat with a queue gives up its
//! turn, and such turns are spread over the others, so a blocked worker gets next to nothing; where
//! nobody seems idle, it is the shortest queue of four that moves. At most 17 seats are looked at,
//! however many there are. The length of a queue is no part of any
//! stable interface: the program reads it from kernel memory, at offsets from the kernel's type
//! information. Without [`KernelOffsets`] round robin is strict.
//!
//! When a socket of the group is closed, the connections in its queue move to seats in rotation.
//! Take it out of rotation some round trips earlier: Linux (6.18) resets a connection whose
//! handshake ends on another CPU in the moment of the close.
//!
//! # Why the loading is done by hand
//!
//! aya 0.14 reads all of the kernel's types whenever it makes a loader (`EbpfLoader::new`), even
//! for a program that needs none, and again for every listener. Measured on Linux 6.18 x86-64 with
//! a release build that did nothing else: `Instant` around each step, `/proc/self/status` after it.
//!
//! |                                    | time    | peak (`VmHWM`) | kept (`VmRSS`) |
//! |------------------------------------|---------|----------------|----------------|
//! | aya with CO-RE, first listener     | 30.7 ms | +18.9 MB       | +2.8 MB        |
//! | aya with CO-RE, each further       | 26.4 ms | +0.4 MB        | +0.1 MB        |
//! | aya, `btf(None)`: the loader alone | 19.7 ms | +18.8 MB       | +2.4 MB        |
//! | [`KernelOffsets::read`], once      | 3.1 ms  | +0.1 MB        | +0.1 MB        |
//! | [`Balancer::load`], each listener  | 4.3 ms  | none           | none           |
//!
//! Of the last line, all but 0.2 ms is the kernel's verifier. The first two are an older and smaller
//! program.
//!
//! # Kernel and rights
//!
//! Linux 5.14 (`BPF_SK_REUSEPORT_SELECT_OR_MIGRATE`), so memory is accounted by cgroup and
//! `RLIMIT_MEMLOCK` plays no part (5.11). Root, or `CAP_BPF`, and with [`KernelOffsets`] also
//! `CAP_PERFMON`; `CAP_NET_ADMIN` is not needed.

mod adopt;
mod bpf;
mod image;
mod kernel_types;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::thread::CapabilitySet;
use thiserror::Error;

use bpf::{Map, MapKind};
pub use kernel_types::{KernelOffsets, KernelTypesError};

/// Places of one rotation in the ring: its length and then the slots (`HALF` in the C source).
const HALF: u32 = Slot::COUNT + 1;
/// Of a longer log, Linux keeps the end since 6.4 and the beginning before.
const LOG_BYTES: usize = 16 << 10;

/// How a listener's connections are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, passing over seats that have connections waiting.
    RoundRobin,
    /// By the client's address, whatever the load, for as long as the rotation stays the same. An
    /// IPv4 client keeps its seat whether the listener is IPv4 or dual-stack.
    Sticky,
}

/// The number of a socket in its balancer's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// Slots of one balancer, and so the longest rotation.
    pub const COUNT: u32 = 4096;

    /// The slot with this number, below [`Slot::COUNT`].
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The number it was made from.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What was being done when the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the tables.
    CreateMap,
    /// Loading the program.
    LoadProgram,
    /// Giving the program to a group: `SO_ATTACH_REUSEPORT_EBPF`.
    Attach,
    /// Putting a socket into its slot.
    Place,
    /// Emptying a slot.
    Clear,
    /// Replacing the rotation.
    Rotate,
    /// Reading or zeroing what a slot has taken.
    Count,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateMap => "make the tables of the balancer",
            Self::LoadProgram => "load the balancer",
            Self::Attach => "attach the balancer to a listener",
            Self::Place => "give a socket to the balancer",
            Self::Clear => "take a socket from the balancer",
            Self::Rotate => "change the rotation",
            Self::Count => "read the connections that a seat has taken",
        })
    }
}

/// Why the kernel does not balance.
#[derive(Debug, Error)]
pub enum BalanceError {
    /// The thread lacks a capability; the kernel might well be able to.
    #[error("not permitted to {step}: needs CAP_BPF and CAP_PERFMON, or root")]
    NotPermitted {
        /// What was being done.
        step: Step,
        /// `EPERM` or `EACCES`; `EINVAL` for want of `CAP_PERFMON`.
        source: io::Error,
    },
    /// No eBPF, a kernel before 5.14, or one whose verifier does not take the program.
    #[error("this kernel cannot {step}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Unsupported {
        /// What was being done.
        step: Step,
        /// The verifier's last words; may be empty.
        reason: String,
        /// What the call returned.
        source: io::Error,
    },
    /// The socket cannot be placed: it is in another balancer (or in this one already).
    #[error("the socket is in a balancer already")]
    AlreadyPlaced(#[source] io::Error),
    /// Anything else: wrong socket, no memory.
    #[error("cannot {step}")]
    Failed {
        /// What was being done.
        step: Step,
        /// What the call returned.
        source: io::Error,
    },
    /// More than [`Slot::COUNT`] places.
    #[error("a rotation of {0} places is too long")]
    RotationTooLong(usize),
}

impl BalanceError {
    fn new(step: Step, source: io::Error) -> Self {
        let errno = source.raw_os_error();
        let setting_up = matches!(step, Step::CreateMap | Step::LoadProgram);
        match errno {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { step, source },
            Some(libc::EBUSY) if step == Step::Place => Self::AlreadyPlaced(source),
            Some(libc::EINVAL | libc::ENOSYS | libc::E2BIG) if setting_up => {
                Self::Unsupported { step, reason: String::new(), source }
            }
            Some(_) | None => Self::Failed { step, source },
        }
    }

    /// The verifier answers a want of rights in ways that look like a bad program, and the reverse.
    fn of_load(source: io::Error, log: &[u8], permitted: bool) -> Self {
        match Self::new(Step::LoadProgram, source) {
            Self::NotPermitted { step, source } | Self::Unsupported { step, source, .. }
                if !log.is_empty() =>
            {
                if permitted {
                    Self::Unsupported { step, reason: last_words(log), source }
                } else {
                    Self::NotPermitted { step, source }
                }
            }
            other => other,
        }
    }
}

/// The per-seat entry that the program keeps: `struct tally` in the C source.
type Tally = [u64; 4];
/// `struct cursor`, the program's alone.
type Cursor = [u64; 9];

/// The program and tables of one listener's group.
///
/// The kernel keeps both while a socket of the group lives, so connections go on being balanced
/// by the last rotation after this value, and the process that had it, are gone. Another
/// balancer attached to the same group replaces it.
#[derive(Debug)]
pub struct Balancer {
    program: OwnedFd,
    sockets: Map<u32>,
    ring: Map<u32>,
    tallies: Map<Tally>,
    cursor: Map<Cursor>,
    offsets: Option<KernelOffsets>,
    /// The half of the ring that the program reads: 0 or 1.
    half: u32,
    policy: Balance,
}

impl Balancer {
    /// Loads the program and makes its tables, all empty: some 300 KB of kernel memory.
    ///
    /// With `offsets`, round robin passes over seats that have connections waiting. Where loading
    /// fails with them ([`BalanceError::Unsupported`]: kernel lockdown, say), try without.
    ///
    /// # Errors
    ///
    /// [`BalanceError::NotPermitted`] or [`BalanceError::Unsupported`], mostly.
    pub fn load(policy: Balance, offsets: Option<&KernelOffsets>) -> Result<Self, BalanceError> {
        let sockets = create::<u32>(MapKind::Sockets, Slot::COUNT)?;
        let ring = create::<u32>(MapKind::Array, 1 + 2 * HALF)?;
        let tallies = create::<Tally>(MapKind::Array, Slot::COUNT)?;
        let cursor = create::<Cursor>(MapKind::Array, 1)?;
        let maps = [sockets.as_fd(), ring.as_fd(), tallies.as_fd(), cursor.as_fd()];
        let program = load(&image::of(maps, policy == Balance::Sticky, offsets))?;
        let offsets = offsets.copied();
        Ok(Self { program, sockets, ring, tallies, cursor, offsets, half: 0, policy })
    }

    /// Shares connections out by another policy from now on, over the same slots and rotation. `socket`
    /// is one of the group that this is [attached](Self::attach) to.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`] and [`Self::attach`]; then the old policy stays.
    pub fn set_policy(&mut self, policy: Balance, socket: impl AsFd) -> Result<(), BalanceError> {
        if policy == self.policy {
            return Ok(());
        }
        let maps =
            [self.sockets.as_fd(), self.ring.as_fd(), self.tallies.as_fd(), self.cursor.as_fd()];
        let sticky = policy == Balance::Sticky;
        let program = load(&image::of(maps, sticky, self.offsets.as_ref()))?;
        bpf::attach(program.as_fd(), socket.as_fd()).map_err(at(Step::Attach))?;
        (self.program, self.policy) = (program, policy);
        Ok(())
    }

    /// Whether seats with connections waiting are passed over.
    #[must_use]
    pub const fn is_queue_aware(&self) -> bool {
        self.offsets.is_some() && matches!(self.policy, Balance::RoundRobin)
    }

    /// Lets this balancer decide for the `SO_REUSEPORT` group of `socket`, instead of any other: for
    /// sockets that join later, too. The socket must be bound.
    ///
    /// Until there is a rotation, the kernel chooses by its own hash.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Failed`] for a socket without `SO_REUSEPORT`.
    pub fn attach(&self, socket: impl AsFd) -> Result<(), BalanceError> {
        bpf::attach(self.program.as_fd(), socket.as_fd()).map_err(at(Step::Attach))
    }

    /// Puts a listening socket of the group into `slot`, in place of the one there. Closing the
    /// socket (its last descriptor) empties the slot again.
    ///
    /// # Errors
    ///
    /// [`BalanceError::AlreadyPlaced`]: a socket can be in one slot of one balancer. One whose
    /// balancer was replaced a moment ago is free as soon as the kernel has cleaned up, some
    /// milliseconds later. [`BalanceError::Failed`]: not listening, or without `SO_REUSEPORT`.
    pub fn place(&mut self, slot: Slot, socket: impl AsFd) -> Result<(), BalanceError> {
        let number = socket.as_fd().as_raw_fd().cast_unsigned();
        self.sockets.set(slot.0, &number).map_err(at(Step::Place))
    }

    /// Empties `slot`; one that is empty already stays so.
    ///
    /// # Errors
    ///
    /// None that the kernel documents.
    pub fn clear(&mut self, slot: Slot) -> Result<(), BalanceError> {
        match self.sockets.remove(slot.0) {
            Err(gone) if gone.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map_err(at(Step::Clear)),
        }
    }

    /// Shares connections out to `slots` from now on, in this order; a slot that is listed twice
    /// gets two turns. The whole list takes effect at once. Empty slots in it are passed over.
    ///
    /// With no slots the kernel chooses among all sockets of the group by its own hash, so that
    /// connections wait somewhere and are not refused.
    ///
    /// # Errors
    ///
    /// [`BalanceError::RotationTooLong`]; then, as with every error, the old rotation stays.
    pub fn set_rotation(&mut self, slots: &[Slot]) -> Result<(), BalanceError> {
        let length = u32::try_from(slots.len()).ok().filter(|length| *length <= Slot::COUNT);
        let length = length.ok_or(BalanceError::RotationTooLong(slots.len()))?;
        let half = 1 - self.half;
        self.write_half(half, length, slots).map_err(at(Step::Rotate))?;
        // One bit changes: whenever the program looks, it sees the one list or the other.
        self.ring.set(0, &half).map_err(at(Step::Rotate))?;
        self.half = half;
        Ok(())
    }

    fn write_half(&self, half: u32, length: u32, slots: &[Slot]) -> io::Result<()> {
        let start = 1 + half * HALF;
        for (at, slot) in (start + 1..).zip(slots) {
            self.ring.set(at, &slot.0)?;
        }
        self.ring.set(start, &length)
    }

    /// Connections given to `slot` since its count began, those that moved to it from a closed
    /// socket included. For display: a SYN that the client had to repeat may count twice, and a
    /// connection that was set up with a SYN cookie counts for the seat that its SYN was given.
    ///
    /// # Errors
    ///
    /// None that the kernel documents.
    pub fn taken(&self, slot: Slot) -> Result<u64, BalanceError> {
        let [taken, ..] = self.tallies.get(slot.0).map_err(at(Step::Count))?;
        Ok(taken)
    }

    /// Lets the count of `slot` begin again, for a new owner.
    ///
    /// # Errors
    ///
    /// None that the kernel documents.
    pub fn reset_taken(&mut self, slot: Slot) -> Result<(), BalanceError> {
        self.tallies.set(slot.0, &Tally::default()).map_err(at(Step::Count))
    }
}

fn at(step: Step) -> impl FnOnce(io::Error) -> BalanceError {
    move |source| BalanceError::new(step, source)
}

fn create<V: bpf::Plain>(kind: MapKind, entries: u32) -> Result<Map<V>, BalanceError> {
    Map::create(kind, entries).map_err(at(Step::CreateMap))
}

/// Asks the verifier for its words only when it has refused: writing them takes longer than its
/// work.
fn load(instructions: &[u64]) -> Result<OwnedFd, BalanceError> {
    let refusal = match bpf::load(instructions, &mut []) {
        Ok(program) => return Ok(program),
        Err(refusal) => refusal,
    };
    let mut log = vec![0; LOG_BYTES];
    match bpf::load(instructions, &mut log) {
        Ok(program) => Ok(program),
        Err(_same) => Err(BalanceError::of_load(refusal, until_nul(&log), may_load())),
    }
}

fn until_nul(log: &[u8]) -> &[u8] {
    log.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The line before the statistics that end every log.
fn last_words(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    let mut lines = log.lines().filter(|line| !line.starts_with("processed "));
    lines.next_back().unwrap_or_default().to_owned()
}

/// Whether this thread has the capabilities for all of the program; `CAP_SYS_ADMIN` includes them.
fn may_load() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective.contains(CapabilitySet::SYS_ADMIN)
            || sets.effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn a_verdict_of_the_verifier_is_no_want_of_rights() {
        let log = b"0: R1=ctx()\nunknown func bpf_odd#999\nprocessed 12 insns (limit 1000000)\n";
        let error = BalanceError::of_load(refused(libc::EACCES), log, true);
        assert!(matches!(error, BalanceError::Unsupported { .. }));
        assert_eq!(
            error.to_string(),
            "this kernel cannot load the balancer: unknown func bpf_odd#999"
        );
    }

    #[test]
    fn a_want_of_rights_is_told_whatever_the_verifier_calls_it() {
        let error = BalanceError::of_load(refused(libc::EINVAL), b"unknown func\n", false);
        assert!(matches!(error, BalanceError::NotPermitted { .. }));
        let error = BalanceError::of_load(refused(libc::EPERM), b"", true);
        assert!(matches!(error, BalanceError::NotPermitted { .. }), "nothing was verified");
    }

    #[test]
    fn an_old_kernel_is_unsupported() {
        let error = BalanceError::of_load(refused(libc::EINVAL), b"", true);
        assert_eq!(error.to_string(), "this kernel cannot load the balancer");
        let error = BalanceError::new(Step::CreateMap, refused(libc::ENOSYS));
        assert!(matches!(error, BalanceError::Unsupported { step: Step::CreateMap, .. }));
    }
}
