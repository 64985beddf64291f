//! `tine doctor` against what is known of this host another way.
#![forbid(unsafe_code)]

use std::{
    fs,
    process::{Command, Output},
};

use tine::api::doctor::{CheckName, CheckState, DoctorReport, Probe, Program};
use tine_cluster::policy::{Mechanism, Policy};

const TINE: &str = env!("CARGO_BIN_EXE_tine");

fn run(command: &mut Command) -> Output {
    command.output().expect("the program can be run")
}

fn json(output: &Output) -> DoctorReport {
    serde_json::from_slice(&output.stdout).expect("the report is JSON of the documented shape")
}

fn state(report: &DoctorReport, name: CheckName) -> CheckState {
    let check = report.checks.iter().find(|check| check.name == name);
    check.expect("every thing has its check").state
}

fn rr_of_others(report: &DoctorReport) -> Option<Mechanism> {
    let row = report
        .mechanisms
        .iter()
        .find(|given| given.policy == Policy::Rr && given.program == Program::Other);
    row.expect("every policy has its row").gets.map(|choice| choice.mechanism)
}

/// Runs `tine doctor --json` under a filter that answers EPERM to one system call, as a container's
/// profile does. `None` where there is no python3 to install it.
fn without(call: &str) -> Option<Output> {
    if Command::new("python3").arg("-V").output().is_err() {
        println!("SKIP: no python3 here");
        return None;
    }
    let script = include_str!("../../../compliance/src/deny.py");
    Some(run(Command::new("python3").args(["-c", script, call, TINE, "doctor", "--json"])))
}

#[test]
fn the_json_agrees_with_the_host() {
    let output = run(Command::new(TINE).args(["doctor", "--json"]));
    let report = json(&output);
    assert_eq!(output.status.code(), Some(i32::from(!report.any_program)));
    assert_eq!(fs::canonicalize(&report.executable).unwrap(), fs::canonicalize(TINE).unwrap());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with(&report.host.kernel));
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    assert_eq!(report.host.somaxconn, limit.trim().parse().ok());
    assert_eq!(state(&report, CheckName::Somaxconn) == CheckState::Ok, {
        report.host.somaxconn.unwrap() >= 4096
    });
    assert_eq!(report.host.btf, fs::read("/sys/kernel/btf/vmlinux").is_ok());
    assert_eq!(report.ebpf, report.host.ebpf == Probe::Yes);
    assert_eq!(rr_of_others(&report) == Some(Mechanism::KernelEbpf), report.ebpf);
    assert_eq!(report.mechanisms.len(), 8);
    for check in &report.checks {
        assert_eq!(check.why.is_some(), check.state != CheckState::Ok, "{check:?}");
    }
}

#[test]
fn the_text_names_every_thing_and_every_policy() {
    let output = run(Command::new(TINE).arg("doctor"));
    let text = String::from_utf8(output.stdout).unwrap();
    for words in
        ["seccomp notification", "pidfd_getfd", "cgroup v2", "open files", "rr ", "shared "]
    {
        assert!(text.lines().any(|line| line.starts_with(words)), "{words}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn an_ordinary_user_gets_the_setcap_line_and_exit_code_zero() {
    // The build directory may be closed to other users.
    let copy = std::env::temp_dir().join(format!("tine-doctor-{}", std::process::id()));
    fs::copy(TINE, &copy).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command
    } else {
        Command::new(&copy)
    };
    let output = run(command.args(["doctor", "--json"]));
    fs::remove_file(&copy).unwrap();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(!report.ebpf && report.host.capabilities.is_empty());
    assert_eq!(rr_of_others(&report), Some(Mechanism::KernelCbpf));
    if !report.host.in_container || tine_linux::host::bounding_set_has_bpf() {
        let check = report.checks.iter().find(|check| check.name == CheckName::Ebpf).unwrap();
        let wanted = format!("sudo setcap cap_bpf,cap_perfmon+ep {}", copy.display());
        assert_eq!(check.commands, [wanted]);
    }
}

#[test]
fn without_seccomp_the_exit_code_is_one_and_what_works_is_said() {
    let Some(output) = without("seccomp") else { return };
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report.host.seccomp_notification, Probe::NotPermitted);
    assert_eq!(state(&report, CheckName::SeccompNotification), CheckState::Missing);
    assert_eq!(rr_of_others(&report), None);
    assert!(report.works.iter().any(|what| what.contains("node")));
}

#[test]
fn without_pidfd_getfd_any_program_still_runs() {
    let Some(output) = without("pidfd_getfd") else { return };
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report.host.pidfd_getfd, Probe::NotPermitted);
    assert_eq!(state(&report, CheckName::PidfdGetfd), CheckState::Limited);
    assert!(report.host.no_new_privs && report.any_program);
}
