//! Looks into another process: its memory, its descriptors, its identity.
//!
//! Everything here names the other process by number, so the answer is to be believed only while
//! something else keeps that number from being reused: the caller's own child that is not waited
//! for, or a seccomp notification that is still [waiting](crate::seccomp::Listener::is_waiting).

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
};

use rustix::{
    net::SocketType,
    process::{ForeignRawFd, Pid, PidfdGetfdFlags},
};

use crate::process::Process;

/// What `/proc` tells about one descriptor of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdFlags {
    /// Closed by `execve(2)`.
    pub close_on_exec: bool,
    /// Reads, writes and accepts do not wait.
    pub non_blocking: bool,
}

/// The leader of the thread's process (its thread group), held.
///
/// # Errors
///
/// `ESRCH` when it is gone.
pub fn process_of_thread(thread: Pid) -> io::Result<Process> {
    if let Ok(process) = Process::open(thread) {
        return Ok(process);
    }
    let leader = status_field(thread, "Tgid:")?
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("no thread group in /proc/PID/status"))?;
    Process::open(leader)
}

/// `process_vm_readv(2)` — copies `buffer.len()` bytes from `address` in the other process.
///
/// # Errors
///
/// `EFAULT` when they are not all mapped there, `EPERM` without the right to look.
///
/// [process_vm_readv(2)](https://man7.org/linux/man-pages/man2/process_vm_readv.2.html)
pub fn read_memory(of: Pid, address: u64, buffer: &mut [u8]) -> io::Result<()> {
    let address =
        usize::try_from(address).map_err(|_| io::Error::from(rustix::io::Errno::FAULT))?;
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address),
        iov_len: buffer.len(),
    };
    let pid = of.as_raw_pid();
    // SAFETY: `local` describes `buffer`, which is borrowed mutably for the call; `remote` is an
    // address in the other process that the kernel checks there and never dereferences here.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(read) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(rustix::io::Errno::FAULT.into()),
    }
}

/// `pidfd_getfd(2)` — a duplicate of a descriptor of the process that this pidfd stands for: the same open
/// file.
///
/// # Errors
///
/// `EPERM` where the right to trace it is missing or a filter forbids the call, `EBADF` when it has
/// no such descriptor.
///
/// [pidfd_getfd(2)](https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html)
pub fn duplicate(of: impl AsFd, number: i32) -> io::Result<OwnedFd> {
    let number: ForeignRawFd = number;
    Ok(rustix::process::pidfd_getfd(of.as_fd(), number, PidfdGetfdFlags::empty())?)
}

/// The flags of a descriptor, from `/proc/PID/fdinfo`.
///
/// # Errors
///
/// When the process or the descriptor is gone, or not ours to look at.
pub fn fd_flags(of: Pid, number: i32) -> io::Result<FdFlags> {
    let path = format!("/proc/{}/fdinfo/{number}", of.as_raw_pid());
    let text = fs::read_to_string(path)?;
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
        .ok_or_else(|| io::Error::other("no flags in /proc/PID/fdinfo"))?;
    Ok(FdFlags {
        close_on_exec: flags & libc::O_CLOEXEC != 0,
        non_blocking: flags & libc::O_NONBLOCK != 0,
    })
}

/// The inode of the socket behind a descriptor; `None` when it is not a socket.
///
/// # Errors
///
/// When the process or the descriptor is gone, or not ours to look at.
pub fn socket_inode(of: Pid, number: i32) -> io::Result<Option<u64>> {
    let link = fs::read_link(format!("/proc/{}/fd/{number}", of.as_raw_pid()))?;
    Ok(link.to_str().and_then(inode_of_link))
}

/// Reads `socket:[4711]`.
#[must_use]
pub fn inode_of_link(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sockets that the process has open: its number for each, and the inode.
///
/// # Errors
///
/// `EACCES` when this user may not look into the process, `ENOENT` or `ESRCH` when there is none.
pub fn sockets(of: Pid) -> io::Result<Vec<(i32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", of.as_raw_pid()))? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // What was closed meanwhile has no link any more.
        let link = fs::read_link(entry.path()).ok();
        let inode = link.as_deref().and_then(|link| inode_of_link(link.to_str()?));
        found.extend(number.zip(inode));
    }
    Ok(found)
}

/// Whether the process has the socket with this inode open, as far as that can be seen.
#[must_use]
pub fn holds_socket(of: Pid, inode: u64) -> bool {
    sockets(of).is_ok_and(|sockets| sockets.iter().any(|(_, other)| *other == inode))
}

/// The kernel's name for the protocol of a socket: `TCP`, `UDPv6`, `UNIX-STREAM`, …, as the extended
/// attribute `system.sockprotoname` tells it.
///
/// # Errors
///
/// When the process or the descriptor is gone, or not ours to look at.
pub fn socket_protocol(of: Pid, number: i32) -> io::Result<String> {
    let path = format!("/proc/{}/fd/{number}", of.as_raw_pid());
    let mut name = [0u8; 64];
    let length = rustix::fs::getxattr(path, c"system.sockprotoname", &mut name)?;
    let name = &name[..length];
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// The type of a UNIX socket (`SOCK_STREAM`, …), from `/proc/PID/net/unix`, which lists those without
/// a name too. `None` when the network namespace of the process does not have it.
///
/// # Errors
///
/// When the process is gone.
pub fn unix_socket_type(of: Pid, inode: u64) -> io::Result<Option<SocketType>> {
    let table = fs::read_to_string(format!("/proc/{}/net/unix", of.as_raw_pid()))?;
    // Num RefCount Protocol Flags Type St Inode Path
    let kind = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(4);
        let (kind, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(inode)).then(|| u32::from_str_radix(kind, 16).ok())?
    });
    Ok(kind.map(SocketType::from_raw))
}

/// One field of `/proc/PID/status`, without its name; also of a thread.
///
/// # Errors
///
/// When the process is gone, or the kernel has no such field.
pub fn status_field(of: Pid, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", of.as_raw_pid()))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| io::Error::other(format!("no {name} in /proc/PID/status")))
}

/// Whether the process has this capability in effect, by its number in `capabilities(7)`.
///
/// # Errors
///
/// When the process is gone.
pub fn has_capability(of: Pid, number: u32) -> io::Result<bool> {
    let mask = u64::from_str_radix(&status_field(of, "CapEff:")?, 16).map_err(io::Error::other)?;
    Ok(mask & (1 << number) != 0)
}

/// The file creation mask of the process.
///
/// # Errors
///
/// When the process is gone.
pub fn umask(of: Pid) -> io::Result<u32> {
    u32::from_str_radix(&status_field(of, "Umask:")?, 8).map_err(io::Error::other)
}

/// The filesystem user and group of the process: who owns the files that it makes.
///
/// # Errors
///
/// When the process is gone.
pub fn filesystem_ids(of: Pid) -> io::Result<(u32, u32)> {
    let last = |name| -> io::Result<u32> {
        let field = status_field(of, name)?;
        let last = field.split_whitespace().last().unwrap_or_default();
        last.parse().map_err(io::Error::other)
    };
    Ok((last("Uid:")?, last("Gid:")?))
}

/// One variable of the environment that the process was started with.
#[must_use]
pub fn start_variable(of: Pid, name: &str) -> Option<OsString> {
    let environ = fs::read(format!("/proc/{}/environ", of.as_raw_pid())).ok()?;
    environ.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// The working directory of the process as a path below `/proc`, which leads there even when the
/// directory was renamed or lies in another mount namespace.
#[must_use]
pub fn working_directory(of: Pid) -> PathBuf {
    format!("/proc/{}/cwd", of.as_raw_pid()).into()
}

/// Whether the process sees the same root directory as this one.
///
/// # Errors
///
/// When the process is gone, or not ours to look at.
pub fn shares_root(of: Pid) -> io::Result<bool> {
    let identity = |path: &str| -> io::Result<(u64, u64)> {
        let path = CString::new(path).map_err(io::Error::other)?;
        let stat = rustix::fs::stat(path.as_c_str())?;
        Ok((stat.st_dev, stat.st_ino))
    };
    Ok(identity(&format!("/proc/{}/root/.", of.as_raw_pid()))? == identity("/")?)
}
