//! Every key: its names, its forms, and what they come to.

use std::path::Path;

use serde_json::{Value, json};
use tine::{config::keys, spec::AppSpec};

use crate::{one, one_with_warnings};

/// The spec's key after `script: x` and this one.
fn of(key: &str, value: &str, pointer: &str) -> Value {
    let spec = one(&format!("{{script: 'x', cwd: '/srv', {key}: {value}}}"));
    at(&spec, pointer)
}

fn at(spec: &AppSpec, pointer: &str) -> Value {
    let whole = serde_json::to_value(spec).expect("plain data");
    whole.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone()
}

/// A key, its value in a file, where it goes, and what it comes to there.
type Sample = (&'static str, &'static str, &'static str, Value);

fn samples() -> Vec<Sample> {
    [program(), connections(), life(), more_life(), output()].concat()
}

fn program() -> Vec<Sample> {
    vec![
        ("name", "'a'", "/name", json!("a")),
        ("namespace", "'n'", "/namespace", json!("n")),
        ("args", "'-p \"a b\" 1'", "/args", json!(["-p", "a b", "1"])),
        ("args", "['-p', 8080, true]", "/args", json!(["-p", "8080", "true"])),
        ("interpreter", "'none'", "/interpreter", json!("none")),
        (
            "interpreter_args",
            "'--harmony -r x'",
            "/interpreter_args",
            json!(["--harmony", "-r", "x"]),
        ),
        ("user", "1000", "/user", json!("1000")),
        ("group", "'www'", "/group", json!("www")),
        ("umask", "'022'", "/umask", json!(0o22)),
        ("nice", "-5", "/nice", json!(-5)),
        (
            "rlimits",
            "{nofile: 1024, RLIMIT_CORE: 'unlimited'}",
            "/rlimits",
            json!({"nofile": {"soft": 1024, "hard": 1024}, "core": {"soft": null, "hard": null}}),
        ),
        (
            "rlimits",
            "{nofile: '1K:2K', nproc: {soft: 5, hard: -1}}",
            "/rlimits",
            json!({"nofile": {"soft": 1024, "hard": 2048}, "nproc": {"soft": 5, "hard": null}}),
        ),
        (
            "limits",
            "{memory: '1G', cpu: '150%', pids: 10}",
            "/limits",
            json!({"memory": 1 << 30, "cpu": 150, "pids": 10}),
        ),
        (
            "env",
            "{A: 1, B: true, C: {d: [1]}, D: null, E: 1.0}",
            "/env",
            json!({"A": "1", "B": "true", "C": "{\"d\":[1]}", "E": "1"}),
        ),
        ("env", "'A=1 B=\"two words\"'", "/env", json!({"A": "1", "B": "two words"})),
        ("env_file", "'.env'", "/env_file", json!(["/srv/.env"])),
        ("filter_env", "true", "/filter_env", json!("all")),
        ("filter_env", "['NPM_', 'X']", "/filter_env", json!({"prefixes": ["NPM_", "X"]})),
        ("filter_env", "'NPM_'", "/filter_env", json!({"prefixes": ["NPM_"]})),
        ("port", "'8080'", "/port", json!(8080)),
        ("instance_var", "'N'", "/instance_var", json!("N")),
        ("increment_var", "'PORT'", "/increment_var", json!("PORT")),
    ]
}

fn connections() -> Vec<Sample> {
    vec![
        ("instances", "3", "/instances", json!({"count": 3})),
        ("instances", "'4'", "/instances", json!({"count": 4})),
        ("instances", "'max'", "/instances", json!({"all-but": 0})),
        ("instances", "0", "/instances", json!({"all-but": 0})),
        ("instances", "-1", "/instances", json!({"all-but": 1})),
        ("exec_mode", "'cluster_mode'", "/exec_mode", json!("cluster")),
        ("exec_mode", "'fork'", "/exec_mode", json!("fork")),
        ("execute_command", "true", "/exec_mode", json!("fork")),
        ("policy", "'sticky'", "/policy", json!("sticky")),
        ("mechanism", "'one-queue'", "/mechanism", json!("one-queue")),
        ("mechanism", "'auto'", "/mechanism", Value::Null),
        ("listen", "[8080, '[::1]:81']", "/listen", json!(["0.0.0.0:8080", "[::1]:81"])),
        ("private_ports", "[9229, '9230, 9231']", "/private_ports", json!([9229, 9230, 9231])),
        ("drain_timeout", "'1m'", "/drain_timeout", json!(60_000)),
        ("health", "'/health'", "/health/probe", json!({"http": "/health"})),
        ("health", "'tcp://127.0.0.1:1'", "/health/probe", json!({"tcp": "127.0.0.1:1"})),
        (
            "health",
            "{exec: './check', interval: '1s', timeout: 500, threshold: 2, grace: '10s'}",
            "/health",
            json!({"probe": {"exec": "./check"}, "interval": 1000, "timeout": 500, "threshold": 2, "grace": 10000}),
        ),
        ("after", "'db'", "/after", json!(["db"])),
    ]
}

fn life() -> Vec<Sample> {
    vec![
        ("autostart", "false", "/autostart", json!(false)),
        ("autorestart", "'no'", "/autorestart", json!(false)),
        ("max_restarts", "'3'", "/max_restarts", json!(3)),
        ("min_uptime", "'2h'", "/min_uptime", json!(7_200_000)),
        ("restart_delay", "50", "/restart_delay", json!(50)),
        ("exp_backoff_restart_delay", "50", "/exp_backoff_restart_delay", json!(50)),
        ("stop_exit_codes", "0", "/stop_exit_codes", json!([0])),
        ("stop_exit_codes", "[0, '2,3']", "/stop_exit_codes", json!([0, 2, 3])),
        ("wait_ready", "true", "/wait_ready", json!(true)),
        ("listen_timeout", "8000", "/listen_timeout", json!(8000)),
        ("kill_signal", "'usr2'", "/kill_signal", json!("SIGUSR2")),
        ("kill_timeout", "'5s'", "/kill_timeout", json!(5000)),
        ("treekill", "false", "/treekill", json!(false)),
        ("shutdown_with_message", "true", "/shutdown_with_message", json!(true)),
    ]
}

fn more_life() -> Vec<Sample> {
    vec![
        ("max_memory_restart", "'200M'", "/max_memory_restart", json!(200 << 20)),
        ("max_memory_restart", "1048576", "/max_memory_restart", json!(1 << 20)),
        ("cron_restart", "'0 3 * * *'", "/cron_restart", json!("0 3 * * *")),
        ("cron_restart", "0", "/cron_restart", Value::Null),
        ("cron_timezone", "'UTC'", "/cron_timezone", json!("UTC")),
        ("watch", "true", "/watch/paths", json!(["/srv"])),
        ("watch", "['src', '/etc/x']", "/watch/paths", json!(["/srv/src", "/etc/x"])),
        ("watch", "false", "/watch", Value::Null),
        (
            "watch",
            "{paths: 'src', ignore: ['*.log'], delay: '1s', action: 'reload'}",
            "/watch",
            json!({"paths": ["/srv/src"], "ignore": ["*.log"], "delay": 1000, "action": "reload"}),
        ),
        (
            "ignore_watch",
            "['./tmp', '../x/*.log'], watch: true",
            "/watch/ignore",
            json!(["**/.*", "**/node_modules/**", "/srv/tmp", "/srv/../x/*.log"]),
        ),
        ("max_memory_restart", "0", "/max_memory_restart", Value::Null),
        (
            "ignore_watch",
            "'tmp', watch: true",
            "/watch/ignore",
            json!(["**/.*", "**/node_modules/**", "tmp"]),
        ),
        ("watch_delay", "1000, watch: true", "/watch/delay", json!(1000)),
        ("watch_action", "'reload', watch: true", "/watch/action", json!("reload")),
        (
            "watch_options",
            "{ignored: 'x'}, ignore_watch: ['y'], watch: 'a'",
            "/watch/ignore",
            json!(["**/.*", "**/node_modules/**", "y", "x"]),
        ),
        ("pid_file", "'run/a.pid'", "/pid_file", json!("/srv/run/a.pid")),
    ]
}

fn output() -> Vec<Sample> {
    vec![
        ("out_file", "'o.log'", "/logs/out_file", json!("/srv/o.log")),
        ("error_file", "'NULL'", "/logs/error_file", json!("/dev/null")),
        ("error_file", "false", "/logs/error_file", json!("/dev/null")),
        ("log_file", "'/var/log/x.log'", "/logs/combined_file", json!("/var/log/x.log")),
        ("log_file", "true, name: 'a b'", "/logs/combined_file", json!("a-b.log")),
        ("log_file", "false", "/logs/combined_file", Value::Null),
        ("merge_logs", "true", "/logs/merge", json!(true)),
        ("disable_logs", "true", "/logs/disabled", json!(true)),
        ("log_type", "'json'", "/logs/kind", json!("json")),
        ("log_date_format", "'YYYY'", "/logs/date_format", json!("YYYY")),
        ("time", "true", "/logs/date_format", json!("YYYY-MM-DDTHH:mm:ss")),
        (
            "log_rotation",
            "{size: '1M', age: '1d', keep: 3, compress: false, total: 0}",
            "/logs/rotation",
            json!({"size": 1 << 20, "age": 86_400_000, "keep": 3, "compress": false, "total": 0}),
        ),
        ("log_rotation", "false", "/logs/rotation/size", json!(0)),
        ("append_env_to_name", "true", "/name", json!("x")),
        ("name_prefix", "'p'", "/name", json!("p:x")),
    ]
}

#[test]
fn every_key_goes_to_its_place() {
    for (key, value, pointer, wanted) in samples() {
        assert_eq!(of(key, value, pointer), wanted, "{key}: {value}");
    }
}

#[test]
fn every_key_of_the_table_is_tried_or_has_no_effect() {
    let tried = samples();
    let quiet: Vec<&str> =
        keys::OTHER.iter().map(|key| key.name).filter(|name| *name != "execute_command").collect();
    for key in keys::all() {
        let apart = ["script", "cwd"].contains(&key.name);
        let known = apart || tried.iter().any(|(name, ..)| *name == key.name);
        assert!(known != quiet.contains(&key.name), "{}", key.name);
    }
    let default = one("{script: 'x', cwd: '/srv'}");
    for key in quiet {
        let (spec, _) = one_with_warnings(&format!("{{script: 'x', cwd: '/srv', {key}: true}}"));
        assert_eq!(spec, default, "{key}");
    }
}

#[test]
fn every_other_name_of_a_key_is_as_good() {
    let camel = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        let upper = |part: &str| part[..1].to_uppercase() + &part[1..];
        first + &parts.map(upper).collect::<String>()
    };
    for (key, value, pointer, wanted) in samples() {
        let aliases = keys::all().find(|one| one.name == key).unwrap().aliases;
        for name in aliases.iter().chain([&key]) {
            assert_eq!(of(name, value, pointer), wanted, "{name}");
            assert_eq!(of(&camel(name), value, pointer), wanted, "{name}");
            let hyphens = format!("'{}'", name.replace('_', "-"));
            assert_eq!(of(&hyphens, value, pointer), wanted, "{name}");
        }
    }
    for name in ["script", "exec", "cmd", "command"] {
        assert_eq!(one(&format!("{{{name}: 'x y'}}")).script, "x y");
    }
}

#[test]
fn the_defaults_of_the_table_are_those_that_apply() {
    let default = one("{script: 'x', cwd: '/srv'}");
    for key in keys::all().filter(|key| !key.default.is_empty()) {
        let text = format!("{{script: 'x', cwd: '/srv', {}: '{}'}}", key.name, key.default);
        let mut spec = one(&text);
        if key.name == "instances" {
            assert_eq!(spec.exec_mode, None);
        }
        spec.name.clone_from(&default.name);
        assert_eq!(spec, default, "{}", key.name);
    }
    let watched =
        "{script: 'x', cwd: '/srv', watch: true, watch_delay: '200ms', watch_action: 'restart'}";
    assert_eq!(one(watched), one("{script: 'x', cwd: '/srv', watch: true}"));
}

#[test]
fn node_apps_with_a_number_of_instances_are_cluster_apps() {
    let mode = |text: &str| at(&one(text), "/exec_mode");
    assert_eq!(mode("{script: 'a.js', instances: 1}"), json!("cluster"));
    assert_eq!(mode("{script: 'a', interpreter: 'bun', instances: 'max'}"), json!("cluster"));
    assert_eq!(mode("{script: 'a.js'}"), Value::Null);
    assert_eq!(mode("{script: 'a.js', instances: 2, exec_mode: 'fork'}"), json!("fork"));
    assert_eq!(mode("{script: 'a.py', instances: 2}"), Value::Null);
    assert_eq!(mode("{script: 'node a.js', instances: 2}"), Value::Null);
}

#[test]
fn a_command_line_keeps_its_arguments_apart() {
    let spec = one("{script: 'node server.js', args: ['-x', 'a b']}");
    assert_eq!(
        (spec.script.as_str(), spec.args),
        ("node server.js", vec!["-x".into(), "a b".into()])
    );
    assert_eq!(spec.cwd, Path::new("/no/where"));
}

#[test]
fn a_home_directory_is_put_in_for_a_tilde() {
    let home = std::env::var("HOME").unwrap();
    assert_eq!(one("{script: 'x', cwd: '~/srv'}").cwd, Path::new(&home).join("srv"));
}

#[test]
fn two_names_for_one_key_are_told_and_ours_counts() {
    let (spec, warnings) = one_with_warnings("{cmd: 'other', script: 'x'}");
    assert_eq!(spec.script, "x");
    let text = "standard input:1: `cmd` says the same as `script`, which counts";
    assert_eq!(warnings, [text]);
}
