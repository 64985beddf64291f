//! The Linux calls behind tine that `rustix` has not got, in `rustix`'s manner.
//!
//! | module | what it adds |
//! |---|---|
//! | [`process`] | a process held by its pidfd: signal it, wait for it |
//! | [`spawn`] | start a program: descriptors in their places, a session, a filter, a cgroup |
//! | [`seccomp`] | the bind trap: a filter, and the listener that answers its notifications |
//! | [`inherited`] | claim an inherited descriptor once, by name |
//! | [`memory`] | give freed memory back |
//! | [`foreign`] | look into another process: its memory, its descriptors, its identity |
//! | [`tree`] | who descends from whom, and ending all of it |
//! | [`cgroup`] | one cgroup (v2) per worker, where that may be had |
//! | [`balance`] | an eBPF program that picks the seat and sees the accept queues |
//! | [`sock_diag`] | the kernel's sockets, and who holds them |
//! | [`account`] | users and groups by name or number |
//! | [`host`] | what this host and this user have |
//! | [`reuseport`] | let a classic BPF program choose among sockets of one port |
//! | [`socket`] | socket options and sockets that `std` and `rustix` do not reach |
//! | [`place`] | bind a UNIX path as another process would: its directory, umask and user |
//! | [`split`] | fork a process into a watchdog and what it watches; go on as another program |
//!
//! # The rule for `unsafe`
//!
//! This is the only crate of the workspace that may say `unsafe`; the others forbid it. One unsafe
//! operation a block, and above each block the argument why it is sound: who keeps the memory
//! alive, who reads it, why the length is right. What `rustix` can do is left to `rustix`.
//!
//! Every descriptor is created with `CLOEXEC` in the same call; only [`spawn`] lets some of them
//! cross an `execve`, by number, on request.

pub mod account;
pub mod balance;
pub mod cbpf;
pub mod cgroup;
pub mod foreign;
pub mod host;
pub mod inherited;
pub mod memory;
pub mod place;
pub mod process;
pub mod reuseport;
pub mod seccomp;
pub mod sock_diag;
pub mod socket;
pub mod spawn;
pub mod split;
pub mod tree;

use std::io;

/// Turns the `-1` of a C call into the error that `errno` tells.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
