//! What people type to change what runs, with the real program.

use super::shell::{Shell, wait_until};

fn with(count: u32) -> Shell {
    let shell = Shell::new();
    shell.write(
        "app.js",
        "process.stdin.on('data', d => console.log('got ' + d)); setInterval(() => {}, 1000)",
    );
    shell.ok(&format!("start app.js -i {count} --silent"));
    shell
}

#[test]
fn a_restart_is_counted_and_a_reset_forgets_it() {
    let shell = with(1);
    let before = shell.values("app", "/pid");
    let out = shell.ok("restart app");
    assert!(out.starts_with("app (0): restarted\n"), "{out}");
    assert_ne!(shell.values("app", "/pid"), before);
    assert_eq!(shell.values("app", "/pm2_env/restart_time"), ["1"]);
    shell.ok("reset app");
    assert_eq!(shell.values("app", "/pm2_env/restart_time"), ["0"]);
}

#[test]
fn a_reload_replaces_every_worker() {
    let shell = with(2);
    let before = shell.values("app", "/pid");
    let out = shell.ok("reload app");
    assert!(out.starts_with("app (0, 1): reloaded\n"), "{out}");
    let after = shell.values("app", "/pid");
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
}

#[test]
fn apps_are_scaled_up_and_down() {
    let shell = with(1);
    shell.ok("scale app 3");
    assert_eq!(shell.jlist().len(), 3);
    shell.ok("scale app +1");
    assert_eq!(shell.jlist().len(), 4);
    shell.ok("scale app -2");
    assert_eq!(shell.jlist().len(), 2);
    let said = shell.tine("scale app many");
    assert_eq!((said.code, said.err.contains("5, +2, -1 or max")), (2, true), "{said:?}");
}

#[test]
fn unknown_apps_are_an_error_with_a_suggestion() {
    let shell = with(1);
    for command in ["stop", "restart", "reload", "delete", "describe", "reset", "pid", "id", "env"]
    {
        let error = shell.fails(&format!("{command} ap"));
        assert!(error.contains("`ap`") && error.contains("`app`"), "{command}: {error}");
    }
    for line in [
        "logs ap",
        "logs ap --nostream",
        "flush ap",
        "scale ap 2",
        "sendSignal USR2 ap",
        "trigger ap x",
        "rollback ap",
        "promote ap",
        "ports ap",
        "stop ap --watch",
        "delete app ap",
    ] {
        let error = shell.fails(line);
        assert!(error.contains("`ap`") && error.contains("`app`"), "{line}: {error}");
    }
    assert_eq!(shell.values("app", "/pm2_env/status"), ["online"], "nothing was done");
    let said = shell.tine("restat app");
    assert_eq!((said.code, said.err.contains("'restart'")), (2, true), "{said:?}");
    let said = shell.tine("start app.js --instence 2");
    assert_eq!((said.code, said.err.contains("--instances")), (2, true), "{said:?}");
}

#[test]
fn apps_are_meant_by_name_id_namespace_expression_and_all() {
    let shell = with(1);
    shell.ok("start app.js -n 455 --namespace web --silent");
    for (words, stopped) in
        [("app", "app"), ("0", "app"), ("web", "455"), ("/^4/", "455"), ("455", "455")]
    {
        let out = shell.ok(&format!("stop {words}"));
        assert!(out.starts_with(&format!("{stopped} (")), "{words}: {out}");
        shell.ok("restart all --silent");
    }
    shell.ok("delete all");
    assert!(!shell.fails("stop all").is_empty());
}

#[test]
fn workers_are_signalled_and_written_to() {
    let shell = with(1);
    let before = shell.values("app", "/pid");
    let said = shell.words(&["sendSignal", "SIGKILL", "app"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(wait_until(|| shell.values("app", "/pid") != before));
    assert!(shell.fails("sendSignal SIGNOTHING app").contains("SIGNOTHING"));
    assert!(shell.fails("send 77 hello").contains("77"));
}

#[test]
fn a_silent_user_hears_errors_only() {
    let mut shell = with(1);
    for command in ["restart app --silent", "stop app -s", "ping -s"] {
        assert_eq!(shell.ok(command), "", "{command}");
    }
    shell.set("PM2_SILENT", "true");
    assert_eq!(shell.ok("start app"), "");
    assert!(!shell.fails("stop nobody").is_empty());
    assert_eq!(shell.jlist().len(), 1, "the list is what was asked for");
}

#[test]
fn the_manager_ends_with_its_apps_and_without_one_nothing_is_there() {
    let shell = with(1);
    let pid = shell.values("app", "/pid").remove(0);
    let pong = shell.ok("ping");
    assert!(pong.starts_with("pong: tine ") && pong.ends_with("1 app(s)\n"), "{pong}");
    shell.ok("kill");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(shell.fails("ping").contains("no manager"));
    assert!(shell.fails("stop app").contains("no manager"));
    assert_eq!(shell.ok("kill"), "");
    assert_eq!(shell.ok("prettylist"), "[]");
}

#[test]
fn a_bare_watch_is_the_apps_own_directory_and_is_turned_off_by_another() {
    let shell = Shell::new();
    std::fs::create_dir(shell.work().join("sub")).expect("the directory is this test's own");
    shell.write("sub/app.js", "setInterval(() => {}, 1000)");
    shell.ok("start app.js --cwd sub --silent");
    let watch = || -> serde_json::Value {
        let apps: serde_json::Value =
            serde_json::from_str(&shell.ok("describe app --json")).expect("it is JSON");
        apps[0]["spec"]["watch"]["paths"].clone()
    };
    let own = serde_json::json!([shell.work().join("sub")]);
    shell.ok("restart app --watch");
    assert_eq!(
        (watch(), shell.values("app", "/pm2_env/watch")),
        (own.clone(), vec!["true".into()])
    );
    shell.ok("restart app --watch");
    assert_eq!(watch(), serde_json::Value::Null);
    shell.ok("start app --watch");
    assert_eq!(watch(), own);
}

#[test]
fn what_is_typed_reaches_the_worker_that_is_attached_to() {
    let shell = Shell::new();
    shell.write("app.js", "process.stdin.on('data', m => console.log('heard', String(m)))");
    shell.ok("start app.js --silent");
    assert!(shell.hears("attach 0", "good evening\n", "heard good evening"));
    assert!(shell.hears("start app --attach", "", "heard good evening"), "the earlier lines");
    assert!(shell.hears("ls --watch", "", "online"));
}

#[test]
fn a_worker_knows_its_id_and_who_looks_after_it() {
    let shell = Shell::new();
    let told = "['pm_id', 'name', 'NODE_APP_INSTANCE', 'PM2_HOME'].map(it => process.env[it])";
    shell.write("app.js", &format!("console.log({told}.join(' ')); setInterval(() => {{}}, 1000)"));
    shell.ok("start app.js --name first --silent");
    shell.ok("start app.js --name app -i 2 --silent");
    let wrote = |id: u32, instance: u32| {
        let line = format!("{id} app {instance} {}\n", shell.home().display());
        wait_until(|| shell.ok(&format!("logs {id} --nostream --raw")).contains(&line))
    };
    assert!(wrote(1, 0) && wrote(2, 1));
    shell.ok("scale app 3 --silent");
    assert!(wrote(3, 2));
    shell.ok("scale app 1 --silent");
    shell.ok("scale app 2 --silent");
    assert!(wrote(4, 0), "the place is another worker's now");
    shell.ok("flush --silent");
    shell.ok("reload app --silent");
    assert!(wrote(3, 2) && wrote(4, 0));
}

#[test]
fn stop_with_watch_ends_the_watch_and_stop_alone_suspends_it() {
    let shell = Shell::new();
    std::fs::create_dir(shell.work().join("watched")).expect("the directory is this test's own");
    shell.write("app.js", "setInterval(() => {}, 1000)");
    shell.ok("start app.js -i 2 --watch=watched --silent");
    let watch = || shell.values("app", "/pm2_env/watch");
    shell.ok("stop 0 --silent");
    let restarts = || shell.values("app", "/pm2_env/restart_time");
    assert!(wait_until(|| {
        shell.write("watched/file", "changed");
        restarts()[1] != "0"
    }));
    assert_eq!(shell.values("app", "/pm2_env/status")[0], "stopped", "it was told to stop");
    shell.ok("stop app --silent");
    assert_eq!(watch(), ["false", "false"]);
    shell.ok("start app --silent");
    assert_eq!(watch(), ["true", "true"]);
    shell.ok("stop app --watch --silent");
    shell.ok("start app --silent");
    assert_eq!(watch(), ["false", "false"]);
    assert!(shell.fails("stop nobody --watch").contains("no app `nobody`"));
}

/// Its child would say that it was signalled, if it was.
const PARENT: &str = "\
( trap 'echo the child was told >> told; exit' TERM; echo ready >> told; while :; do sleep 0.05; done ) &
trap 'echo the parent was told >> told; [ $1 = wait ] && wait; sleep 0.3; kill -KILL $!; exit' TERM
wait
";

#[test]
fn without_treekill_the_first_process_alone_is_told_to_stop() {
    let shell = Shell::new();
    shell.write("parent.sh", PARENT);
    let told = || std::fs::read_to_string(shell.work().join("told")).unwrap_or_default();
    let run = |line: &str| {
        shell.write("told", "");
        shell.ok(line);
        assert!(wait_until(|| told().contains("ready")));
        shell.ok("delete parent --silent");
        told()
    };
    let all = run("start parent.sh --kill-signal TERM --kill-timeout 30s --silent -- wait");
    assert!(all.contains("the child was told") && all.contains("the parent was told"), "{all}");
    let one =
        run("start parent.sh --kill-signal TERM --kill-timeout 30s --no-treekill --silent -- kill");
    assert!(!one.contains("the child was told") && one.contains("the parent was told"), "{one}");
}
