//! The kernel's version, and what it lets this process do.

use std::{fmt, path::Path};

use rustix::{
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd as getfd, pidfd_open},
    thread::{CapabilitySet, capability_is_in_bounding_set},
};

use super::{Ability, sysctl};

/// The first two numbers of `uname -r`; the rest says nothing about features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 of 6.18.
    pub major: u32,
    /// 18 of 6.18.
    pub minor: u32,
}

impl KernelVersion {
    /// `SECCOMP_IOCTL_NOTIF_ADDFD`, which puts a descriptor into the caller (5.9).
    #[must_use]
    pub fn has_addfd(self) -> bool {
        self >= Self { major: 5, minor: 9 }
    }

    /// `SECCOMP_ADDFD_FLAG_SEND`, which answers the call in the same step (5.14).
    #[must_use]
    pub fn has_addfd_send(self) -> bool {
        self >= Self { major: 5, minor: 14 }
    }

    /// Waiting connections can move to another socket of the group (5.14).
    #[must_use]
    pub fn has_migration(self) -> bool {
        self >= Self { major: 5, minor: 14 }
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// `uname(2)`; 0.0 for a release that does not begin with two numbers.
#[must_use]
pub fn kernel_version() -> KernelVersion {
    let name = rustix::system::uname();
    KernelVersion::parse(&name.release().to_string_lossy())
        .unwrap_or(KernelVersion { major: 0, minor: 0 })
}

/// `pidfd_getfd(2)`, tried by this process on itself.
///
/// Docker's default seccomp profile answers `EPERM` unless the container has `CAP_SYS_PTRACE`.
/// Taking a descriptor of another process also depends on [`yama_ptrace_scope`].
#[must_use]
pub fn pidfd_getfd() -> Ability {
    let duplicate = || {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let (known, _keeps_it_open) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&known);
        getfd(&this, number, PidfdGetfdFlags::empty())
    };
    Ability::of(&duplicate())
}

/// The effective capabilities that tine has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

impl Capabilities {
    const NAMED: [(CapabilitySet, &'static str); 7] = [
        (CapabilitySet::BPF, "bpf"),
        (CapabilitySet::PERFMON, "perfmon"),
        (CapabilitySet::SYS_ADMIN, "sys_admin"),
        (CapabilitySet::NET_BIND_SERVICE, "net_bind_service"),
        (CapabilitySet::SYS_PTRACE, "sys_ptrace"),
        (CapabilitySet::SYS_RESOURCE, "sys_resource"),
        (CapabilitySet::KILL, "kill"),
    ];

    /// Their names as `setcap` writes them, without `cap_`, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(bit, _)| self.0.contains(*bit)).map(|(_, name)| name)
    }

    /// Programs that read kernel memory; `CAP_SYS_ADMIN` contains it.
    #[must_use]
    pub fn perfmon(self) -> bool {
        self.0.intersects(CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN))
    }

    /// Reading another process of the same user in spite of Yama.
    #[must_use]
    pub fn sys_ptrace(self) -> bool {
        self.0.contains(CapabilitySet::SYS_PTRACE)
    }

    /// Ports below `ip_unprivileged_port_start`.
    #[must_use]
    pub fn net_bind_service(self) -> bool {
        self.0.contains(CapabilitySet::NET_BIND_SERVICE)
    }
}

/// `capget(2)` of the calling thread; none when a filter forbids the question.
#[must_use]
pub fn capabilities() -> Capabilities {
    let sets = rustix::thread::capabilities(None);
    Capabilities(sets.map_or(CapabilitySet::empty(), |sets| sets.effective))
}

/// Whether a file's capabilities could give this user bpf and perfmon: they are in the bounding
/// set. Docker takes them out of it.
#[must_use]
pub fn bounding_set_has_bpf() -> bool {
    [CapabilitySet::BPF, CapabilitySet::PERFMON]
        .into_iter()
        .all(|capability| capability_is_in_bounding_set(capability).unwrap_or(false))
}

/// `PR_GET_NO_NEW_PRIVS` of the calling thread.
#[must_use]
pub fn no_new_privs() -> bool {
    rustix::thread::no_new_privs().unwrap_or(false)
}

/// `kernel.unprivileged_bpf_disabled`; `None` where the kernel has no eBPF or hides the file.
#[must_use]
pub fn unprivileged_bpf_disabled() -> Option<u8> {
    sysctl("/proc/sys/kernel/unprivileged_bpf_disabled")
}

/// `kernel.yama.ptrace_scope`; 0 without Yama.
#[must_use]
pub fn yama_ptrace_scope() -> u8 {
    sysctl("/proc/sys/kernel/yama/ptrace_scope").unwrap_or(0)
}

/// Whether Docker, podman or systemd's `container` variable say so. A guess, for advice only.
#[must_use]
pub fn in_container() -> bool {
    Path::new("/.dockerenv").exists()
        || Path::new("/run/.containerenv").exists()
        || std::env::var_os("container").is_some_and(|kind| !kind.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_up_to_its_second_number() {
        let parse = |release| KernelVersion::parse(release).map(|v| (v.major, v.minor));
        assert_eq!(parse("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse("5.9-rc1"), Some((5, 9)));
        assert_eq!(parse("4.18.0-553.el8_10.x86_64"), Some((4, 18)));
        assert_eq!(parse("six"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |major, minor| KernelVersion { major, minor };
        assert!(version(5, 10).has_addfd() && !version(5, 8).has_addfd());
        assert!(version(6, 1).has_addfd_send() && !version(5, 9).has_addfd_send());
        assert!(version(5, 14).has_migration() && !version(4, 20).has_migration());
    }
}
