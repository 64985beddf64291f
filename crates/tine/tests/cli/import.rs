//! Apps that pm2 has saved, with the real program.

use std::fs;

use crate::shell::Shell;
use serde_json::Value;

/// What pm2 7.0.4 wrote, with its programs in the working directory; without those that need root.
fn with_dump(file: &str) -> Shell {
    let shell = Shell::new();
    shell.write("server.js", "setInterval(() => {}, 1000)");
    let work = shell.work().to_string_lossy().into_owned();
    let text = include_str!("../fixtures/dump.pm2").replace("/srv/app", &work);
    let mut list: Vec<Value> = serde_json::from_str(&text).expect("pm2 writes JSON");
    list.retain(|app| app["name"] != "worker");
    let path = shell.work().join(file);
    fs::create_dir_all(path.parent().expect("a directory")).expect("it is this test's own");
    shell.write(file, &serde_json::to_string(&list).expect("plain data"));
    shell
}

#[test]
fn imported_apps_are_known_and_start_when_asked() {
    let shell = with_dump("../.pm2/dump.pm2");
    let said = shell.tine("import");
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.err.contains("app `resting`: did not run, and is not started"), "{said:#?}");
    assert_eq!(shell.values("api", "/pm2_env/status"), ["stopped", "stopped"]);
    assert_eq!(shell.values("api", "/pm2_env/autostart"), ["true", "true"]);
    shell.ok("restart api");
    assert_eq!(shell.values("api", "/pm2_env/status"), ["online", "online"]);
    assert_eq!(shell.values("api", "/pm2_env/PORT"), ["8003", "8003"]);
    assert_eq!(shell.values("api", "/pm2_env/COUNT"), ["10", "11"]);
    assert_eq!(shell.values("resting", "/pm2_env/status"), ["stopped"]);
}

#[test]
fn what_ran_starts_at_once_when_that_is_asked_for() {
    let shell = with_dump("dump.pm2");
    shell.ok("import dump.pm2 --start");
    assert_eq!(shell.values("api", "/pm2_env/status"), ["online", "online"]);
    assert_eq!(shell.values("line", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.values("resting", "/pm2_env/status"), ["stopped"]);
    let error = shell.fails("import dump.pm2");
    assert!(error.contains("api"), "{error}");
}

#[test]
fn a_dry_run_shows_and_does_nothing() {
    let shell = with_dump("dump.pm2");
    let apps: Vec<Value> = serde_json::from_str(&shell.ok("import --dry-run dump.pm2")).unwrap();
    let names: Vec<_> = apps.iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["api", "line", "resting"]);
    assert_eq!(shell.ok("jlist"), "[]\n");
}

#[test]
fn a_list_that_is_not_there_is_told_with_what_writes_it() {
    let shell = Shell::new();
    let error = shell.fails("import");
    assert!(error.contains("`pm2 save` writes it") && error.contains(".pm2/dump.pm2"), "{error}");
    shell.write("x", "no list");
    assert!(shell.fails("import x").contains("x:1:1: `no` is no value"), "{error}");
}
