//! `tine startup` and `tine unstartup`, as far as they go without touching this machine.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn tine(words: &[&str], home: &Path) -> Output {
    let mut tine = Command::new(env!("CARGO_BIN_EXE_tine"));
    tine.args(words).env("TINE_HOME", home).env_remove("SUDO_USER").env("PATH", "/usr/bin:/bin");
    tine.output().expect("tine runs")
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(all).expect("text")
}

/// The file that a dry run shows.
fn shown(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("write "));
    let lines: Vec<_> = lines.skip(1).map_while(|line| line.strip_prefix("    ")).collect();
    lines.join("\n") + "\n"
}

#[test]
fn a_dry_run_shows_the_unit_and_systemd_finds_nothing_wrong_with_it() {
    let directory = tempfile("unit");
    for (platform, argument) in [("systemd", "--system"), ("systemd-user", "--user")] {
        let output =
            tine(&["startup", platform, "--dry-run", "--wait-ip"], Path::new("/srv/tine home"));
        assert!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains("run systemctl"), "{text}");
        let unit = shown(&text);
        assert!(unit.contains("Environment=\"TINE_HOME=/srv/tine home\""), "{unit}");
        let file = directory.join(format!("tine-{platform}.service"));
        fs::write(&file, unit).expect("a file");
        let Ok(verified) = Command::new("systemd-analyze")
            .args(["verify", "--man=no", argument])
            .arg(&file)
            .env("XDG_RUNTIME_DIR", &directory)
            .output()
        else {
            println!("SKIP: no systemd-analyze here");
            return;
        };
        let complaints = said(&verified);
        assert!(!complaints.contains("tine-"), "{complaints}");
        assert!(verified.status.success(), "{complaints}");
    }
    fs::remove_dir_all(directory).expect("it was made");
}

#[test]
fn the_same_is_to_be_had_as_json() {
    let words = ["startup", "systemd", "--dry-run", "-u", "root", "--hp", "/srv/roots", "--json"];
    let output = tine(&words, Path::new("/srv/tine"));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!((&told["user"], &told["done"]), (&"root".into(), &false.into()));
    assert_eq!(told["file"], told["steps"][0]["write"]);
    let unit = told["steps"][0]["text"].as_str().expect("the unit");
    assert!(unit.contains("Environment=\"TINE_HOME=/srv/roots/.tine\""), "{unit}");
    assert_eq!(told["steps"][1]["run"][0], "systemctl");
}

#[test]
fn openrc_gets_a_script_that_a_shell_understands() {
    let words = ["startup", "openrc", "--dry-run", "-u", "root", "--hp", "/srv/roots"];
    let output = tine(&words, Path::new("/srv/tine"));
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("run rc-update add tine-"), "{text}");
    assert!(text.contains("export TINE_HOME='/srv/roots/.tine'"), "{text}");
    let checked = Command::new("sh").args(["-nc", &shown(&text)]).output().expect("a shell");
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn what_cannot_be_done_is_said_with_what_can() {
    let home = Path::new("/srv/tine");
    for (words, wanted) in [
        (&["startup", "upstart"][..], "there are systemd, systemd-user and openrc"),
        (
            &["startup", "systemd", "-u", "nobody-of-that-name"],
            "there is no user nobody-of-that-name",
        ),
        (&["startup", "systemd", "--service-name", "../x"], "no name for a service"),
        (
            &[
                "unstartup",
                "systemd",
                "--service-name",
                "tine-never-was",
                "--hp",
                "/srv/roots",
                "--wait-ip",
            ],
            "nothing is started at boot",
        ),
    ] {
        let output = tine(words, home);
        assert!(!output.status.success(), "{words:?}");
        assert!(said(&output).contains(wanted), "{words:?}: {}", said(&output));
    }
}

#[test]
fn an_ordinary_user_is_told_what_root_has_to_type() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: not root");
        return;
    }
    let copy = tempfile("copy");
    let tine = copy.join("tine");
    fs::copy(env!("CARGO_BIN_EXE_tine"), &tine).expect("a copy that everybody can reach");
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&tine);
    setpriv.args(["startup", "systemd"]).env("TINE_HOME", "/srv/tine");
    let output = setpriv.output().expect("setpriv runs");
    assert!(!output.status.success());
    let text = said(&output);
    assert!(text.contains("sudo env PATH=\"$PATH\"") && text.contains("-u nobody"), "{text}");
    fs::remove_dir_all(copy).expect("it was made");
}

/// A directory that every user can read.
fn tempfile(name: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("tine-startup-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("a new directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}
