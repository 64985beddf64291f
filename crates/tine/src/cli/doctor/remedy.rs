//! The commands that grant what is missing.

use tine_linux::host::Host;

/// Below this the accept queue overflows in a burst; the kernel's own default since 5.4.
pub(super) const GOOD_SOMAXCONN: u32 = 4096;
/// A worker with fewer descriptors runs out with fewer connections.
pub(super) const GOOD_FILES: u64 = 4096;
const WANTED_FILES: u64 = 65_536;

/// For eBPF with queue awareness.
pub(super) fn capabilities(host: &Host, executable: &str) -> Vec<String> {
    if host.in_container && !host.bounding_set_has_bpf {
        return vec!["docker run --cap-add BPF --cap-add PERFMON --user 0 …".into()];
    }
    // CAP_BPF and CAP_PERFMON were split off CAP_SYS_ADMIN in 5.8.
    let has_bpf_capability = (host.kernel.major, host.kernel.minor) >= (5, 8);
    let wanted = if has_bpf_capability { "cap_bpf,cap_perfmon" } else { "cap_sys_admin" };
    vec![format!("sudo setcap {wanted}+ep {}", quoted(executable))]
}

/// For a system call that a seccomp profile around us forbids.
pub(super) fn outer_filter(host: &Host, call: &str) -> Vec<String> {
    if host.in_container {
        return vec!["docker run --security-opt seccomp=unconfined …".into()];
    }
    vec![format!(
        "systemctl edit UNIT   # [Service] SystemCallFilter=@system-service {call}, when the \
         filter is systemd's"
    )]
}

/// For `pidfd_getfd(2)`, which Docker's profile ties to a capability.
pub(super) fn pidfd_getfd(host: &Host) -> Vec<String> {
    let mut commands = outer_filter(host, "pidfd_getfd");
    if host.in_container {
        commands.insert(0, "docker run --cap-add SYS_PTRACE …".into());
    }
    commands
}

/// 3 cannot be taken back by any command until the next boot.
pub(super) fn ptrace_scope(host: &Host) -> Vec<String> {
    if host.yama_ptrace_scope > 2 {
        return Vec::new();
    }
    sysctl(host, "kernel.yama.ptrace_scope", 1)
}

pub(super) fn cgroup(host: &Host) -> Vec<String> {
    if host.in_container {
        return vec!["docker run --cgroupns private --privileged …".into()];
    }
    vec!["systemd-run --user --scope --property Delegate=yes tine …".into()]
}

pub(super) fn no_cgroup(host: &Host) -> Vec<String> {
    if host.in_container {
        return vec!["docker run -v /sys/fs/cgroup:/sys/fs/cgroup:ro …".into()];
    }
    vec!["sudo mount -t cgroup2 none /sys/fs/cgroup".into()]
}

pub(super) fn sysctl(host: &Host, name: &str, value: u32) -> Vec<String> {
    if host.in_container && name.starts_with("net.") {
        return vec![format!("docker run --sysctl {name}={value} …")];
    }
    vec![format!("sudo sysctl -w {name}={value}")]
}

pub(super) fn open_files(host: &Host) -> Vec<String> {
    let hard = host.files.hard.unwrap_or(u64::MAX);
    let wanted = WANTED_FILES.min(host.files.nr_open.unwrap_or(WANTED_FILES));
    if hard >= GOOD_FILES {
        return vec![format!("ulimit -n {}", hard.min(wanted))];
    }
    if host.in_container {
        return vec![format!("docker run --ulimit nofile={wanted}:{wanted} …")];
    }
    vec![format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}")]
}

/// As a word of a shell command.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_stays_one_word_of_the_shell() {
        assert_eq!(quoted("/usr/bin/tine"), "/usr/bin/tine");
        assert_eq!(quoted("/my dir/tine"), "'/my dir/tine'");
        assert_eq!(quoted("/it's/tine"), r"'/it'\''s/tine'");
    }
}
