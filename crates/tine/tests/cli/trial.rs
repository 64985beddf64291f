//! What a new version has to be before it replaces the old one, and what is left of one that is not.

use std::{net::TcpStream, time::Duration};

use super::reload;
use super::shell::{Shell, free_port, get, wait_until};

/// Serves its version at `PORT`; at `/health` it is as well as `HEALTH` says.
const SERVER: &str = "\
require('http').createServer((request, response) => {\n\
  response.statusCode = request.url === '/health' ? Number(process.env.HEALTH) : 200;\n\
  response.end(process.env.V);\n\
}).listen(process.env.PORT, '127.0.0.1');\n";

fn serving(options: &str) -> (Shell, u16) {
    let (mut shell, port) = (Shell::new(), free_port());
    shell.write("app.js", SERVER);
    shell.set("PORT", &port.to_string());
    shell.set("HEALTH", "200");
    shell.set("V", "old");
    shell.ok(&format!("start app.js -i 2 --silent {options}"));
    assert!(wait_until(|| get(port).as_deref() == Some("old")));
    (shell, port)
}

fn pids(shell: &Shell) -> Vec<String> {
    shell.values("app", "/pid")
}

#[test]
fn a_new_version_that_is_not_well_replaces_nobody() {
    let (mut shell, port) = serving("--health /health");
    let before = pids(&shell);
    shell.set("V", "ill");
    shell.set("HEALTH", "500");
    let error = shell.fails("reload app --update-env --listen-timeout 3s");
    assert!(error.contains("its health check failed"), "{error}");
    assert!(error.contains("GET /health was answered with 500"), "{error}");
    assert_eq!(pids(&shell), before);
    let answers: Vec<_> = (0..10).map(|_| get(port)).collect();
    assert!(answers.iter().all(|it| it.as_deref() == Some("old")), "{answers:?}");
    shell.set("V", "well");
    shell.set("HEALTH", "204");
    shell.ok("reload app --update-env");
    assert!(wait_until(|| get(port).as_deref() == Some("well")));
    assert!(pids(&shell).iter().all(|pid| !before.contains(pid)));
}

#[test]
fn a_check_by_a_command_is_one_of_the_new_worker_too() {
    let (mut shell, port) = serving("--health exec:./check");
    let before = pids(&shell);
    shell.set("V", "ill");
    let check = "#!/bin/sh\ngrep -qz '^V=ill$' /proc/$TINE_WORKER_PID/environ && exit 7\nexit 0\n";
    let path = shell.write("check", check);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
    let error = shell.fails("reload app --update-env --listen-timeout 3s");
    assert!(error.contains("the check ended with code 7"), "{error}");
    assert_eq!((pids(&shell), get(port).as_deref()), (before, Some("old")));
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn comes_to_be_refused(port: u16) -> bool {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while std::time::Instant::now() < until {
        if !is_open(port) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn nobody_is_left_waiting_at_the_port_of_a_version_that_was_not_let_in() {
    let (mut shell, port) = serving("");
    let other = free_port();
    shell.set("PORT", &other.to_string());
    shell.fails("reload app --update-env --listen-timeout 1500");
    assert!(comes_to_be_refused(other), "nobody accepts there");
    assert_eq!(get(port).as_deref(), Some("old"));
    shell.write("next.js", SERVER);
    shell.ok("start next.js --silent");
    assert_eq!(get(other).as_deref(), Some("old"), "another app can have it");
}

#[test]
fn nobody_is_left_waiting_at_a_port_that_a_restart_has_left() {
    let (mut shell, port) = serving("");
    let other = free_port();
    shell.set("PORT", &other.to_string());
    shell.ok("restart app --update-env");
    assert!(wait_until(|| get(other).as_deref() == Some("old")));
    assert!(comes_to_be_refused(port), "nobody accepts there");
    assert_eq!(get(other).as_deref(), Some("old"));
}

#[test]
fn a_time_that_is_the_usual_one_is_kept_when_it_is_said() {
    let (mut shell, _) = serving("");
    let since = std::time::Instant::now();
    shell.write("app.js", "setInterval(() => {}, 1000);");
    shell.set("V", "mute");
    let error = shell.fails("reload app --update-env --listen-timeout 3s");
    assert!(error.contains("was not ready in 3s"), "{error}");
    assert!(since.elapsed() < Duration::from_secs(25), "and not in 30");
}

#[test]
fn a_new_version_on_another_port_is_told_where_it_listens_and_what_changes_ports() {
    let (mut shell, port) = reload::serving(1, "");
    let other = free_port();
    shell.set("PORT", &other.to_string());
    let error = shell.fails("reload app --update-env --listen-timeout 1500");
    let why = format!(
        "was not ready in 1.5s: it listens on 127.0.0.1:{other} and not on 127.0.0.1:{port}; \
         `tine restart` changes ports"
    );
    assert!(error.contains(&why), "{error}");
    assert!(shell.ok("describe app").contains(&why), "in its note and its events");
}

#[test]
fn the_last_lines_of_what_was_too_late_are_those_from_before_it_was_told_to_stop() {
    let (mut shell, _) = reload::serving(1, "");
    let source = "if (process.env.V === 'mute') process.on('SIGINT', () => {\
                  console.error('looks like a crash'); process.exit(1); });\n";
    shell.write("app.js", &format!("{source}{}", reload::SERVER));
    shell.set("V", "mute");
    let error = shell.fails("reload app --update-env --listen-timeout 2s");
    assert!(error.contains("    mute\n") && !error.contains("crash"), "{error}");
    let logs = shell.ok("logs app --nostream");
    assert!(logs.contains("looks like a crash"), "it is nowhere else left out: {logs}");
}
