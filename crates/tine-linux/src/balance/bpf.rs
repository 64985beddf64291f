//! The four commands of bpf(2) that the balancer needs, with owned descriptors.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Numbers of linux/bpf.h and asm-generic/socket.h: stable, and not in libc.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_TYPE_SK_REUSEPORT: u32 = 21;
const SK_REUSEPORT_SELECT_OR_MIGRATE: u32 = 40;

/// The kinds of map in use.
#[derive(Debug, Clone, Copy)]
pub(super) enum MapKind {
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_REUSEPORT_SOCKARRAY`
    Sockets = 20,
}

/// What the kernel may copy into and out of a map.
///
/// # Safety
///
/// Every bit pattern is a value, and there is no padding.
pub(super) unsafe trait Plain: Copy + Default {}
// SAFETY: an integer of four bytes, all of which count.
unsafe impl Plain for u32 {}
// SAFETY: integers of equal size side by side have no padding.
unsafe impl<const N: usize> Plain for [u64; N] where [u64; N]: Default {}

/// A kernel table from u32 below its size to `V`. Freed when its last descriptor and the last
/// program that uses it are gone.
#[derive(Debug)]
pub(super) struct Map<V> {
    fd: OwnedFd,
    value: PhantomData<V>,
}

impl<V: Plain> Map<V> {
    /// All entries begin as zeros (or empty, for sockets).
    pub(super) fn create(kind: MapKind, entries: u32) -> io::Result<Self> {
        #[repr(C)]
        struct Attr {
            kind: u32,
            key_size: u32,
            value_size: u32,
            entries: u32,
        }
        let value_size = u32::try_from(size_of::<V>()).expect("a map's value is small");
        let attr = Attr { kind: kind as u32, key_size: 4, value_size, entries };
        // SAFETY: the attributes of MAP_CREATE hold no pointer.
        let fd = unsafe { bpf(MAP_CREATE, &attr) }?;
        // SAFETY: MAP_CREATE returned a new descriptor (CLOEXEC), which nobody else has seen.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, value: PhantomData })
    }

    /// A table that another process made; `EINVAL` for one of another shape, into whose entries the
    /// kernel would copy more, or less, than a `V`.
    pub(super) fn adopt(fd: OwnedFd, kind: MapKind, entries: u32) -> io::Result<Self> {
        let info = info(&fd)?;
        let value_size = u32::try_from(size_of::<V>()).expect("a map's value is small");
        let shape = (info.kind, info.key_size, info.value_size, info.entries);
        if shape != (kind as u32, 4, value_size, entries) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { fd, value: PhantomData })
    }

    /// The entry at `key`; `ENOENT` past the end.
    pub(super) fn get(&self, key: u32) -> io::Result<V> {
        let mut value = V::default();
        let attr = Element::new(&self.fd, &key, (&raw mut value) as u64);
        // SAFETY: the kernel writes one value, of the size this map was created with, over
        // `value`, which is of that size and takes any bits (`Plain`).
        unsafe { bpf(MAP_LOOKUP_ELEM, &attr) }?;
        Ok(value)
    }

    /// Overwrites the entry at `key`.
    pub(super) fn set(&self, key: u32, value: &V) -> io::Result<()> {
        let attr = Element::new(&self.fd, &key, std::ptr::from_ref(value) as u64);
        // SAFETY: the kernel reads one value, of the size this map was created with, from
        // `value`, which has that size and no padding (`Plain`).
        unsafe { bpf(MAP_UPDATE_ELEM, &attr) }.map(drop)
    }

    /// Empties the entry at `key`; arrays of plain values refuse it (`EINVAL`).
    pub(super) fn remove(&self, key: u32) -> io::Result<()> {
        let attr = Element::new(&self.fd, &key, 0);
        // SAFETY: the kernel reads the key alone, which outlives the call.
        unsafe { bpf(MAP_DELETE_ELEM, &attr) }.map(drop)
    }
}

impl<V> AsFd for Map<V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
}

/// What a map is like.
fn info(map: &OwnedFd) -> io::Result<MapInfo> {
    #[repr(C)]
    struct Attr {
        object: u32,
        length: u32,
        info: u64,
    }
    let mut info = MapInfo::default();
    let attr = Attr {
        object: map.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<MapInfo>()).expect("twenty fits"),
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes no more than `length` bytes, all integers, over `info`, which outlives
    // the call; of a program it would write other integers.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &attr) }?;
    Ok(info)
}

#[repr(C)]
struct Element {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    fn new(map: &OwnedFd, key: &u32, value: u64) -> Self {
        let map = map.as_raw_fd().cast_unsigned();
        Self { map, unused: 0, key: std::ptr::from_ref(key) as u64, value, flags: 0 }
    }
}

/// Loads `instructions` as a program that selects a socket of a group and moves the connections of
/// one that is closed (Linux 5.14). The verifier's words go to `log`, when it is not empty.
pub(super) fn load(instructions: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let attr = Attr {
        kind: PROG_TYPE_SK_REUSEPORT,
        instruction_count: u32::try_from(instructions.len()).expect("a program is small"),
        instructions: instructions.as_ptr() as u64,
        // GPL-compatible, as bpf_probe_read_kernel() demands.
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).expect("a log is small"),
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: *b"tine_seats\0\0\0\0\0\0",
        interface: 0,
        attach_type: SK_REUSEPORT_SELECT_OR_MIGRATE,
    };
    // SAFETY: every pointer comes from a slice or C string that outlives the call, together with
    // its true length; the log is borrowed mutably, so nobody else looks while the kernel writes.
    let fd = unsafe { bpf(PROG_LOAD, &attr) }?;
    // SAFETY: PROG_LOAD returned a new descriptor (CLOEXEC), which nobody else has seen.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `program` the one that selects within the SO_REUSEPORT group of `socket`: socket(7).
pub(super) fn attach(program: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    let length = libc::socklen_t::try_from(size_of_val(&program)).expect("four fits");
    // SAFETY: the option's value is an int, read during the call; both descriptors are borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_EBPF,
            (&raw const program).cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// bpf(2); what it returns is a descriptor for the commands that make one.
///
/// # Safety
///
/// `A` is laid out as the command's part of `union bpf_attr`, without padding, and the pointers in
/// it are good for what the command does with them.
unsafe fn bpf<A>(command: libc::c_int, attr: &A) -> io::Result<libc::c_int> {
    // SAFETY: the caller vouches for the attributes; their size is told truly.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::try_from(result).expect("bpf(2) returns an int"))
}
