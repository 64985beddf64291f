//! Ordinary cluster programs, unchanged, on our primary.

use std::process::{Command, Output};

use compliance::{example, file, needs, peer, skip};

/// With the express that is installed from npm.
fn node(options: &[&str], env: &[(&str, &str)]) -> Output {
    let mut node = Command::new("setpriv");
    node.args(["--pdeathsig", "KILL", "node"]).args(options).arg(file("node/express-cluster.js"));
    let modules = peer("express").with_file_name("");
    node.env("NODE_PATH", modules).envs(env.iter().copied()).output().expect("setpriv is there")
}

#[test]
fn an_express_program_does_the_same_on_our_primary() {
    needs("node");
    if !peer("express").is_dir() {
        return skip("no express here (compliance/peers/install)");
    }
    let text = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it writes UTF-8")
    };
    let bare = text(node(&[], &[]));
    assert!(bare.contains("worker 4: exit 0  true"), "{bare}");
    let preload = file("foreign-cluster.js").display().to_string();
    let primary = example("foreign-primary").display().to_string();
    for mechanism in ["hand-over", "kernel-ebpf"] {
        if mechanism == "kernel-ebpf" && compliance::Who::Root.missing().is_some() {
            continue;
        }
        let env = [("FOREIGN_PRIMARY", primary.as_str()), ("FOREIGN_MECHANISM", mechanism)];
        assert_eq!(text(node(&["-r", &preload], &env)), bare, "{mechanism}");
    }
}
