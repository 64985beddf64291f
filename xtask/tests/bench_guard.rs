//! The guard of `cargo xtask bench` ends what the benchmark left behind.
#![forbid(unsafe_code)]

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

#[test]
fn the_guard_ends_what_is_left_when_its_input_ends() {
    let scratch = std::env::temp_dir().join(format!("tine-guard-{}", std::process::id()));
    std::fs::create_dir(&scratch).expect("a fresh directory");
    let mut left =
        Command::new("sleep").arg("60").process_group(0).spawn().expect("sleep is there");
    let mut guard = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--guard"])
        .arg(&scratch)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the guard starts");

    let mut orders = guard.stdin.take().expect("it is piped");
    writeln!(orders, "{}", left.id()).expect("the guard listens");
    drop(orders);

    assert!(guard.wait().expect("it is our child").success());
    assert_eq!(left.wait().expect("it is our child").signal(), Some(15));
    assert!(!scratch.exists());
}
