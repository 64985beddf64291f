//! Whether the kernel takes eBPF programs from this user: tried with two tiny ones.

use std::{
    ffi::CStr,
    fs::File,
    os::fd::{FromRawFd, OwnedFd},
};

use rustix::io::Errno;

use super::{Ability, capabilities};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_SK_REUSEPORT: u32 = 21;
const BPF_SK_REUSEPORT_SELECT: u32 = 39;
const LICENSE: &CStr = c"Dual MIT/GPL";

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`, up to the last field used here. The kernel
/// takes a shorter structure for one whose rest is zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    /// Destination in the low half on little-endian machines, in the high half on others.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Insn {
    const fn new(code: u8, dst: u8, src: u8, immediate: i32) -> Self {
        let registers =
            if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
        Self { code, registers, offset: 0, immediate }
    }

    const EXIT: Self = Self::new(0x95, 0, 0, 0);

    /// `dst = immediate`
    const fn set(dst: u8, immediate: i32) -> Self {
        Self::new(0xb7, dst, 0, immediate)
    }

    /// `dst = src`
    const fn copy(dst: u8, src: u8) -> Self {
        Self::new(0xbf, dst, src, 0)
    }

    /// `dst += immediate`
    const fn add(dst: u8, immediate: i32) -> Self {
        Self::new(0x07, dst, 0, immediate)
    }

    const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, 0, helper)
    }
}

/// `SK_PASS`: leave the choice to the kernel.
const PASS: [Insn; 2] = [Insn::set(0, 1), Insn::EXIT];

const HELPER_PROBE_READ_KERNEL: i32 = 113;

/// Reads eight bytes of kernel memory onto its stack, then passes.
const READ_KERNEL: [Insn; 7] = [
    Insn::copy(3, 1),
    Insn::copy(1, 10),
    Insn::add(1, -8),
    Insn::set(2, 8),
    Insn::call(HELPER_PROBE_READ_KERNEL),
    Insn::set(0, 1),
    Insn::EXIT,
];

/// The file that describes the running kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfFile {
    /// There and readable.
    Readable,
    /// There, but not for this user, or not in this container.
    NotReadable,
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`, or `/sys` is hidden.
    Absent,
}

/// Opens `/sys/kernel/btf/vmlinux`.
#[must_use]
pub fn btf_readable() -> BtfFile {
    match File::open("/sys/kernel/btf/vmlinux") {
        Ok(_) => BtfFile::Readable,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BtfFile::Absent,
        Err(_) => BtfFile::NotReadable,
    }
}

/// `bpf(BPF_PROG_LOAD)` of a socket-choosing program that chooses nothing. Needs `CAP_BPF`
/// (before 5.8 `CAP_SYS_ADMIN`); unloaded at once.
///
/// See [`bpf(2)`](https://man7.org/linux/man-pages/man2/bpf.2.html).
#[must_use]
pub fn ebpf_load() -> Ability {
    Ability::of(&load(&PASS))
}

/// The same for a program that may read kernel memory, as the one that looks at accept queues
/// does. Needs `CAP_PERFMON` besides.
#[must_use]
pub fn ebpf_read_kernel() -> Ability {
    match load(&READ_KERNEL) {
        // The verifier does not say EPERM: without the right there is no such helper.
        Err(Errno::INVAL) if ebpf_load().is_yes() && !capabilities().perfmon() => {
            Ability::NotPermitted
        }
        other => Ability::of(&other),
    }
}

fn load(program: &[Insn]) -> Result<OwnedFd, Errno> {
    let mut request = ProgLoad {
        prog_type: BPF_PROG_TYPE_SK_REUSEPORT,
        insn_cnt: u32::try_from(program.len()).expect("the programs have a few instructions"),
        insns: address(program.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"tine_probe\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: BPF_SK_REUSEPORT_SELECT,
    };
    let size = size_of::<ProgLoad>();
    // SAFETY: `request` is laid out as the kernel's structure and `size` is its own; `program` and
    // LICENSE, to which it points, outlive the call; the kernel copies both and writes to none.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut request, size) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    }
    let number = i32::try_from(result).expect("a descriptor number is an int");
    // SAFETY: BPF_PROG_LOAD returned a new descriptor, CLOEXEC from birth, known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
