//! What `tine doctor --json` prints: one [`DoctorReport`].

use serde::{Deserialize, Serialize};
use tine_cluster::policy::{Mechanism, Policy};

/// What this host and this user have, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// [`crate::api::VERSION`].
    pub version: u32,
    /// The version of tine.
    pub tine: String,
    /// The file of this program, which `setcap` would change.
    pub executable: String,
    /// An unmodified program of any language can be run N times on one port. Exit code 1 if not.
    pub any_program: bool,
    /// What can be run, in words; not empty even where `any_program` is false.
    pub works: Vec<String>,
    /// eBPF programs may choose the seat, strictly in turn at least.
    pub ebpf: bool,
    /// They also see accept-queue lengths, so that busy workers are passed over.
    pub queue_aware: bool,
    /// What was looked at, in a fixed order.
    pub checks: Vec<Check>,
    /// What was found, in numbers and words for programs.
    pub host: HostFacts,
    /// What each policy would get, for each kind of program.
    pub mechanisms: Vec<Given>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is.
    pub name: CheckName,
    /// Whether something is to be done.
    pub state: CheckState,
    /// What was found, in words.
    pub found: String,
    /// Why it matters; `null` when all is well.
    pub why: Option<String>,
    /// Commands that grant it, each one way; empty when there is none or none is needed.
    pub commands: Vec<String>,
}

/// The things that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The kernel's version.
    Kernel,
    /// Trapping `bind(2)` of a child.
    SeccompNotification,
    /// Putting a descriptor into a child (5.9).
    Addfd,
    /// Trapped calls that are not interrupted (5.19).
    WaitKillable,
    /// Taking a duplicate of a child's descriptor.
    PidfdGetfd,
    /// Who may look into whose process.
    PtraceScope,
    /// The types of the running kernel.
    Btf,
    /// Programs that choose the socket for a connection.
    Ebpf,
    /// Such programs that read accept queues.
    QueueAwareness,
    /// What this process may do beyond an ordinary user.
    Capabilities,
    /// Keeping a worker's processes together.
    CgroupV2,
    /// The largest accept queue.
    Somaxconn,
    /// Moving waiting connections off a closed socket without eBPF.
    TcpMigrateReq,
    /// How many descriptors a process may have.
    OpenFiles,
}

impl CheckName {
    /// What it is called on the screen.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::SeccompNotification => "seccomp notification",
            Self::Addfd => "ADDFD",
            Self::WaitKillable => "WAIT_KILLABLE_RECV",
            Self::PidfdGetfd => "pidfd_getfd",
            Self::PtraceScope => "ptrace_scope",
            Self::Btf => "BTF",
            Self::Ebpf => "eBPF",
            Self::QueueAwareness => "eBPF sees queues",
            Self::Capabilities => "capabilities",
            Self::CgroupV2 => "cgroup v2",
            Self::Somaxconn => "somaxconn",
            Self::TcpMigrateReq => "tcp_migrate_req",
            Self::OpenFiles => "open files",
        }
    }
}

/// Whether something is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// Nothing.
    Ok,
    /// tine works without it, with less; `why` says with what.
    Limited,
    /// What `why` says cannot be done at all.
    Missing,
}

impl CheckState {
    /// The word in JSON and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// The answer of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Tried, and it works.
    Yes,
    /// The kernel has it, but not for this user or under this filter.
    NotPermitted,
    /// The kernel has not got it.
    Unsupported,
}

/// What was found, for programs.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, none a state")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Major and minor, such as `6.18`.
    pub kernel: String,
    /// This seems to be a container.
    pub in_container: bool,
    /// A filter with a notification descriptor could be installed.
    pub seccomp_notification: Probe,
    /// Trapped calls are not interrupted by harmless signals.
    pub wait_killable: Probe,
    /// `pidfd_getfd(2)` on this process itself.
    pub pidfd_getfd: Probe,
    /// `/sys/kernel/btf/vmlinux` can be read.
    pub btf: bool,
    /// A socket-choosing program could be loaded.
    pub ebpf: Probe,
    /// One that reads kernel memory could be loaded.
    pub ebpf_read_kernel: Probe,
    /// Of this process, those that matter, without `cap_`.
    pub capabilities: Vec<String>,
    /// File capabilities have no effect on programs started from here.
    pub no_new_privs: bool,
    /// `kernel.unprivileged_bpf_disabled`; `null` where it is hidden.
    pub unprivileged_bpf_disabled: Option<u8>,
    /// `kernel.yama.ptrace_scope`; 0 without Yama.
    pub ptrace_scope: u8,
    /// This process's group in the unified hierarchy; `null` where there is none to be seen.
    pub cgroup: Option<String>,
    /// Groups can be made in it.
    pub cgroup_writable: bool,
    /// `net.core.somaxconn`; `null` where it is hidden.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_migrate_req`; `null` before 5.14.
    pub tcp_migrate_req: Option<bool>,
    /// `RLIMIT_NOFILE` now; `null` is no limit.
    pub files_soft: Option<u64>,
    /// What it can be raised to; `null` is no limit.
    pub files_hard: Option<u64>,
    /// `fs.nr_open`.
    pub files_nr_open: Option<u64>,
}

/// What a policy would get for one kind of program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// What is asked for.
    pub policy: Policy,
    /// By what program.
    pub program: Program,
    /// What is given; `null` when such a program cannot share a port here.
    pub gets: Option<Choice>,
}

/// A policy as it would really be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Differs from what was asked for only when `degraded`.
    pub policy: Policy,
    /// How it is carried out.
    pub mechanism: Mechanism,
    /// The policy asked for is not to be had.
    pub degraded: bool,
}

/// The kinds of program, by how they come to their sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// `node`, or a program with the worker side of tine-cluster.
    Channel,
    /// Everything else: its `bind(2)` is trapped.
    Other,
}
