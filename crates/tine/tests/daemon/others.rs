//! Other users: those who may not, and those who cannot.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Output},
};

use crate::manager::Manager;

const NOBODY: u32 = 65534;

/// The program where everybody can read it; `None` where this test is not root.
fn program(manager: &Manager) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    open(&manager.root, 0o755);
    let path = manager.root.join("tine");
    fs::copy(env!("CARGO_BIN_EXE_tine"), &path).unwrap();
    Some(path)
}

fn open(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn as_nobody(program: &PathBuf, home: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", "/").env("TINE_HOME", home);
    command.uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap()
}

/// What was said by a command that did nothing.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn another_user_is_told_whose_manager_it_is_and_what_to_do() {
    let manager = Manager::new();
    let Some(program) = program(&manager) else { return };
    manager.client();
    let home = manager.home.root();
    let said = refused(&as_nobody(&program, home, &["ls"]));
    assert_eq!(
        said,
        format!(
            "tine: {} belongs to uid 0, not to this user (uid {NOBODY}): run tine as its owner \
             (`sudo -u '#0' …`), or choose another TINE_HOME\n",
            home.display()
        )
    );
}

#[test]
fn a_socket_that_was_opened_to_all_still_answers_its_owner_alone() {
    let manager = Manager::new();
    if program(&manager).is_none() {
        return;
    }
    manager.client();
    let run = manager.home.root().join("run");
    open(manager.home.root(), 0o755);
    open(&run, 0o755);
    open(&run.join("daemon.sock"), 0o666);
    let talk = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                print(s.makefile().read())";
    let mut stranger = Command::new("/usr/bin/python3");
    stranger.args(["-c", talk]).arg(run.join("daemon.sock")).uid(NOBODY).gid(NOBODY);
    let output = stranger.current_dir("/").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.trim(),
        r#"{"response":"error","body":"this manager belongs to another user"}"#
    );
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let manager = Manager::new();
    let Some(program) = program(&manager) else { return };
    // In a directory of root's, and one of their own that is closed.
    let missing = manager.root.join("theirs");
    let said = refused(&as_nobody(&program, &missing, &["daemon"]));
    assert_eq!(
        said,
        format!("tine: use the directory {}: Permission denied (os error 13)\n", missing.display())
    );
    let closed = manager.root.join("closed");
    fs::create_dir(&closed).unwrap();
    chown(&closed, Some(NOBODY), Some(NOBODY)).unwrap();
    open(&closed, 0o500);
    let said = refused(&as_nobody(&program, &closed, &["start", "sleep", "--", "1"]));
    assert!(said.contains("closed/run: Permission denied"), "{said}");
}
