//! A disk without room, and a list on it that cannot be read, under a load that notices everything.

use std::{collections::BTreeMap, fs, io::Write};

use tine::api::apps::{AppRequest, AppView};

use crate::{
    clients::{Mount, hold_state_file},
    manager::{Manager, gone, pids, sleeper},
    succession::{all_online, free_port, load::Load, replace, server, succeeds_to_start, wrote},
};

/// What its events say of each of its log files: that it is full, or is written again, one after the other.
fn told(app: &AppView) -> BTreeMap<String, Vec<bool>> {
    let mut told: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for event in &app.full.as_ref().unwrap().events {
        let (full, again) = (" has no room, and the workers wait", " is written again");
        let found = event.text.split_once(full).map(|(path, _)| (path, true));
        let found = found.or_else(|| Some((event.text.split_once(again)?.0, false)));
        if let Some((path, is_full)) = found {
            told.entry(path.to_owned()).or_default().push(is_full);
        }
    }
    told
}

/// Both files are so now.
fn both_are(apps: &[AppView], full: bool) -> bool {
    let told = told(&apps[0]);
    told.len() == 2 && told.values().all(|told| told.last() == Some(&full))
}

/// Takes all the room there is.
fn fill(mut file: &fs::File) {
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

#[test]
fn a_full_disk_under_load_loses_nothing_is_told_once_and_the_list_is_written_afterwards() {
    let manager = Manager::new();
    let Some(_mount) = Mount::new(&manager, "size=8m,mode=0700") else {
        return println!("SKIP: needs the right to mount");
    };
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, "python", port, 2)]);
    let before = manager.list();
    let load = Load::on(port);
    load.served_by_all(&pids(&before[0]));
    let path = manager.home.root().join("filler");
    let filler = fs::File::create(&path).unwrap();
    manager.until("both log files have no room", |apps| {
        fill(&filler);
        both_are(apps, true)
    });
    succeeds_to_start(&manager, vec![sleeper("later", 1)]);
    let state = manager.home.state_file();
    let noted = || fs::read_to_string(&state).is_ok_and(|it| it.contains("\"later\""));
    drop(filler);
    fs::remove_file(path).unwrap();
    manager.until("the list is written", |_| noted());
    let after = manager.until("both are written again", |apps| both_are(apps, false));
    // Who frees a little room for a moment, as the list does when it is replaced, has it told again.
    for (path, told) in told(&after[0]) {
        let in_turn = told.iter().enumerate().all(|(at, full)| *full == (at % 2 == 0));
        assert!(in_turn, "each is told once: {path}: {told:?}");
    }
    assert_eq!(pids(&after[0]), pids(&before[0]));
    load.served_by_all(&pids(&before[0]));
    let served = load.end();
    wrote(&after[0], &served);
}

#[test]
fn a_manager_that_is_killed_while_its_list_on_disk_is_broken_loses_nothing() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, "python", port, 2)]);
    let before = manager.list();
    let load = Load::on(port);
    load.served_by_all(&pids(&before[0]));
    let state = manager.home.state_file();
    manager.until("the list is written", |_| state.exists());
    fs::write(&state, "nonsense").unwrap();
    replace(&manager);
    let after = manager.until("it is taken over", |apps| all_online(&apps[0]));
    assert_eq!(pids(&after[0]), pids(&before[0]));
    manager.until("the list is whole again", |_| {
        fs::read_to_string(&state).is_ok_and(|it| it.contains("\"python\""))
    });
    load.served_by_all(&pids(&before[0]));
    load.end();
}

#[test]
fn a_list_that_the_disk_does_not_give_is_named_and_nothing_is_begun() {
    let manager = Manager::new();
    manager.client();
    let pid = manager.pid().unwrap();
    manager.done(&AppRequest::KillManager);
    gone(pid);
    let state = manager.home.state_file();
    fs::create_dir(&state).unwrap();
    let output = manager.tine(&["daemon"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("state.json") && said.contains("Is a directory"), "{said}");
    fs::remove_dir(state).unwrap();
    manager.client();
}

#[test]
fn a_list_that_could_not_be_written_is_written_when_it_can_be_although_nothing_changes() {
    let manager = Manager::new();
    manager.client();
    let held = hold_state_file(&manager);
    succeeds_to_start(&manager, vec![sleeper("one", 1)]);
    let said = |what: &str| {
        let log = fs::read_to_string(manager.home.daemon_log()).unwrap();
        log.lines().filter(|line| line.contains("state.json") && line.contains(what)).count()
    };
    manager.until("it cannot be written", |_| said("cannot be written") == 1);
    fs::remove_dir(held).unwrap();
    manager.until("it is written", |_| said("is written again") == 1);
    let state = fs::read_to_string(manager.home.state_file()).unwrap();
    assert!(state.contains("\"one\""), "{state}");
    assert_eq!(said("cannot be written"), 1);
}
