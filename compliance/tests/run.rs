//! `tine run` in the foreground: what it prints, what the workers are given, how it exits.
#![forbid(unsafe_code)]

use compliance::{Exit, Line, Run, Stream, Tine, Who, free_port, skip};
use rustix::process::Signal;

/// `tine run` of this shell command, called `app`.
fn shell(options: &[&str], command: &str) -> Run {
    Tine::run([&["--name", "app"], options, &["--", "sh", "-c", command]].concat())
}

fn out(exit: &Exit) -> Vec<&str> {
    let mut lines: Vec<&str> = exit.stdout.lines().collect();
    lines.sort_unstable();
    lines
}

fn has(lines: &[Line], stream: Stream, text: &str) -> bool {
    lines.iter().any(|line| line.stream == stream && line.text == text)
}

const TALKS: &str = r#"
import sys
print("to the one")
print("to the other", file=sys.stderr)
exec(open("hello.py").read())
"#;

#[test]
fn start_listening_output_end_and_restart_of_each_worker_are_told() {
    let port = free_port();
    let (variable, address) = (format!("PORT={port}"), format!("127.0.0.1:{port}"));
    let words = ["-i", "2", "--env", &variable, "--env", "HOST=127.0.0.1", "talks.py"];
    let mut tine = Tine::run(words).file("talks.py", TALKS).as_user().start();
    tine.wait_listening(2);
    let first = tine.pids()[0];
    tine.wait_for(|line| line == "talks/1 | to the other", "the second worker's output");
    tine.signal_worker(first, Signal::KILL);
    tine.wait_for(|line| line == "tine: talks/0: worker 1 was killed by SIGKILL, unasked", "it");
    tine.wait_for(|line| line.starts_with("tine: talks/0: another worker starts"), "a restart");
    tine.wait_for(|line| line.starts_with("tine: talks/0: worker 3 started, pid "), "a start");
    tine.wait_listening(2);
    let lines = tine.lines().to_vec();
    assert_eq!(lines[0].text, "tine: talks: 2 × python3 talks.py, policy rr");
    let listens =
        format!("tine: talks/0: worker 1 listens on {address} (random, kernel-cbpf, bind-trap)");
    let started = format!("tine: talks/0: worker 1 started, pid {first}");
    assert!(has(&lines, Stream::Err, &started), "{lines:#?}");
    assert!(has(&lines, Stream::Err, &listens), "{lines:#?}");
    for place in ["talks/0", "talks/1"] {
        assert!(has(&lines, Stream::Out, &format!("{place} | to the one")), "{lines:#?}");
        assert!(has(&lines, Stream::Err, &format!("{place} | to the other")), "{lines:#?}");
    }
    let exit = tine.stop();
    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.ends_with("tine: talks: stopped\n"), "{}", exit.stderr);
    assert!(!(exit.stdout + &exit.stderr).contains('\x1b'), "colours, and no terminal");
}

/// Runs its arguments on a terminal of their own.
const TERMINAL: &str = "import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

#[test]
fn on_a_terminal_there_are_colours_and_no_color_takes_them_away() {
    let run = || shell(&[], "echo one").through(["python3", "-c", TERMINAL]);
    let exit = run().start().wait();
    assert_eq!(exit.code, Some(0));
    assert!(exit.stdout.contains("\x1b[36mapp/0 |\x1b[0m one"), "{:?}", exit.stdout);
    assert!(exit.stdout.contains("\x1b[1mtine:\x1b[0m app: "), "{:?}", exit.stdout);
    let exit = run().env("NO_COLOR", "1").start().wait();
    assert!(exit.stdout.contains("app/0 | one"), "{:?}", exit.stdout);
    assert!(!exit.stdout.contains('\x1b'), "{:?}", exit.stdout);
}

#[test]
fn a_program_that_never_listens_is_run_as_often_as_asked_and_its_success_is_ours() {
    let exit = shell(&["-i", "3"], "echo done").start().wait();
    assert_eq!(out(&exit), ["app/0 | done", "app/1 | done", "app/2 | done"]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(exit.stderr.ends_with("tine: app: finished\n"), "{}", exit.stderr);
}

#[test]
fn a_program_that_always_fails_gives_its_own_exit_code_after_the_last_restart() {
    let limits = ["-i", "2", "--max-restarts", "3", "--restart-delay", "1ms"];
    let exit = shell(&limits, "echo failing; exit 3").start().wait();
    assert_eq!(exit.code, Some(3), "{}", exit.stderr);
    assert_eq!(exit.stdout.lines().count(), 6);
}

#[test]
fn the_exit_code_of_a_killed_program_is_that_of_a_shell() {
    let exit = shell(&["--max-restarts", "1"], "kill -KILL $$").start().wait();
    assert_eq!(exit.code, Some(128 + 9), "{}", exit.stderr);
}

#[test]
fn each_worker_knows_its_place_and_has_nothing_to_read() {
    let command =
        "echo $TINE_INSTANCE $NODE_APP_INSTANCE $TINE_WORKER_ID $(readlink /proc/$$/fd/0)";
    let exit = shell(&["-i", "3"], command).start().wait();
    let told = ["app/0 | 0 0 1 /dev/null", "app/1 | 1 1 2 /dev/null", "app/2 | 2 2 3 /dev/null"];
    assert_eq!(out(&exit), told);
}

#[test]
fn variables_and_directory_are_those_asked_for() {
    let options = ["--env", "A=one", "--env", "B=two=2", "--env", "C=", "--cwd", "/usr"];
    let exit = shell(&options, r#"echo "$A, $B, $C, $PWD, $(pwd)""#).start().wait();
    assert_eq!(out(&exit), ["app/0 | one, two=2, , /usr, /usr"]);
}

#[test]
fn the_interpreter_asked_for_runs_the_script() {
    let run = |interpreter| {
        Tine::run(["--interpreter", interpreter, "script.js", "an argument"])
            .file("script.js", "#!/bin/sh\necho \"$0, $1\"\n")
            .start()
            .wait()
    };
    assert_eq!(out(&run("sh")), ["script/0 | script.js, an argument"]);
    assert!(run("none").stdout.contains("script.js, an argument"));
    assert_eq!(out(&run("echo")), ["script/0 | script.js an argument"]);
}

const HEARS: &str = r#"
import signal, sys
def hear(number, frame):
    print("heard", signal.Signals(number).name)
    if number in (signal.SIGTERM, signal.SIGINT): sys.exit(0)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT"):
    signal.signal(getattr(signal, name), hear)
print("listening for signals")
while True: signal.pause()
"#;

#[test]
fn hup_usr1_and_usr2_reach_every_worker_and_stop_none() {
    let mut tine = Tine::run(["-i", "2", "hears.py"]).file("hears.py", HEARS).start();
    tine.wait_for_nth(2, |line| line.ends_with("listening for signals"), "both");
    for (signal, name) in
        [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")]
    {
        tine.signal(signal);
        tine.wait_for_nth(2, |line| line.ends_with(&format!("| heard {name}")), name);
    }
    let exit = tine.stop();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert_eq!(exit.stdout.matches("heard SIGINT").count(), 2, "{}", exit.stdout);
}

#[test]
fn the_stop_signal_is_the_one_asked_for() {
    let run = Tine::run(["--kill-signal", "TERM", "hears.py"]).file("hears.py", HEARS);
    let mut tine = run.start();
    tine.wait_for(|line| line.ends_with("listening for signals"), "it");
    let exit = tine.stop();
    assert!(exit.stdout.ends_with("hears/0 | heard SIGTERM\n"), "{}", exit.stdout);
}

/// As PID 1 of a pid namespace of its own.
const AS_PID_1: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

/// Leaves an orphan behind that ends, and says so when nothing is left of it, not even a zombie.
const ORPHANS: &str = r#"
import os, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
    os._exit(0)
os.wait()
orphan = os.read(read, 20).decode()
while os.path.exists(f"/proc/{orphan}"): time.sleep(0.01)
print("manager", os.getppid(), "reaped")
exec(open("hello.py").read())
"#;

#[test]
fn as_pid_1_it_reaps_orphans_and_stops_at_sigterm() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    let variable = format!("PORT={}", free_port());
    let run = Tine::run(["-i", "2", "--env", &variable, "orphans.py"]);
    let mut tine = run.file("orphans.py", ORPHANS).through(AS_PID_1).start();
    tine.wait_listening(2);
    tine.wait_for_nth(2, |line| line.ends_with(" reaped"), "both orphans");
    // The child of unshare, which is PID 1 inside.
    let first = tine.manager();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
    assert!(status.lines().any(|line| line == format!("NSpid:\t{first}\t1")), "{status}");
    tine.signal_worker(first, Signal::TERM);
    let exit = tine.wait();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(exit.stderr.ends_with("stopped\n"), "{}", exit.stderr);
}

#[test]
fn as_pid_1_it_exits_as_the_app_does() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    let exit = shell(&["--max-restarts", "1"], "exit 7").through(AS_PID_1).start().wait();
    assert_eq!(exit.code, Some(7), "{}", exit.stderr);
}
