//! Another program takes the place of the manager.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

/// A program that runs tine, and says that it reads and leaves these versions.
fn pretender(manager: &Manager, versions: &str) -> PathBuf {
    let path = manager.root.join(format!("tine-{versions}"));
    let tine = env!("CARGO_BIN_EXE_tine");
    let text = format!("#!/bin/sh\nTINE_TEST_ADOPTS={versions} exec {tine} \"$@\"\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn update(manager: &Manager, to: &Path) -> (Option<i32>, String, String) {
    run(manager, &["update", "--to", to.to_str().unwrap()])
}

fn run(manager: &Manager, command: &[&str]) -> (Option<i32>, String, String) {
    let output = manager.tine(command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn program_of(pid: Pid) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

#[test]
fn another_program_takes_over_under_load_and_no_worker_notices() {
    let manager = Manager::new();
    let (python, node) = (free_port(), free_port());
    let apps = vec![server(&manager, "python", python, 2), server(&manager, "node", node, 2)];
    succeeds_to_start(&manager, apps);
    let loads = [Load::on(python), Load::on(node)];
    let (before, old, watchdog) = (manager.list(), manager.pid().unwrap(), manager.watchdog());
    let copy = manager.root.join("tine-copy");
    fs::copy(env!("CARGO_BIN_EXE_tine"), &copy).unwrap();
    let (code, said, errors) = update(&manager, &copy);
    assert_eq!(code, Some(0), "{errors}");
    let pid = manager.pid().unwrap();
    assert!(said.contains(&format!("(pid {pid}) has taken over")), "{said}");
    assert!(said.contains("4 of 4 worker(s) go on as they were"), "{said}");
    assert_ne!(pid, old);
    assert_eq!(manager.watchdog(), watchdog, "it is the same process");
    assert_eq!((program_of(pid), program_of(watchdog)), (copy.clone(), copy));
    let after = manager.list();
    for (one, other) in before.iter().zip(&after) {
        assert_eq!((pids(one), restarts(one)), (pids(other), restarts(other)));
    }
    for (name, load) in ["python", "node"].into_iter().zip(loads) {
        everything_works(&manager, &load, name);
        let served = load.end();
        wrote(app(&after, name), &served);
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release pretends to be no other version")]
fn a_program_that_cannot_take_over_is_refused_and_nothing_changes() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 1)]);
    let (before, old) = (manager.list(), manager.pid());
    let newer = pretender(&manager, "3-3");
    let none = manager.root.join("none");
    for (program, reason) in [
        (Path::new("/bin/true"), "is no tine that can take over; nothing was changed"),
        (&*none, "cannot be executed: No such file or directory"),
        (
            &*newer,
            "this tine reads versions 3 to 3 of what a manager leaves, not 2; nothing was changed",
        ),
    ] {
        let (code, said, errors) = update(&manager, program);
        assert_eq!((code, &*said), (Some(1), ""), "{errors}");
        assert!(errors.contains(reason), "{errors}");
    }
    let after = manager.list();
    assert_eq!((pids(&after[0]), manager.pid()), (pids(&before[0]), old));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release pretends to be no other version")]
fn a_program_with_another_version_of_the_state_that_reads_this_one_takes_over() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = manager.list();
    let newer = pretender(&manager, "2-3");
    let (code, _, errors) = update(&manager, &newer);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(pids(&manager.list()[0]), pids(&before[0]));
    let (code, _, errors) = update(&manager, &pretender(&manager, "1-2"));
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("this tine reads versions 1 to 2 of what a manager leaves, not 3"),
        "{errors}"
    );
    replace(&manager);
    assert_eq!(pids(&manager.list()[0]), pids(&before[0]));
}

#[test]
fn without_a_manager_there_is_nothing_to_update() {
    let manager = Manager::new();
    let (code, _, errors) = run(&manager, &["updatePM2"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no manager runs"), "{errors}");
}

#[test]
fn a_program_that_says_that_it_can_take_over_and_ends_costs_no_worker() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 2)]);
    let before = pids(&manager.list()[0]);
    let liar = manager.root.join("liar");
    let tine = env!("CARGO_BIN_EXE_tine");
    let text = format!("#!/bin/sh\n[ \"$2\" = --can-adopt ] && exec {tine} \"$@\"\nexit 1\n");
    fs::write(&liar, text).unwrap();
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, _, errors) = update(&manager, &liar);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("has ended instead of taking over"), "{errors}");
    assert_eq!(pids(&manager.list()[0]), before);
    // Nobody's descendants any more.
    manager.done(&AppRequest::KillManager);
}
