//! Versions that follow each other, with the real program and real servers.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
};

use super::shell::{Shell, free_port, get, wait_until};

/// A server whose version is in `V`: `bad` ends at once, `mute` never listens.
pub(crate) const SERVER: &str = "\
if (process.env.V === 'bad') { console.error('no such luck'); process.exit(3); }\n\
else if (process.env.V === 'mute') { console.log('mute'); setInterval(() => {}, 1000); }\n\
else require('http').createServer((q, s) => s.end(process.env.V + process.argv.slice(2).join('')))\
.listen(process.env.PORT, '127.0.0.1');\n";

/// The shell, and where `app` serves version `1` with so many workers.
pub(crate) fn serving(count: u32, options: &str) -> (Shell, u16) {
    let (mut shell, port) = (Shell::new(), free_port());
    shell.write("app.js", SERVER);
    shell.set("PORT", &port.to_string());
    shell.set("V", "1");
    shell.ok(&format!("start app.js -i {count} --silent {options}"));
    (shell, port)
}

fn answers(port: u16, version: &str) -> bool {
    wait_until(|| get(port).as_deref() == Some(version))
}

fn pids(shell: &Shell) -> Vec<String> {
    shell.values("app", "/pid")
}

#[test]
fn a_reload_of_one_id_replaces_that_worker_alone() {
    let (shell, _) = serving(3, "");
    let before = pids(&shell);
    let out = shell.ok("reload 1");
    assert!(out.starts_with("app (1): reloaded\n"), "{out}");
    let after = pids(&shell);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_ne!(after[1], before[1]);
    assert_eq!(shell.values("app", "/pm2_env/restart_time"), ["0", "1", "0"]);
}

#[test]
fn what_is_different_is_taken_along() {
    let (mut shell, port) = serving(1, "");
    shell.set("V", "2");
    shell.words(&["reload", "app", "--update-env", "-i", "2", "--", "x"]);
    assert!(answers(port, "2x"), "{:?}", get(port));
    assert_eq!(pids(&shell).len(), 2);
    shell.write("other.js", &SERVER.replace("process.env.V +", "'other' +"));
    shell.write("app.json", r#"{"apps":[{"name":"app","script":"other.js","instances":1}]}"#);
    shell.ok("reload app.json");
    assert!(answers(port, "other"), "{:?}", get(port));
    assert_eq!(pids(&shell).len(), 1);
}

#[test]
fn a_reload_that_fails_says_why_and_leaves_the_old_ones() {
    let (mut shell, port) = serving(2, "");
    let before = pids(&shell);
    shell.set("V", "bad");
    let error = shell.fails("reload app --update-env");
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("    no such luck\n"), "{error}");
    assert_eq!((pids(&shell), get(port).as_deref()), (before.clone(), Some("1")));
    let note = "the last reload failed";
    assert!(shell.ok("ls").contains(note) && shell.ok("describe app").contains(note));

    shell.set("V", "mute");
    let error = shell.fails("reload app --update-env --listen-timeout 300");
    assert!(error.contains("was not ready in") && error.contains("    mute\n"), "{error}");
    let deaf = format!("was not ready in 300ms: it does not listen on 127.0.0.1:{port}\n");
    assert!(error.contains(&deaf), "{error}");
    assert_eq!(pids(&shell), before);
    let error = shell.fails("rollback app");
    assert!(error.contains("nothing to go back to"), "what failed was no change: {error}");
}

#[test]
fn the_note_of_a_reload_that_failed_goes_with_the_next_success() {
    let (mut shell, _) = serving(1, "");
    for success in ["reload app --update-env", "start app"] {
        shell.set("V", "bad");
        shell.fails("reload app --update-env");
        assert!(shell.ok("ls").contains("the last reload failed"));
        shell.set("V", "2");
        if success.starts_with("start") {
            shell.ok("stop app");
        }
        shell.ok(success);
        assert!(!shell.ok("ls").contains("the last reload failed"), "{success}");
    }
    let events = shell.ok("describe app");
    assert!(events.contains("is being reloaded") && events.contains("is done: new"), "{events}");
}

#[test]
fn on_a_path_describe_tells_the_policy_that_is_in_force() {
    let mut shell = Shell::new();
    let path = shell.work().join("app.sock");
    shell.set("PORT", &path.display().to_string());
    let source = "require('http').createServer((q, s) => s.end('x')).listen(process.env.PORT);";
    shell.write("app.js", source);
    shell.ok("start app.js -i 2 --silent");
    let described = shell.ok("describe app");
    let expected = format!("  policy              rr; shared on unix:{}\n", path.display());
    assert!(described.contains(&expected), "{described}");
}

#[test]
fn a_restart_takes_half_of_them_first_and_the_others_if_these_serve() {
    let (mut shell, port) = serving(3, "");
    let before = pids(&shell);
    shell.set("V", "bad");
    let error = shell.fails("restart app --update-env");
    assert!(error.contains("; the others run as before"), "{error}");
    assert!(error.contains("    no such luck\n"), "{error}");
    let left = pids(&shell);
    assert_eq!((&left[1..], get(port).as_deref()), (&before[1..], Some("1")));
    shell.set("V", "2");
    let out = shell.ok("restart app --update-env");
    assert!(out.starts_with("app (0, 1, 2): restarted\n"), "{out}");
    assert!(answers(port, "2"), "{:?}", get(port));
    assert!(pids(&shell).iter().all(|pid| !before.contains(pid)));
}

/// Longer than workers are waited for after a start by default.
const LATE: &str = "6000";

#[test]
fn a_restart_waits_for_the_first_half_of_an_app_that_takes_long_to_start() {
    let (mut shell, port) = serving(2, "");
    let before = pids(&shell);
    let late = format!("setTimeout(() => {{ {SERVER} }}, process.env.LATE);");
    shell.write("app.js", &late);
    shell.set("LATE", LATE);
    shell.set("V", "2");
    let out = shell.ok("restart app --update-env");
    assert!(out.starts_with("app (0, 1): restarted\n"), "{out}");
    assert!(answers(port, "2"));
    assert!(pids(&shell).iter().all(|pid| !before.contains(pid)));
}

#[test]
fn a_rollback_returns_to_the_configuration_before_and_another_one_goes_forth() {
    let (mut shell, port) = serving(1, "");
    shell.set("V", "2");
    shell.ok("reload app --update-env");
    assert!(answers(port, "2"));
    shell.ok("scale app 2");
    let out = shell.ok("rollback app");
    assert!(out.starts_with("app (0, 1): rolled back\n"), "{out}");
    assert!(answers(port, "1"));
    assert_eq!(pids(&shell).len(), 2, "a size is no version");
    shell.ok("rollback app");
    assert!(answers(port, "2"));
    let error = shell.fails("rollback 1");
    assert!(error.contains("say its name"), "{error}");
}

#[test]
fn the_way_back_survives_the_manager() {
    let (mut shell, port) = serving(1, "");
    shell.set("V", "2");
    shell.ok("restart app --update-env");
    assert!(answers(port, "2"));
    for command in ["save", "kill", "resurrect"] {
        shell.ok(command);
    }
    assert!(answers(port, "2"));
    shell.ok("rollback app");
    assert!(answers(port, "1"));
}

#[test]
fn a_change_that_takes_a_restart_is_rolled_back_by_one() {
    let (shell, port) = serving(2, "");
    let error = shell.fails("reload app --policy shared");
    assert!(error.contains("one-queue") && error.contains("tine restart"), "{error}");
    shell.ok("restart app --policy shared");
    shell.ok("rollback app");
    assert!(answers(port, "1"));
    let describe = shell.ok("describe app --json");
    let apps: serde_json::Value = serde_json::from_str(&describe).expect("it is JSON");
    assert_eq!(apps[0]["spec"]["policy"], "rr");
}

#[test]
fn a_policy_of_the_same_mechanism_is_taken_along_and_back() {
    // To every user the mechanism of both.
    let (shell, port) = serving(2, "--mechanism kernel-cbpf --policy random");
    let policy = || -> serde_json::Value {
        let describe = shell.ok("describe app --json");
        let apps: serde_json::Value = serde_json::from_str(&describe).expect("it is JSON");
        apps[0]["full"]["listeners"][0]["policy"].clone()
    };
    assert_eq!(policy(), "random");
    shell.ok("reload app --policy sticky");
    assert_eq!((policy(), get(port).as_deref()), ("sticky".into(), Some("1")));
    shell.ok("rollback app");
    assert_eq!(policy(), "random");
    let error = shell.fails("reload app --policy sticky --keep-old 1m");
    assert!(error.contains("the policy cannot change"), "{error}");
}

#[test]
fn an_old_version_that_is_kept_serves_again_at_once() {
    let (mut shell, port) = serving(2, "");
    let old = pids(&shell);
    shell.set("V", "2");
    shell.ok("reload app --update-env --keep-old 1h");
    assert!((0..8).all(|_| get(port).as_deref() == Some("2")));
    let (ls, describe) = (shell.ok("ls"), shell.ok("describe app"));
    assert!(ls.contains("old version is kept") && describe.contains("old version is kept"), "{ls}");
    assert!(old.iter().all(|pid| describe.contains(pid)), "{old:?} {describe}");
    let new = pids(&shell);
    shell.ok("rollback app");
    assert!((0..8).all(|_| get(port).as_deref() == Some("1")));
    assert_eq!(pids(&shell), old);
    let gone = |pid: &String| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(|| new.iter().all(gone)), "{new:?}");
    assert!(!shell.ok("ls").contains("is kept"));
    let error = shell.fails("rollback app");
    assert!(error.contains("nothing to go back to"), "as if nothing had been: {error}");
}

#[test]
fn the_old_version_leaves_when_its_time_is_up_or_something_else_comes() {
    let (mut shell, port) = serving(1, "");
    let first = pids(&shell);
    shell.set("V", "2");
    shell.ok("reload app --update-env --keep-old 1s");
    let gone = |pid: &String| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(|| first.iter().all(gone)));
    assert!(wait_until(|| !shell.ok("ls").contains("is kept")));
    let second = pids(&shell);
    shell.set("V", "3");
    shell.ok("reload app --update-env --keep-old 1h");
    shell.ok("restart app");
    assert!(wait_until(|| second.iter().all(gone)));
    assert!(answers(port, "3"));
    shell.ok("rollback app");
    assert!(answers(port, "2"), "the configuration is remembered");
}

#[test]
fn a_canary_is_shown_until_it_is_promoted_or_given_up() {
    let (mut shell, port) = serving(2, "");
    let old = pids(&shell);
    shell.set("V", "2");
    let said = shell.tine("reload app --update-env --canary 30");
    if said.code != 0 {
        // Nobody here may load an eBPF program.
        assert!(said.err.contains("only kernel-ebpf"), "{said:?}");
        assert_eq!(pids(&shell), old);
        return;
    }
    let answers_of = |version: &str, all: usize| {
        (0..all).filter(|_| get(port).as_deref() == Some(version)).count()
    };
    let new = answers_of("2", 100);
    assert!((10..=60).contains(&new), "{new} of 100");
    assert!(shell.ok("ls").contains("canary: the new version gets 30 %"));
    let error = shell.fails("reload app");
    assert!(error.contains("tine promote app"), "{error}");
    shell.ok("rollback app");
    assert_eq!((answers_of("1", 20), pids(&shell)), (20, old.clone()));

    shell.ok("reload app --update-env --canary 30");
    shell.ok("promote app");
    assert_eq!(answers_of("2", 20), 20);
    let gone = |pid: &String| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(|| old.iter().all(gone)));
    assert!(!shell.ok("ls").contains("canary"));
    assert!(shell.fails("promote app").contains("nothing to promote"));
}

#[test]
fn where_a_canary_cannot_be_nothing_is_done() {
    let (shell, _) = serving(1, "--policy shared");
    let before = pids(&shell);
    for (options, why) in [
        ("--canary 5", "only kernel-ebpf"),
        ("--keep-old 1m", "--keep-old is refused"),
        ("--keep-old 1m", "cannot be kept from taking"),
        ("--keep-old 1m -i 2", "tine scale"),
    ] {
        let error = shell.fails(&format!("reload app {options}"));
        assert!(error.contains(why), "{options}: {error}");
    }
    assert_eq!(pids(&shell), before);
    assert!(!shell.ok("ls").contains("failed"));
    for options in ["--canary 100", "--canary 0", "--keep-old 10", "--canary 5 --keep-old 1m"] {
        assert_eq!(shell.tine(&format!("reload app {options}")).code, 2, "{options}");
    }
    assert!(shell.fails("reload app --canary 5%").contains("--canary is refused"));
    let (restart, reload) = (shell.ok("help restart"), shell.ok("help reload"));
    for option in ["--canary", "--keep-old", "--verify"] {
        assert!(!restart.contains(option) && reload.contains(option), "{option}: {restart}");
    }
    assert!(restart.contains("--force"), "{restart}");
    assert!(shell.fails("restart app --canary 5").contains("tine reload"));
    shell.ok("stop app");
    assert!(shell.fails("reload app --keep-old 1m").contains("does not run"));
}

#[test]
fn a_second_reload_waits_and_with_force_the_first_is_called_off() {
    let (mut shell, port) = serving(1, "");
    let before = pids(&shell);
    shell.set("V", "mute");
    let slow = shell.variables();
    shell.set("V", "2");
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let line = ["reload", "app", "--update-env", "--listen-timeout", "55s"];
            shell.with(&slow, &line)
        });
        assert!(wait_until(|| shell.ok("ls").contains("reloading")));
        assert_eq!(pids(&shell), before);
        let mut second = shell.command(&["reload", "app"]);
        let second = second.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut second = second.expect("timeout(1) is there");
        let mut said = BufReader::new(second.stderr.take().expect("it is piped")).lines();
        let said = said.next().expect("it waits").expect("it is text");
        assert_eq!(said, "tine: app: waits for the reload that runs; --force calls it off");
        let forced = shell.tine("reload app --update-env --force");
        assert!(forced.code == 0 && !forced.err.contains("waits"), "{forced:?}");
        assert!(second.wait().expect("it is this test's child").success());
        let first = first.join().expect("it does not panic");
        assert!(first.code != 0 && first.err.contains("called off"), "{first:?}");
    });
    assert!(answers(port, "2"));
    assert!(!shell.ok("ls").contains("failed"));
}

/// As programs with `Type=notify` do: some by a child of theirs.
const NOTIFIER: &str = "\
import http.server, os, socket, subprocess, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ['V'].encode())
server = http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Answer)
say = '''import os, socket, sys
name = os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'STATUS=up', name)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', name)
sys.stdin.read()
'''
if os.environ['V'] == 'child':
    child = subprocess.Popen([sys.executable, '-c', say], stdin=subprocess.PIPE)
elif os.environ['V'] != 'mute':
    exec(say.replace('sys.stdin.read()', ''))
server.serve_forever()
";

#[test]
fn a_program_of_systemds_says_that_it_is_ready_or_the_reload_fails() {
    let (mut shell, port) = (Shell::new(), free_port());
    shell.write("app.py", NOTIFIER);
    shell.set("PORT", &port.to_string());
    shell.set("V", "1");
    shell.ok("start app.py -i 2 --wait-ready --listen-timeout 30s --silent");
    let before = pids(&shell);
    shell.set("V", "mute");
    let error = shell.fails("reload app --update-env --listen-timeout 1s");
    let silent = "was not ready in 1s: it did not say that it is ready\n";
    assert!(error.contains(silent), "{error}");
    assert_eq!(pids(&shell), before);
    shell.set("V", "child");
    shell.ok("reload app --update-env");
    assert!(answers(port, "child"), "{:?}", get(port));
}

#[test]
fn a_job_that_is_done_is_done_once_more_by_a_reload() {
    let shell = Shell::new();
    shell.write("job.sh", "echo done >>jobs\n");
    shell.ok("start job.sh --no-autorestart --silent");
    shell.ok("reload job --silent");
    let jobs = || std::fs::read_to_string(shell.work().join("jobs")).unwrap_or_default();
    assert!(wait_until(|| jobs() == "done\ndone\n"), "{}", jobs());
    assert!(wait_until(|| shell.values("job", "/pm2_env/status") == ["stopped"]));
    assert_eq!(shell.values("job", "/pm2_env/restart_time"), ["0"], "a start is no restart");
}
