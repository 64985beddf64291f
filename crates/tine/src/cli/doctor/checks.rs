//! Each thing that is looked at: state, and why it matters where something is missing.

use tine_linux::{
    cgroup::Controller,
    host::{Ability, BtfFile, CgroupV2, Host},
};

use super::remedy;
use crate::api::doctor::{
    Check, CheckName,
    CheckState::{self, Limited, Missing, Ok},
};

const ONLY_CHANNELS: &str = "without it only node, tine-cluster workers and programs that know \
                             LISTEN_FDS can share a port";

/// All checks, in the order in which they are shown: what everything rests on first.
pub(super) fn checks(host: &Host, executable: &str) -> Vec<Check> {
    vec![
        kernel(host),
        seccomp_notification(host),
        addfd(host),
        wait_killable(host),
        pidfd_getfd(host),
        ptrace_scope(host),
        ebpf(host, executable),
        queue_awareness(host, executable),
        btf(host),
        capabilities(host, executable),
        cgroup(host),
        somaxconn(host),
        tcp_migrate_req(host),
        open_files(host),
    ]
}

fn well(name: CheckName, found: impl Into<String>) -> Check {
    Check { name, state: Ok, found: found.into(), why: None, commands: Vec::new() }
}

impl Check {
    fn lacks(mut self, state: CheckState, why: &str, commands: Vec<String>) -> Self {
        self.state = state;
        self.why = Some(why.to_owned());
        self.commands = commands;
        self
    }
}

fn kernel(host: &Host) -> Check {
    let check = well(CheckName::Kernel, host.kernel.to_string());
    if !host.kernel.has_addfd() {
        let why = format!("too old, 5.9 is needed: {ONLY_CHANNELS}");
        return check.lacks(Missing, &why, Vec::new());
    }
    if !host.kernel.has_migration() {
        let why = "from 5.14 on, connections that wait for a worker that has gone move to another";
        return check.lacks(Limited, why, Vec::new());
    }
    check
}

fn seccomp_notification(host: &Host) -> Check {
    let listener = host.seccomp.listener;
    let check = well(CheckName::SeccompNotification, listener.to_string());
    match listener {
        Ability::Yes => check,
        Ability::NotPermitted => {
            let why = format!("a filter around tine forbids seccomp(2): {ONLY_CHANNELS}");
            check.lacks(Missing, &why, remedy::outer_filter(host, "seccomp"))
        }
        Ability::Unsupported(rustix::io::Errno::BUSY) => {
            let why = "tine runs under another program's notifying filter (another tine?), and \
                       the kernel allows one: start it outside";
            check.lacks(Missing, why, Vec::new())
        }
        Ability::Unsupported(_) => {
            let why = format!("this kernel has no user notification: {ONLY_CHANNELS}");
            check.lacks(Missing, &why, Vec::new())
        }
    }
}

fn addfd(host: &Host) -> Check {
    if host.kernel.has_addfd() {
        let found = if host.kernel.has_addfd_send() { "yes, with SEND" } else { "yes" };
        return well(CheckName::Addfd, found);
    }
    let why = format!("kernel 5.9 has it: {ONLY_CHANNELS}");
    well(CheckName::Addfd, "no").lacks(Missing, &why, Vec::new())
}

fn wait_killable(host: &Host) -> Check {
    let check = well(CheckName::WaitKillable, host.seccomp.wait_killable.to_string());
    if host.seccomp.wait_killable.is_yes() {
        return check;
    }
    let why = "kernel 5.19 has it; without it Go's own signals interrupt a trapped bind, which is \
               then tried again";
    check.lacks(Limited, why, Vec::new())
}

fn pidfd_getfd(host: &Host) -> Check {
    let check = well(CheckName::PidfdGetfd, host.pidfd_getfd.to_string());
    let why = "tine then makes each worker's socket itself and puts it in by ADDFD: options that \
               the program set before bind are lost";
    match host.pidfd_getfd {
        Ability::Yes => check,
        Ability::NotPermitted => check.lacks(Limited, why, remedy::pidfd_getfd(host)),
        Ability::Unsupported(_) => check.lacks(Limited, why, Vec::new()),
    }
}

fn ptrace_scope(host: &Host) -> Check {
    let check = well(CheckName::PtraceScope, host.yama_ptrace_scope.to_string());
    if host.may_look_into_children() {
        return check;
    }
    let why = format!(
        "even a parent may not look into its children, so the address of a trapped bind cannot be \
         read: {ONLY_CHANNELS}"
    );
    check.lacks(Missing, &why, remedy::ptrace_scope(host))
}

fn ebpf(host: &Host, executable: &str) -> Check {
    let check = well(CheckName::Ebpf, host.ebpf_load.to_string());
    match host.ebpf_load {
        Ability::Yes => check,
        Ability::NotPermitted => {
            let why = "rr in the kernel needs it: without, rr is handed over by the manager for \
                       node and tine-cluster workers, and random for other programs";
            check.lacks(Limited, why, remedy::capabilities(host, executable))
        }
        Ability::Unsupported(_) => {
            let why = "this kernel takes no such program: rr in the kernel is not to be had";
            check.lacks(Limited, why, Vec::new())
        }
    }
}

fn queue_awareness(host: &Host, executable: &str) -> Check {
    let check = well(CheckName::QueueAwareness, host.ebpf_read_kernel.to_string());
    let why = "without it rr goes strictly in turn, behind busy workers too";
    match host.ebpf_read_kernel {
        Ability::Yes => check,
        Ability::NotPermitted => check.lacks(Limited, why, remedy::capabilities(host, executable)),
        // Kernel lockdown forbids reading kernel memory even to root.
        Ability::Unsupported(_) => check.lacks(Limited, why, Vec::new()),
    }
}

fn btf(host: &Host) -> Check {
    let why = "without it rr goes strictly in turn: where the kernel keeps its queues is unknown";
    match host.btf {
        BtfFile::Readable => well(CheckName::Btf, "readable"),
        BtfFile::NotReadable => {
            well(CheckName::Btf, "not readable").lacks(Limited, why, Vec::new())
        }
        BtfFile::Absent => well(CheckName::Btf, "absent").lacks(Limited, why, Vec::new()),
    }
}

/// The same remedy as for eBPF is not told twice; but where it would have no effect, that is.
fn capabilities(host: &Host, executable: &str) -> Check {
    let names: Vec<&str> = host.capabilities.names().collect();
    let found = if names.is_empty() { "none".into() } else { names.join(", ") };
    let check = well(CheckName::Capabilities, found);
    if host.ebpf_load.is_yes() && host.ebpf_read_kernel.is_yes() {
        return check;
    }
    let commands = remedy::capabilities(host, executable);
    if host.no_new_privs {
        let why = "no_new_privs is set here: capabilities of a file have no effect on what is \
                   started from this shell or service (systemd: NoNewPrivileges=no)";
        return check.lacks(Limited, why, commands);
    }
    let why = "an ordinary user gets eBPF through capabilities of tine's own file; to be given \
               again whenever the file is replaced";
    check.lacks(Limited, why, commands)
}

fn cgroup(host: &Host) -> Check {
    let why = "without a group of its own a worker's processes are found by session and parent, \
               which one that forks twice can leave";
    match &host.cgroup {
        CgroupV2::Mounted { own, writable: true, missing, .. } => {
            limits(well(CheckName::CgroupV2, format!("{}, writable", own.display())), missing)
        }
        CgroupV2::Mounted { own, writable: false, .. } => well(
            CheckName::CgroupV2,
            format!("{}, not writable", own.display()),
        )
        .lacks(Limited, why, remedy::cgroup(host)),
        CgroupV2::OwnHidden { mount } => {
            let found = format!("{}, without this process's group", mount.display());
            well(CheckName::CgroupV2, found).lacks(Limited, why, remedy::no_cgroup(host))
        }
        CgroupV2::NotMounted => {
            well(CheckName::CgroupV2, "not mounted").lacks(Limited, why, remedy::no_cgroup(host))
        }
    }
}

/// Groups can be made, but not every limit of them is kept.
fn limits(check: Check, missing: &[Controller]) -> Check {
    if missing.is_empty() {
        return check;
    }
    let words: Vec<&str> = missing.iter().map(|controller| controller.word()).collect();
    let why = format!(
        "no controller of {} is in it: `limits` of an app are not kept, which its events tell",
        words.join(", ")
    );
    check.lacks(Limited, &why, Vec::new())
}

fn somaxconn(host: &Host) -> Check {
    let Some(limit) = host.somaxconn else { return well(CheckName::Somaxconn, "hidden") };
    let check = well(CheckName::Somaxconn, limit.to_string());
    if limit >= remedy::GOOD_SOMAXCONN {
        return check;
    }
    let why = "every accept queue is cut to it; in a burst, connections beyond it are dropped";
    let name = "net.core.somaxconn";
    check.lacks(Limited, why, remedy::sysctl(host, name, remedy::GOOD_SOMAXCONN))
}

fn tcp_migrate_req(host: &Host) -> Check {
    let found = match host.tcp_migrate_req {
        Some(true) => "on",
        Some(false) => "off",
        None => "not there",
    };
    let check = well(CheckName::TcpMigrateReq, found);
    // The eBPF program says itself where such a connection goes.
    if host.ebpf_load.is_yes() || host.tcp_migrate_req == Some(true) {
        return check;
    }
    let why = "without it and without eBPF, a connection that waits for a worker that has gone \
               waits for the next one in its place";
    let commands = match host.tcp_migrate_req {
        Some(_) => remedy::sysctl(host, "net.ipv4.tcp_migrate_req", 1),
        None => Vec::new(),
    };
    check.lacks(Limited, why, commands)
}

fn open_files(host: &Host) -> Check {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "no limit".into(), |n| n.to_string());
    let found = format!("{} (hard {})", limit(host.files.soft), limit(host.files.hard));
    let check = well(CheckName::OpenFiles, found);
    if host.files.soft.is_none_or(|soft| soft >= remedy::GOOD_FILES) {
        return check;
    }
    let why = "each connection of a worker takes one; workers have the limit of the shell that \
               starts tine";
    check.lacks(Limited, why, remedy::open_files(host))
}
