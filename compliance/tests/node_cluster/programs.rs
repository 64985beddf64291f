//! Ordinary cluster programs, unchanged, on our primary.

use std::process::Command;

use compliance::{Interpreter, Who, example, file, peer, skip};

/// With what is installed from npm.
fn run(with: &Interpreter, program: &str, options: &[&str], env: &[(&str, &str)]) -> String {
    let mut node = Command::new("setpriv");
    node.args(["--pdeathsig", "KILL"]).arg(with.path()).args(options).arg(file(program));
    let modules = peer("express").with_file_name("");
    node.env("NODE_PATH", modules).envs(env.iter().copied());
    let output = node.output().expect("setpriv is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{env:?}: {error}");
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

/// It prints the same on Node's own primary and on ours.
fn is_the_same(with: &Interpreter, program: &str, last: &str) {
    let bare = run(with, program, &[], &[]);
    assert!(bare.ends_with(last), "{bare}");
    let preload = file("foreign-cluster.js").display().to_string();
    let primary = example("foreign-primary").display().to_string();
    for mechanism in ["hand-over", "kernel-ebpf"] {
        if mechanism == "kernel-ebpf" && Who::Root.missing().is_some() {
            continue;
        }
        let env = [("FOREIGN_PRIMARY", primary.as_str()), ("FOREIGN_MECHANISM", mechanism)];
        let ours = run(with, program, &["-r", &preload], &env);
        assert_eq!(ours, bare, "{mechanism}, {with:?}");
    }
}

#[test]
fn an_express_program_does_the_same_on_our_primary() {
    if !peer("express").is_dir() {
        return skip("no express here (compliance/peers/install)");
    }
    let node = Interpreter::system();
    is_the_same(&node, "node/express-cluster.js", "worker 4: exit 0  true\n0 left\n");
}

#[test]
fn settings_and_ends_are_the_same_on_our_primary() {
    is_the_same(&Interpreter::system(), "node/settings-cluster.js", "0 left\n");
}

/// But for Node 16, whose `worker.kill()` was another.
#[test]
fn settings_and_ends_are_the_same_in_other_versions() {
    for version in ["node18", "node22", "node24", "node26"] {
        is_the_same(&Interpreter::installed(version), "node/settings-cluster.js", "0 left\n");
    }
}
