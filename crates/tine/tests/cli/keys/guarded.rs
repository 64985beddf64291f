//! Schedules, watched files and checks: what restarts an app that has done nothing wrong.

use serde_json::{Value, json};

use super::{Shell, described, listed, restarted, spellings, start, wait_until};

fn sleeper(name: &str, more: &Value) -> Value {
    let mut app = json!({"name": name, "script": "sleep", "args": "1000"});
    super::lay(&mut app, more);
    app
}

/// A shell in a time zone of its own, with a directory to watch.
fn shell() -> Shell {
    let mut shell = Shell::new();
    shell.set("TZ", "UTC");
    std::fs::create_dir(shell.work().join("src")).expect("the directory is this test's own");
    shell
}

fn restarts(shell: &Shell, app: &str) -> Value {
    listed(shell, app)["workers"][0]["restarts"].clone()
}

#[test]
fn an_app_is_restarted_by_the_schedule_in_the_zone_of_the_file() {
    let shell = shell();
    // Each second of this hour and the next one, where it is twelve hours later than here.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let hour = now.expect("after 1970").as_secs() / 3600 % 24;
    let (this, next) = ((hour + 12) % 24, (hour + 13) % 24);
    let schedule = format!("* * {this},{next} * * *");
    let mut apps = vec![sleeper("elsewhere", &json!({"cron": schedule}))];
    for key in spellings("cron_timezone") {
        apps.push(sleeper(&key, &json!({"cron_restart": schedule, (key.as_str()): "Etc/GMT-12"})));
    }
    for key in spellings("cron_restart") {
        apps.push(sleeper(&key, &json!({(key.as_str()): "* * * * * *"})));
        apps.push(sleeper(&format!("{key}-off"), &json!({(key.as_str()): 0})));
    }
    start(&shell, &json!(apps));
    for key in spellings("cron_timezone").iter().chain(&spellings("cron_restart")) {
        restarted(&shell, key, "cron");
    }
    assert_eq!(restarts(&shell, "elsewhere"), 0, "it is another hour here");
    assert_eq!(restarts(&shell, "cron-off"), 0);
}

/// Changes files until an app was restarted by it; the apps beside it have seen the same changes.
fn change(shell: &Shell, app: &str, files: &[&str]) {
    let was = listed(shell, app)["workers"][0]["restarts_by_reason"]["watch"].as_u64();
    assert!(
        wait_until(|| {
            for file in files {
                shell.write(&format!("src/{file}"), "changed");
            }
            listed(shell, app)["workers"][0]["restarts_by_reason"]["watch"].as_u64() > was
        }),
        "{app}"
    );
}

fn watched(shell: &Shell, apps: &[Value]) {
    start(shell, &json!(apps));
    for app in apps {
        described(shell, app["name"].as_str().expect("a name"), "are watched");
    }
}

#[test]
fn changed_files_restart_an_app_but_for_those_that_do_not_count() {
    let shell = shell();
    let watch = || json!({"watch": "src", "watch_delay": 20});
    let ignoring = |name: &str, more: Value| {
        let mut app = sleeper(name, &watch());
        super::lay(&mut app, &more);
        app
    };
    let deaf = [
        ignoring("a", json!({"ignore_watch": ["*.log"]})),
        ignoring("b", json!({"ignoreWatch": "server.log"})),
        ignoring("c", json!({"watch_ignore": "./src/server.log"})),
        ignoring("d", json!({"watch_options": {"ignored": "*.log", "followSymlinks": false}})),
        ignoring("e", json!({"watch": {"paths": ["src"], "ignore": ["*.log"], "delay": "20ms"}})),
        ignoring("f", json!({"watch_delay": "1h"})),
        ignoring("g", json!({"watch": {"paths": "src", "delay": "1h"}})),
        ignoring("h", json!({"watch": ["other", "src/server.js"]})),
    ];
    let mut apps = deaf.to_vec();
    apps.push(sleeper("all", &json!({"watch": true, "watchDelay": "20ms"})));
    apps.push(sleeper("src", &watch()));
    std::fs::create_dir(shell.work().join("other")).expect("the directory is this test's own");
    shell.write("src/server.js", "old");
    watched(&shell, &apps);
    for heard in ["all", "src"] {
        change(&shell, heard, &["server.log"]);
    }
    for app in &deaf {
        let name = app["name"].as_str().expect("a name");
        assert_eq!(restarts(&shell, name), 0, "{name}");
    }
    for name in ["a", "b", "d", "e", "h"] {
        change(&shell, name, &["server.js"]);
        described(&shell, name, "src/server.js");
    }
    assert_eq!((restarts(&shell, "f"), restarts(&shell, "g")), (json!(0), json!(0)));
}

#[test]
fn changed_files_reload_an_app_where_that_was_asked_for() {
    let shell = shell();
    let table = json!({"paths": "src", "action": "reload"});
    let apps = [
        sleeper("a", &json!({"watch": "src", "watch_action": "reload", "watch_delay": 20})),
        sleeper("b", &json!({"watch": "src", "watchAction": "reload", "watch_delay": 20})),
        sleeper("c", &json!({"watch": table, "watch_delay": 20})),
        sleeper("d", &json!({"watch": "src", "watch_action": "restart", "watch_delay": 20})),
    ];
    watched(&shell, &apps);
    for (name, action) in [("a", "reload"), ("b", "reload"), ("c", "reload"), ("d", "restart")] {
        change(&shell, name, &["server.js"]);
        described(&shell, name, &format!("{action}ed when files change"));
        let events = || {
            let told = shell.ok(&format!("describe {name} --json"));
            let told: Value = serde_json::from_str(&told).expect("it is JSON");
            told[0]["full"]["events"].as_array().cloned().unwrap_or_default()
        };
        assert!(wait_until(|| events().iter().any(|event| event["what"] == "stop")));
        let events = events();
        let of = |what: &str| events.iter().position(|event| event["what"] == what);
        let mut starts = events.iter().enumerate().filter(|(_, event)| event["what"] == "start");
        let second = starts.nth(1).map(|(at, _)| at);
        // The old one goes when the new one is there, or makes room for it first.
        assert_eq!(of("stop") < second, action == "restart", "{name}: {events:#?}");
    }
}

#[test]
fn a_worker_that_a_check_finds_unwell_is_replaced() {
    let shell = shell();
    let soon = |more: Value| {
        let mut health = json!({"interval": "100ms", "timeout": "5s", "threshold": 2});
        super::lay(&mut health, &more);
        health
    };
    let slow = soon(json!({"exec": "sleep 1000", "timeout": "100ms"}));
    let apps = [
        sleeper("exec", &json!({"health": soon(json!({"exec": "exit 9"}))})),
        sleeper("tcp", &json!({"health_check": soon(json!({"tcp": "127.0.0.1:1"}))})),
        sleeper("http", &json!({"healthCheck": soon(json!({"http": "http://127.0.0.1:1/"}))})),
        sleeper("slow", &json!({"health": slow})),
        sleeper("spared", &json!({"health": soon(json!({"exec": "exit 9", "grace": "1h"}))})),
        sleeper("seldom", &json!({"health": soon(json!({"exec": "exit 9", "interval": "1h"}))})),
        sleeper("line", &json!({"health": "exec:exit 9"})),
        sleeper("off", &json!({"health": false})),
    ];
    start(&shell, &json!(apps));
    for name in ["exec", "tcp", "http", "slow"] {
        restarted(&shell, name, "health");
        described(&shell, name, "2 checks in a row failed");
    }
    for name in ["spared", "seldom", "line", "off"] {
        assert_eq!(restarts(&shell, name), 0, "{name}");
    }
    described(&shell, "line", "every 5 s; unwell after 3 failures in a row");
    described(&shell, "slow", "100 ms");
}
