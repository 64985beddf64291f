//! What this host and this user have of what tine can use.
//!
//! Each probe is a small function that asks or really tries, leaves nothing behind and never waits
//! for another process. [`Host::probe`] makes them all.

mod cgroup;
mod ebpf;
mod kernel;
mod limits;
mod seccomp;

pub use cgroup::{CgroupV2, cgroup_v2};
pub use ebpf::{BtfFile, btf_readable, ebpf_load, ebpf_read_kernel};
pub use kernel::{
    Capabilities, KernelVersion, bounding_set_has_bpf, capabilities, in_container, kernel_version,
    no_new_privs, pidfd_getfd, unprivileged_bpf_disabled, yama_ptrace_scope,
};
pub use limits::{FileLimits, file_limits, somaxconn, tcp_migrate_req};
pub use seccomp::{NotifSizes, SeccompProbes, notif_sizes, seccomp_probes};

use std::fmt;

use rustix::io::Errno;

/// The answer of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// It was tried and works.
    Yes,
    /// The kernel has it, but not for this user or under this filter.
    NotPermitted,
    /// The kernel has not got it, or it failed for another reason.
    Unsupported(Errno),
}

impl Ability {
    /// Whether it can be used.
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }

    fn of<T>(result: &Result<T, Errno>) -> Self {
        match result {
            Ok(_) => Self::Yes,
            Err(Errno::PERM | Errno::ACCESS) => Self::NotPermitted,
            Err(errno) => Self::Unsupported(*errno),
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::NotPermitted => f.write_str("not permitted"),
            Self::Unsupported(errno) => write!(f, "not supported ({errno})"),
        }
    }
}

/// The answers of all probes, taken at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Of the running kernel; a container has its host's.
    pub kernel: KernelVersion,
    /// The bind trap's foundation.
    pub seccomp: SeccompProbes,
    /// Taking a duplicate of another process's descriptor.
    pub pidfd_getfd: Ability,
    /// The types of the running kernel, for programs that read its structures.
    pub btf: BtfFile,
    /// Loading a program that picks the socket for a connection.
    pub ebpf_load: Ability,
    /// Reading accept-queue lengths in such a program.
    pub ebpf_read_kernel: Ability,
    /// What this process may do now.
    pub capabilities: Capabilities,
    /// Capabilities of tine's file would have an effect, unless `no_new_privs` forbids it.
    pub bounding_set_has_bpf: bool,
    /// Set for good: file capabilities and setuid bits have no effect on programs run from here.
    pub no_new_privs: bool,
    /// 0 allows some programs to everybody, 1 and 2 none; `None` without eBPF.
    pub unprivileged_bpf_disabled: Option<u8>,
    /// 0 (also without Yama): any process of the same user; 1: only ancestors; 2: only with
    /// `CAP_SYS_PTRACE`; 3: nobody.
    pub yama_ptrace_scope: u8,
    /// Where worker trees could be kept together.
    pub cgroup: CgroupV2,
    /// The largest accept queue a program can ask for; `None` where `/proc/sys` is hidden.
    pub somaxconn: Option<u32>,
    /// Whether the kernel moves waiting connections when a socket closes, without eBPF.
    pub tcp_migrate_req: Option<bool>,
    /// How many descriptors this process may have.
    pub files: FileLimits,
    /// Whether this seems to be a container, for which the remedies are others.
    pub in_container: bool,
}

impl Host {
    /// Makes every probe, in a few milliseconds.
    #[must_use]
    pub fn probe() -> Self {
        Self {
            kernel: kernel_version(),
            seccomp: seccomp_probes(),
            pidfd_getfd: pidfd_getfd(),
            btf: btf_readable(),
            ebpf_load: ebpf_load(),
            ebpf_read_kernel: ebpf_read_kernel(),
            capabilities: capabilities(),
            bounding_set_has_bpf: bounding_set_has_bpf(),
            no_new_privs: no_new_privs(),
            unprivileged_bpf_disabled: unprivileged_bpf_disabled(),
            yama_ptrace_scope: yama_ptrace_scope(),
            cgroup: cgroup_v2(),
            somaxconn: somaxconn(),
            tcp_migrate_req: tcp_migrate_req(),
            files: file_limits(),
            in_container: in_container(),
        }
    }

    /// Whether the bind trap can be laid: notifications, descriptors put in by ADDFD (5.9), and
    /// the arguments of a trapped call can be read.
    #[must_use]
    pub fn can_trap_binds(&self) -> bool {
        self.seccomp.listener.is_yes() && self.kernel.has_addfd() && self.may_look_into_children()
    }

    /// Whether Yama leaves a parent the sight of its children (`process_vm_readv`, `pidfd_getfd`).
    #[must_use]
    pub fn may_look_into_children(&self) -> bool {
        sees_children(self.yama_ptrace_scope, self.capabilities)
    }
}

fn sees_children(yama_ptrace_scope: u8, capabilities: Capabilities) -> bool {
    match yama_ptrace_scope {
        0 | 1 => true,
        2 => capabilities.sys_ptrace(),
        _ => false,
    }
}

/// [`Host::can_trap_binds`] without the probes that have nothing to do with it, for whoever must not
/// keep a program waiting.
#[must_use]
pub fn can_trap_binds() -> bool {
    kernel_version().has_addfd()
        && sees_children(yama_ptrace_scope(), capabilities())
        && seccomp_probes().listener.is_yes()
}

/// The number in a file of `/proc/sys`.
fn sysctl<T: std::str::FromStr>(path: &str) -> Option<T> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
