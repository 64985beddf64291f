//! The report from the probes: no look at the host of its own.

use tine_cluster::policy::{Acquisition, Policy, choose};
use tine_linux::host::{Ability, BtfFile, CgroupV2, Host};

use super::checks::checks;
use crate::{
    api::{
        VERSION,
        doctor::{Choice, DoctorReport, Given, HostFacts, Probe, Program},
    },
    supervise::ground::abilities,
};

/// All that `tine doctor` tells; `executable` is the file that `setcap` would change.
#[must_use]
pub fn report(host: &Host, executable: &str) -> DoctorReport {
    let queue_aware =
        host.ebpf_load.is_yes() && host.ebpf_read_kernel.is_yes() && host.btf == BtfFile::Readable;
    DoctorReport {
        version: VERSION,
        tine: env!("CARGO_PKG_VERSION").to_owned(),
        executable: executable.to_owned(),
        any_program: host.can_trap_binds(),
        works: works(host),
        ebpf: abilities(host).ebpf,
        queue_aware,
        checks: checks(host, executable),
        host: facts(host),
        mechanisms: mechanisms(host),
    }
}

fn works(host: &Host) -> Vec<String> {
    let mut works = Vec::new();
    if host.can_trap_binds() {
        works.push("any program, unmodified: its bind is trapped".into());
    }
    works.push("node programs, and workers that use tine-cluster: over their channel".into());
    works.push("programs that take their sockets from LISTEN_FDS".into());
    works.push("programs that do not listen, run N times".into());
    works
}

fn mechanisms(host: &Host) -> Vec<Given> {
    let mut given = Vec::new();
    for policy in [Policy::Rr, Policy::Random, Policy::Sticky, Policy::Shared] {
        for program in [Program::Channel, Program::Other] {
            given.push(Given { policy, program, gets: gets(policy, program, host) });
        }
    }
    given
}

fn gets(policy: Policy, program: Program, host: &Host) -> Option<Choice> {
    let acquisition = match program {
        Program::Channel => Acquisition::NodeChannel,
        Program::Other if host.can_trap_binds() => Acquisition::BindTrap,
        Program::Other => return None,
    };
    let choice = choose(policy, None, abilities(host), acquisition).ok()?;
    let tine_cluster::policy::Choice { policy, mechanism, degraded } = choice;
    Some(Choice { policy, mechanism, degraded })
}

fn facts(host: &Host) -> HostFacts {
    let (cgroup, cgroup_writable) = match &host.cgroup {
        CgroupV2::Mounted { own, writable, .. } => (Some(own.display().to_string()), *writable),
        CgroupV2::OwnHidden { .. } | CgroupV2::NotMounted => (None, false),
    };
    HostFacts {
        kernel: host.kernel.to_string(),
        in_container: host.in_container,
        seccomp_notification: probe(host.seccomp.listener),
        wait_killable: probe(host.seccomp.wait_killable),
        pidfd_getfd: probe(host.pidfd_getfd),
        btf: host.btf == BtfFile::Readable,
        ebpf: probe(host.ebpf_load),
        ebpf_read_kernel: probe(host.ebpf_read_kernel),
        capabilities: host.capabilities.names().map(str::to_owned).collect(),
        no_new_privs: host.no_new_privs,
        unprivileged_bpf_disabled: host.unprivileged_bpf_disabled,
        ptrace_scope: host.yama_ptrace_scope,
        cgroup,
        cgroup_writable,
        somaxconn: host.somaxconn,
        tcp_migrate_req: host.tcp_migrate_req,
        files_soft: host.files.soft,
        files_hard: host.files.hard,
        files_nr_open: host.files.nr_open,
    }
}

fn probe(ability: Ability) -> Probe {
    match ability {
        Ability::Yes => Probe::Yes,
        Ability::NotPermitted => Probe::NotPermitted,
        Ability::Unsupported(_) => Probe::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use tine_cluster::policy::Mechanism;
    use tine_linux::host::KernelVersion;

    use super::*;
    use crate::api::doctor::{Check, CheckName, CheckState};

    fn bare() -> Host {
        let mut host = Host::probe();
        host.in_container = false;
        host.ebpf_load = Ability::NotPermitted;
        host.ebpf_read_kernel = Ability::NotPermitted;
        host.seccomp.listener = Ability::Yes;
        host.kernel = KernelVersion { major: 6, minor: 1 };
        host
    }

    fn check(report: &DoctorReport, name: CheckName) -> &Check {
        report.checks.iter().find(|check| check.name == name).unwrap()
    }

    fn given(report: &DoctorReport, policy: Policy, program: Program) -> Option<Choice> {
        report.mechanisms.iter().find(|g| g.policy == policy && g.program == program).unwrap().gets
    }

    #[test]
    fn an_ordinary_user_is_told_the_setcap_line_for_this_very_file() {
        let report = report(&bare(), "/opt/my apps/tine");
        let found = check(&report, CheckName::Ebpf);
        assert_eq!(found.state, CheckState::Limited);
        let command = "sudo setcap cap_bpf,cap_perfmon+ep '/opt/my apps/tine'";
        assert_eq!(found.commands, [command]);
        assert!(report.any_program && !report.ebpf && !report.queue_aware);
        let choice = given(&report, Policy::Rr, Program::Other).unwrap();
        assert_eq!((choice.policy, choice.degraded), (Policy::Random, true));
        let choice = given(&report, Policy::Rr, Program::Channel).unwrap();
        assert_eq!(choice.mechanism, Mechanism::HandOver);
    }

    #[test]
    fn in_a_container_the_remedy_is_an_option_of_docker() {
        let mut host = bare();
        host.in_container = true;
        host.bounding_set_has_bpf = false;
        host.seccomp.listener = Ability::NotPermitted;
        host.somaxconn = Some(128);
        let report = report(&host, "/tine");
        let command = |name| check(&report, name).commands.join(" ");
        assert!(command(CheckName::Ebpf).contains("--cap-add BPF"));
        assert!(command(CheckName::SeccompNotification).contains("--security-opt seccomp="));
        assert_eq!(command(CheckName::Somaxconn), "docker run --sysctl net.core.somaxconn=4096 …");
    }

    #[test]
    fn without_the_trap_other_programs_get_nothing_and_the_rest_is_said() {
        for (listener, minor) in [(Ability::Unsupported(Errno::NOSYS), 18), (Ability::Yes, 8)] {
            let mut host = bare();
            host.seccomp.listener = listener;
            host.kernel = KernelVersion { major: 5, minor };
            let report = report(&host, "/tine");
            assert!(!report.any_program);
            assert_eq!(given(&report, Policy::Rr, Program::Other), None);
            assert!(given(&report, Policy::Rr, Program::Channel).is_some());
            assert!(report.works.iter().any(|what| what.contains("node")));
            assert!(report.checks.iter().any(|check| check.state == CheckState::Missing));
        }
    }

    #[test]
    fn a_parent_that_may_not_look_into_its_children_cannot_trap() {
        let mut host = bare();
        host.yama_ptrace_scope = 3;
        let report = report(&host, "/tine");
        assert_eq!(check(&report, CheckName::PtraceScope).state, CheckState::Missing);
        assert!(!report.any_program);
    }

    #[test]
    fn no_new_privs_is_named_as_what_makes_setcap_useless() {
        let mut host = bare();
        host.no_new_privs = true;
        let report = report(&host, "/tine");
        let why = check(&report, CheckName::Capabilities).why.as_ref().unwrap();
        assert!(why.contains("no_new_privs"));
    }

    #[test]
    fn a_low_limit_of_descriptors_is_raised_with_the_command_that_can() {
        let mut host = bare();
        host.files = tine_linux::host::FileLimits {
            soft: Some(1024),
            hard: Some(524_288),
            nr_open: Some(1_048_576),
        };
        let command = |host: &Host| report(host, "/t").checks.last().unwrap().commands.join(" ");
        assert_eq!(command(&host), "ulimit -n 65536");
        host.files.hard = Some(1024);
        assert_eq!(command(&host), "sudo prlimit --pid $$ --nofile=65536:65536");
        host.files.soft = Some(65_536);
        assert_eq!(command(&host), "");
    }
}
