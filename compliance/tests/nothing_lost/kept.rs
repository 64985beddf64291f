//! What a manager keeps: little memory, and secrets from others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use compliance::{Home, Who};

/// A manager without apps, in KiB of its own; pm2's has 58 MB.
const IDLE: u64 = 16 * 1024;

#[test]
fn an_idle_manager_is_small() {
    let home = Home::new(Who::User);
    let started = home.tine(["resurrect"]);
    let manager = home.manager().unwrap_or_else(|| panic!("no manager: {started:?}"));
    assert!(own_kib(manager) < IDLE, "{} KiB", own_kib(manager));
    let watchdog = home.watchdog().expect("it watches");
    assert!(own_kib(watchdog) < IDLE / 4, "{} KiB", own_kib(watchdog));
}

/// Memory that it shares with nobody.
fn own_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or_else(|| panic!("{pid} runs: {status}"))
}

#[test]
fn what_a_manager_writes_is_for_its_user_alone() {
    let home = Home::new(Who::User);
    home.write("sleep.sh", "#!/bin/sh\necho here\nexec sleep 1000\n");
    let words = ["start", "--name", "app", "--env", "SECRET=hunter2", "sleep.sh"];
    let started = home.tine(words);
    assert_eq!(started.code, Some(0), "{started:?}");
    assert_eq!(home.tine(["save"]).code, Some(0));
    let mut files = Vec::new();
    under(&home.folder().join(".tine"), &mut files);
    let holds = |file: &&PathBuf| fs::read_to_string(file).is_ok_and(|it| it.contains("hunter2"));
    assert!(files.iter().any(|file| holds(&file)), "the app's own settings are kept: {files:?}");
    for file in &files {
        let mode = fs::symlink_metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
}

/// All files and folders there, and the folder itself.
fn under(folder: &Path, found: &mut Vec<PathBuf>) {
    found.push(folder.to_owned());
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { under(&path, found) } else { found.push(path) }
    }
}
