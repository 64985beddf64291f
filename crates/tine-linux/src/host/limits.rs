//! Limits that decide how many connections can wait or stand.

use rustix::process::{Resource, getrlimit};

use super::sysctl;

/// How many descriptors a process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// `RLIMIT_NOFILE` now; `None` is no limit.
    pub soft: Option<u64>,
    /// What the soft limit can be raised to without privilege.
    pub hard: Option<u64>,
    /// `fs.nr_open`: what the hard limit can be raised to with privilege.
    pub nr_open: Option<u64>,
}

/// `getrlimit(2)` of this process, and `fs.nr_open`.
#[must_use]
pub fn file_limits() -> FileLimits {
    let limit = getrlimit(Resource::Nofile);
    FileLimits { soft: limit.current, hard: limit.maximum, nr_open: sysctl("/proc/sys/fs/nr_open") }
}

/// `net.core.somaxconn` of this network namespace: what every backlog is cut to.
#[must_use]
pub fn somaxconn() -> Option<u32> {
    sysctl("/proc/sys/net/core/somaxconn")
}

/// `net.ipv4.tcp_migrate_req` (5.14): connections that wait in a socket's queue move to another
/// socket of its group when it closes, without a program that says where.
#[must_use]
pub fn tcp_migrate_req() -> Option<bool> {
    sysctl::<u8>("/proc/sys/net/ipv4/tcp_migrate_req").map(|on| on != 0)
}
