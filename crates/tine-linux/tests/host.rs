//! Each probe against what can be read or tried another way.

use std::{fs, process::Command};

use tine_linux::host::{
    Ability, BtfFile, CgroupV2, Host, file_limits, kernel_version, no_new_privs, notif_sizes,
    pidfd_getfd, seccomp_probes, yama_ptrace_scope,
};

fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.trim().to_owned()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// Runs this very test in a process of its own, so that other tests' descriptors do not count.
fn alone(test: &str) -> bool {
    if std::env::var_os("ALONE").is_some() {
        return true;
    }
    let this = std::env::current_exe().expect("/proc is mounted");
    let mut run = Command::new(this);
    run.args(["--exact", test, "--test-threads=1"]).env("ALONE", "1");
    let output = run.output().expect("this program can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

#[test]
fn the_kernel_version_is_that_of_proc() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with(&format!("{}.", kernel_version())), "{release}");
}

#[test]
fn probing_leaves_nothing_behind() {
    if !alone("probing_leaves_nothing_behind") {
        return;
    }
    let before = (descriptors(), status("NoNewPrivs:"), status("Seccomp:"), no_new_privs());
    let _ = Host::probe();
    let after = (descriptors(), status("NoNewPrivs:"), status("Seccomp:"), no_new_privs());
    assert_eq!(before, after);
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 2, "main and this test");
}

#[test]
fn a_user_notification_listener_can_be_had_on_a_kernel_that_has_it() {
    let probes = seccomp_probes();
    if kernel_version() >= (tine_linux::host::KernelVersion { major: 5, minor: 19 }) {
        assert_eq!(probes.wait_killable, probes.listener);
    }
    if status("Seccomp:") == "0" {
        assert_eq!(probes.listener, Ability::Yes);
        assert!(notif_sizes().unwrap().notification >= 80);
    }
}

#[test]
fn ebpf_is_to_be_had_exactly_with_the_capabilities() {
    let host = Host::probe();
    let held: Vec<&str> = host.capabilities.names().collect();
    let all =
        held.contains(&"sys_admin") || ["bpf", "perfmon"].iter().all(|name| held.contains(name));
    if status("Seccomp:") == "0" && kernel_version().has_addfd() {
        assert_eq!(host.ebpf_read_kernel.is_yes(), all, "{held:?}");
    }
    if all {
        assert!(host.ebpf_load.is_yes());
    }
}

#[test]
fn the_capabilities_are_those_of_proc() {
    let bits = u64::from_str_radix(&status("CapEff:"), 16).unwrap();
    let held: Vec<&str> = tine_linux::host::capabilities().names().collect();
    for (bit, name) in [(39, "bpf"), (38, "perfmon"), (21, "sys_admin")] {
        assert_eq!(held.contains(&name), bits >> bit & 1 == 1, "{name}");
    }
}

#[test]
fn an_ordinary_user_is_refused_ebpf_and_keeps_the_bind_trap() {
    if !rustix::process::geteuid().is_root() || std::env::var_os("ORDINARY").is_some() {
        let host = Host::probe();
        assert_ne!(host.ebpf_read_kernel, Ability::Yes);
        assert!(host.can_trap_binds());
        assert_eq!(host.capabilities.names().count(), 0);
        return;
    }
    let test = "an_ordinary_user_is_refused_ebpf_and_keeps_the_bind_trap";
    // The build directory may be closed to other users: hand the program over as a copy.
    let copy = std::env::temp_dir().join(format!("tine-host-test-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&copy)
        .args(["--exact", test])
        .env("ORDINARY", "1")
        .output()
        .unwrap();
    fs::remove_file(&copy).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn limits_and_files_are_told_as_they_are() {
    let host = Host::probe();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    assert_eq!(file_limits().soft, numbers.next());
    assert_eq!(file_limits().hard, numbers.next());
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    assert_eq!(host.somaxconn, read("/proc/sys/net/core/somaxconn"));
    assert_eq!(
        host.tcp_migrate_req.map(u32::from),
        read("/proc/sys/net/ipv4/tcp_migrate_req").map(|on| on.min(1))
    );
    let yama = read("/proc/sys/kernel/yama/ptrace_scope").unwrap_or(0);
    assert_eq!(u32::from(yama_ptrace_scope()), yama);
    assert_eq!(host.btf == BtfFile::Readable, fs::read("/sys/kernel/btf/vmlinux").is_ok());
}

#[test]
fn a_writable_cgroup_really_takes_a_group() {
    match Host::probe().cgroup {
        CgroupV2::Mounted { own, writable, missing, .. } => {
            let known = fs::read_to_string(own.join("cgroup.controllers")).unwrap();
            let known: Vec<&str> = known.split_whitespace().collect();
            assert!(missing.iter().all(|controller| !known.contains(&controller.word())));
            let group = own.join(format!("tine-host-test-{}", std::process::id()));
            let made = fs::create_dir(&group).is_ok();
            if made {
                fs::remove_dir(&group).unwrap();
            }
            assert_eq!(made, writable, "{}", own.display());
        }
        CgroupV2::OwnHidden { .. } => {}
        CgroupV2::NotMounted => {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            assert!(!mounts.lines().any(|l| l.split_whitespace().nth(2) == Some("cgroup2")));
        }
    }
}

#[test]
fn a_descriptor_of_this_process_can_be_duplicated_without_a_filter() {
    if status("Seccomp:") == "0" {
        assert_eq!(pidfd_getfd(), Ability::Yes);
    }
}
