//! When a worker is ready, when it is started anew, and when it is given up.

use serde_json::{Value, json};

use super::{Shell, listed, restarted, spellings, start, start_fails, wait_until};

/// A program of the shell that ends or stays as this line says.
fn app(name: &str, line: &str, more: &Value) -> Value {
    let mut app = json!({"name": name, "script": "sh", "args": ["-c", line]});
    super::lay(&mut app, more);
    app
}

/// Each spelling of a key, with this value: an app of that name.
fn each(key: &str, value: &Value, line: &str, more: &Value) -> Vec<Value> {
    let one = |spelling: &String| {
        let mut app = app(spelling, line, more);
        app[spelling] = value.clone();
        app
    };
    spellings(key).iter().map(one).collect()
}

fn worker(shell: &Shell, app: &str) -> Value {
    listed(shell, app)["workers"][0].clone()
}

/// All apps of a list come to be so.
fn all(shell: &Shell, apps: &[Value], what: &str, so: impl Fn(&Value) -> bool) {
    for app in apps {
        let name = app["name"].as_str().expect("a name");
        assert!(wait_until(|| so(&worker(shell, name))), "{what}: {}", worker(shell, name));
    }
}

#[test]
fn an_app_without_autostart_is_known_and_does_not_run() {
    let shell = Shell::new();
    let apps = each("autostart", &json!(false), "exec sleep 1000", &json!({}));
    start(&shell, &json!(apps));
    all(&shell, &apps, "stopped", |it| it["status"] == "stopped" && it["started_at"].is_null());
}

#[test]
fn a_worker_that_ends_is_left_alone_without_autorestart_and_after_a_code_that_stops() {
    let shell = Shell::new();
    let mut apps = each("autorestart", &json!(false), "exit 3", &json!({}));
    apps.extend(each("stop_exit_codes", &json!([1, 3]), "exit 3", &json!({})));
    shell.write("keys.json", &json!(apps).to_string());
    // An end with a code that is none of success is told as such, whatever follows.
    shell.tine("start keys.json --silent");
    all(&shell, &apps, "it is left alone", |it| {
        it["status"] == "stopped" && it["exit_code"] == 3 && it["restarts"] == 0
    });
}

#[test]
fn a_worker_that_ends_too_early_too_often_is_given_up() {
    let shell = Shell::new();
    let often = || json!({"exp_backoff_restart_delay": 1, "min_uptime": "1h"});
    let mut apps = each("max_restarts", &json!(3), "exit 4", &often());
    let soon = json!({"exp_backoff_restart_delay": 1, "max_restarts": 3});
    apps.extend(each("min_uptime", &json!("1h"), "exit 4", &soon));
    let said = start_fails(&shell, &json!(apps));
    assert!(said.contains("given up") && said.contains("code 4"), "{said}");
    all(&shell, &apps, "it is given up", |it| it["status"] == "errored" && it["restarts"] == 2);
}

#[test]
fn a_worker_that_ends_late_enough_is_started_as_often_as_it_likes() {
    let shell = Shell::new();
    let more = json!({"min_uptime": 100, "exp_backoff_restart_delay": 1, "max_restarts": 2});
    start(&shell, &json!([app("patient", "sleep 0.2", &more)]));
    assert!(wait_until(|| worker(&shell, "patient")["restarts"].as_u64() > Some(3)));
    assert_eq!(worker(&shell, "patient")["unstable_restarts"], 0);
}

/// Milliseconds until the next start.
fn delay(worker: &Value) -> u64 {
    worker["delay"].as_u64().unwrap_or_default()
}

#[test]
fn the_wait_before_a_restart_is_the_one_of_the_file() {
    let shell = Shell::new();
    let fixed = each("restart_delay", &json!("2h"), "exit 4", &json!({}));
    let growing = each("exp_backoff_restart_delay", &json!(14_000), "exit 4", &json!({}));
    let both: Vec<Value> = fixed.iter().chain(&growing).cloned().collect();
    start_fails(&shell, &json!(both));
    let waits = |it: &Value| it["status"] == "waiting restart";
    all(&shell, &fixed, "2 h", |it| waits(it) && (6_000_000..=7_200_000).contains(&delay(it)));
    all(&shell, &growing, "14 s or more", |it| waits(it) && (1..=15_000).contains(&delay(it)));
}

#[test]
fn a_worker_that_is_to_say_that_it_is_ready_fails_in_its_time() {
    let shell = Shell::new();
    shell.write(
        "ready.js",
        "setTimeout(() => process.send('ready'), 300); setInterval(() => {}, 1000)",
    );
    let ready = |name: &str, key: &str| json!({"name": name, "script": "ready.js", (key): true, "listenTimeout": "60s"});
    start(&shell, &json!([ready("a", "wait_ready"), ready("b", "waitReady")]));
    for name in ["a", "b"] {
        let at = |what: &str| event(&shell, name, what)["at"].as_u64().expect("it is told");
        assert!(at("online") >= at("start") + 250, "{name} was ready when it said so");
    }
    let silent = json!({"wait_ready": true, "max_restarts": 1});
    let silent = each("listen_timeout", &json!("250ms"), "exec sleep 1000", &silent);
    let said = start_fails(&shell, &json!(silent));
    assert!(said.contains("was not ready within 2"), "{said}");
}

/// The first event of this sort.
fn event(shell: &Shell, app: &str, what: &str) -> Value {
    let told: Value =
        serde_json::from_str(&shell.ok(&format!("describe {app} --json"))).expect("it is JSON");
    let events = told[0]["full"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().find(|event| event["what"] == what).unwrap_or_default()
}

#[test]
fn a_worker_that_takes_too_much_memory_is_replaced() {
    let shell = Shell::new();
    let apps = each("max_memory_restart", &json!("1K"), "exec sleep 1000", &json!({}));
    start(&shell, &json!(apps));
    for app in &apps {
        restarted(&shell, app["name"].as_str().expect("a name"), "memory");
    }
}
