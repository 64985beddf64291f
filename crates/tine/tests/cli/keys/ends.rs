//! How a worker is told to go.

use serde_json::{Value, json};

use super::{Shell, described, spellings, start, wait_until};

/// Says which signal it got, and whether its child got one.
const PARENT: &str = "\
( trap 'echo the child was told >>$0.told; exit' INT TERM USR2; while :; do sleep 0.05; done ) &
for signal in INT TERM USR2; do trap \"echo told $signal >>$0.told; sleep 0.5; kill -KILL $!; exit\" $signal; done
echo ready >>$0.told
wait
";

/// Starts this program, stops it, and gives what it said.
fn told(shell: &Shell, more: &Value) -> String {
    shell.write("parent.sh", PARENT);
    shell.write("parent.sh.told", "");
    let file = shell.work().join("parent.sh.told");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let mut app = json!({"name": "a", "script": "parent.sh", "kill_timeout": "30s"});
    super::lay(&mut app, more);
    start(shell, &app);
    assert!(wait_until(|| read().contains("ready")));
    shell.ok("delete a --silent");
    read()
}

#[test]
fn the_signal_is_the_one_of_the_file() {
    let shell = Shell::new();
    assert!(told(&shell, &json!({})).contains("told INT"));
    for (key, value) in spellings("kill_signal").iter().zip(["SIGUSR2", "usr2", "USR2", "SIGUSR2"])
    {
        let said = told(&shell, &json!({(key.as_str()): value}));
        assert!(said.contains("told USR2") && !said.contains("INT"), "{key}: {said}");
    }
    let said = told(&shell, &json!({"kill_signal": "TERM"}));
    assert!(said.contains("told TERM"), "{said}");
}

#[test]
fn the_tree_is_told_or_the_first_process_alone() {
    let shell = Shell::new();
    let said = told(&shell, &json!({"treekill": true}));
    assert!(said.contains("the child was told"), "{said}");
    let said = told(&shell, &json!({"treekill": false}));
    assert!(said.contains("told INT") && !said.contains("the child"), "{said}");
}

#[test]
fn who_does_not_go_is_killed_when_its_time_is_up() {
    let shell = Shell::new();
    let stubborn = "trap '' INT; while :; do sleep 0.1; done";
    let one = |key: &String| {
        let mut app = json!({"name": key, "script": "sh", "args": ["-c", stubborn]});
        app[key] = "50ms".into();
        app
    };
    let keys = spellings("kill_timeout");
    start(&shell, &json!(keys.iter().map(one).collect::<Vec<_>>()));
    shell.ok("stop all --silent");
    for key in &keys {
        described(&shell, key, "was killed by SIGKILL");
        described(&shell, key, "SIGKILL after 50 ms");
    }
}

#[test]
fn node_is_told_by_a_message_where_that_was_asked_for() {
    let shell = Shell::new();
    shell.write(
        "app.js",
        "process.on('message', it => { if (it === 'shutdown') { console.log('bye'); process.exit() } });\n\
         process.on('SIGINT', () => console.log('a signal'));\n\
         console.log('here'); setInterval(() => {}, 1000);\n",
    );
    for key in spellings("shutdown_with_message") {
        start(
            &shell,
            &json!({"name": "a", "script": "app.js", (key): true, "kill_timeout": "30s"}),
        );
        let lines = || shell.ok("logs a --nostream --raw");
        assert!(wait_until(|| lines().contains("here")));
        shell.ok("stop a --silent");
        assert!(lines().contains("bye") && !lines().contains("a signal"), "{}", lines());
        shell.ok("flush a --silent");
        shell.ok("delete a --silent");
    }
}
