//! What `foreign-primary` says to commands that it cannot carry out.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::{Command, Stdio};

use compliance::{example, needs};
use serde_json::{Value, json};

/// What it says to these lines, and nothing else.
fn answers(lines: &[Value]) -> Vec<Value> {
    let mut primary = Command::new(example("foreign-primary"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut stdin = primary.stdin.take().expect("it was asked to be a pipe");
    for line in lines {
        let text = line.as_str().map_or_else(|| line.to_string(), str::to_owned);
        writeln!(stdin, "{text}").expect("it reads");
    }
    drop(stdin);
    let output = primary.wait_with_output().expect("it ends with its input");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The error in the answer to this one line.
fn error(line: Value) -> String {
    let answers = answers(&[line]);
    let [answer] = &answers[..] else { panic!("one answer: {answers:?}") };
    answer["error"].as_str().or(answer["message"].as_str()).expect("an error").to_owned()
}

#[test]
fn a_line_that_is_no_command_is_an_error_and_the_next_is_carried_out() {
    let said = answers(&[json!("no JSON"), json!({ "command": "setup", "id": "a" })]);
    assert_eq!((&said[0]["event"], &said[0]["worker"]), (&json!("error"), &json!(0)));
    assert_eq!(said[1], json!({ "event": "done", "id": "a", "descriptors": [] }));
}

#[test]
fn an_unknown_command_is_named() {
    assert_eq!(error(json!({ "command": "spoon", "id": 1 })), "there is no command spoon");
}

#[test]
fn a_policy_that_there_is_not_is_refused_with_those_that_there_are() {
    let said = error(json!({ "command": "setup", "id": 1, "policy": "fair" }));
    assert!(said.contains("fair") && said.contains("sticky"), "{said}");
}

#[test]
fn a_second_setup_is_refused() {
    let setup = |id| json!({ "command": "setup", "id": id });
    assert_eq!(answers(&[setup(1), setup(2)])[1]["error"], "it runs already");
}

#[test]
fn an_interpreter_that_is_not_there_is_told_by_fork() {
    let fork = json!({ "command": "fork", "id": 1, "exec": "a.js", "execPath": "/no/node" });
    let said = error(fork);
    assert!(said.starts_with("start the worker") && said.contains("No such file"), "{said}");
}

#[test]
fn a_worker_that_there_is_not_is_named() {
    for command in [
        json!({ "command": "send", "id": 1, "worker": 7, "message": null }),
        json!({ "command": "kill", "id": 1, "worker": 7 }),
    ] {
        let said = error(command);
        assert!(said.contains("worker 7"), "{said}");
    }
}

#[test]
fn a_signal_that_there_is_not_is_named() {
    let said = error(json!({ "command": "kill", "id": 1, "worker": 7, "signal": "SIGNOT" }));
    assert_eq!(said, "there is no signal SIGNOT");
}

#[test]
fn its_workers_end_with_its_input() {
    needs("node");
    let script = std::env::temp_dir().join(format!("tine-foreign-{}.js", std::process::id()));
    std::fs::write(&script, "setInterval(() => {}, 1000);").expect("/tmp is writable");
    let said = answers(&[json!({ "command": "fork", "id": 1, "exec": script })]);
    std::fs::remove_file(&script).expect("our own file");
    let pid = said[0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    assert!(!compliance::is_alive(pid));
}
