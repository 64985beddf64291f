//! What a person reads where something cannot be: every command says it, and says what to do.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixListener,
    process::{Command, Output},
    thread,
};

use crate::{
    clients::Mount,
    manager::{Manager, sleeper},
};
use tine::api::apps::AppRequest;

/// The exit code, and what was said on standard error; nothing on standard output.
fn refused(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().expect("it exits"), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn a_manager_of_another_version_is_told_by_every_command_and_left_alone() {
    let manager = Manager::new();
    let directory = manager.home.run_dir().unwrap();
    let listener = UnixListener::bind(directory.daemon_socket()).unwrap();
    let lines: [&[&str]; 4] =
        [&["ls"], &["start", "sleep", "--", "1"], &["stop", "all"], &["logs"]];
    let old = thread::spawn(move || {
        for _ in lines {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"{\"hello\":\"tine\",\"version\":7,\"manager_pid\":42}\n");
        }
    });
    for line in lines {
        let (code, said) = refused(&manager.tine(line));
        assert_eq!(code, 3, "trouble with the manager: {said}");
        assert!(said.contains("42") && said.contains("version 7"), "{line:?}: {said}");
        assert!(said.contains("`tine save` and `tine kill`"), "{line:?}: {said}");
    }
    old.join().unwrap();
}

#[test]
fn a_read_only_home_is_told_by_every_command_that_writes_there() {
    let manager = Manager::new();
    let Some(mount) = Mount::new(&manager, "size=1m,mode=0700") else {
        return println!("skipped: needs the right to mount");
    };
    mount.remount("remount,ro");
    for line in [&["start", "sleep", "--", "1"][..], &["resurrect"], &["daemon", "--foreground"]] {
        let (code, said) = refused(&manager.tine(line));
        assert_eq!(code, 1, "{line:?}: {said}");
        assert!(
            said.contains("home") && said.contains("Read-only file system"),
            "{line:?}: {said}"
        );
    }
    assert_eq!(String::from_utf8(manager.tine(&["jlist"]).stdout).unwrap(), "[]\n");
}

#[test]
fn a_home_that_became_read_only_is_told_where_something_is_to_be_saved() {
    let manager = Manager::new();
    let Some(mount) = Mount::new(&manager, "size=1m,mode=0700") else {
        return println!("skipped: needs the right to mount");
    };
    manager.start(vec![sleeper("one", 1)]).unwrap();
    // Its log file is open for writing, which the kernel would not take away by a remount.
    let path = manager.home.root().to_owned();
    let status = Command::new("mount").args(["-o", "bind"]).args([&path, &path]).status().unwrap();
    assert!(status.success());
    let status = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&path).status().unwrap();
    assert!(status.success());
    let output = manager.tine(&["save"]);
    let umounted = Command::new("umount").arg("-l").arg(&path).status();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("dump.json") && said.contains("Read-only file system"), "{said}");
    assert!(umounted.unwrap().success());
    manager.done(&AppRequest::Save { force: false, no_env: false });
    drop(mount);
}

#[test]
fn a_full_disk_is_told_by_the_command_that_would_start_the_manager() {
    let manager = Manager::new();
    let Some(_mount) = Mount::new(&manager, "size=64k,mode=0700") else {
        return println!("skipped: needs the right to mount");
    };
    let mut filler = fs::File::create(manager.home.root().join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let (code, said) = refused(&manager.tine(&["start", "sleep", "--", "1000"]));
    assert_eq!(code, 3, "trouble with the manager: {said}");
    assert!(said.contains("No space left on device") && said.contains("home"), "{said}");
    fs::remove_file(manager.home.root().join("filler")).unwrap();
    drop(filler);
    assert!(manager.tine(&["start", "sleep", "--", "1000"]).status.success());
}
