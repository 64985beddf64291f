//! `tine man`: the pages that are written.
#![forbid(unsafe_code)]

use std::{fs, process::Command};

#[test]
fn every_command_has_a_page_with_its_options() {
    let directory = std::env::temp_dir().join(format!("tine-man-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_tine"))
        .arg("man")
        .arg(&directory)
        .output()
        .expect("tine runs");
    assert!(output.status.success(), "{output:?}");
    for name in ["tine", "tine-run", "tine-ports", "tine-doctor", "tine-startup", "tine-serve"] {
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).expect("a page");
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let run = fs::read_to_string(directory.join("tine-run.1")).expect("a page");
    assert!(run.contains("Who gets the next connection"), "{run}");
    fs::remove_dir_all(directory).expect("it was made");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_tine"))
        .args(["man", "/dev/null/man1"])
        .output()
        .expect("tine runs");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("make the directory /dev/null/man1"), "{said}");
}
