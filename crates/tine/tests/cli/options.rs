//! What no other test types: options whose effect is in the worker's own words, or in those of `describe`.

use super::shell::{Shell, free_port, wait_until};

/// Says what it was given, line by line, and stays.
const TALKER: &str = "\
import os, resource, time
for name in ('FROM_FILE', 'HTTP_PROXY', 'COUNTED', 'PLACE', 'NODE_APP_INSTANCE'):
    print(name, os.environ.get(name), flush=True)
print('nice', os.nice(0), flush=True)
mask = os.umask(0)
print('umask %03o' % mask, flush=True)
print('group', os.getgid(), flush=True)
time.sleep(1000)
";

fn talker() -> Shell {
    let mut shell = Shell::new();
    shell.set("HTTP_PROXY", "http://proxy");
    shell.write("talker.py", TALKER);
    shell.write("more.env", "FROM_FILE=yes\n");
    shell
}

fn says(shell: &Shell, app: &str, words: &str) {
    let lines = || shell.ok(&format!("logs {app} --nostream --raw --lines 50"));
    assert!(wait_until(|| lines().contains(words)), "{words}: {}", lines());
}

#[test]
fn what_a_program_is_given_reaches_it() {
    let shell = talker();
    shell.ok(
        "start talker.py --silent --env-file more.env --filter-env=HTTP_ --increment-var COUNTED \
              --env COUNTED=7 --instance-var PLACE --nice 5 --umask 027",
    );
    for words in ["FROM_FILE yes", "HTTP_PROXY None", "COUNTED 7", "PLACE 0"] {
        says(&shell, "talker", words);
    }
    says(&shell, "talker", "NODE_APP_INSTANCE None\nnice 5\numask 027\n");
}

#[test]
fn files_of_a_program_get_the_mask_of_the_shell_that_started_the_manager() {
    let shell = talker();
    let mut typed = std::process::Command::new("sh");
    typed.args([
        "-c",
        "umask 026; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_tine"),
        "start",
        "talker.py",
    ]);
    typed.args(["--silent"]).env("TINE_HOME", shell.home()).current_dir(shell.work());
    assert!(typed.status().expect("sh is there").success());
    says(&shell, "talker", "umask 026");
}

#[test]
fn a_program_runs_as_another_user() {
    let shell = talker();
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root");
    }
    // sleep is to be had by everybody, a file of this test's own is not.
    shell.ok("start sleep --name nobody --cwd / --user 65534 --gid 65533 --silent -- 1000");
    let status = std::fs::read_to_string(format!("/proc/{}/status", shell.ok("pid nobody").trim()));
    let status = status.expect("it runs");
    assert!(status.contains("Uid:\t65534\t65534"), "{status}");
    assert!(status.contains("Gid:\t65533\t65533"), "{status}");
    assert_eq!(shell.values("nobody", "/pm2_env/username"), ["nobody"], "by its name");
}

#[test]
fn what_is_asked_for_is_what_describe_tells() {
    let shell = talker();
    shell.ok("start talker.py --name base --silent");
    shell.ok("start talker.py --name app -x --after base --cron 0 --cron-timezone UTC --drain-timeout 5s \
              --exp-backoff-restart-delay 150 --health tcp:127.0.0.1:1 --health-interval 7s \
              --health-grace 100s --watch --ignore-watch *.tmp --watch-delay 300ms --watch-reload \
              --listen-timeout 4s --log-date-format YYYY --log-type json --merge-logs \
              --private-port 1 --shutdown-with-message --stop-exit-codes 3 --silent");
    let told = shell.ok("describe app");
    for words in [
        "mode            fork",
        "starts after    base",
        "open connections have 5 s to finish",
        "after 150 ms and more; given up after 16 ends within 1 s each; not after exit code 3",
        "connect to 127.0.0.1:1 every 7 s from 1 min 40 s after the start; unwell after 3 failures in a row",
        "reloaded when files change below",
        "*.tmp",
        "when it listens, or runs on, within 4 s",
        "JSON, with the time as YYYY",
        "private ports   1\n",
        "the message `shutdown`, SIGKILL after 1.6 s",
    ] {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(&words), "{words}\n{told}");
    }
    assert_eq!(shell.values("app", "/pm2_env/merge_logs"), ["true"]);
    assert_eq!(shell.values("app", "/pm2_env/exec_mode"), ["fork_mode"]);
}

#[test]
fn a_worker_that_is_to_say_it_is_ready_and_does_not_fails_the_start() {
    let shell = talker();
    shell.write(
        "ready.js",
        "setTimeout(() => process.send('ready'), 50); setInterval(() => {}, 1000)",
    );
    shell.ok("start ready.js --wait-ready --listen-timeout 60s --silent");
    let said = shell.fails("start talker.py --wait-ready --listen-timeout 300ms --silent");
    assert!(said.contains("ready"), "{said}");
}

#[test]
fn an_app_can_be_known_without_being_started() {
    let shell = talker();
    let said = shell.ok("start talker.py --no-autostart --disable-logs --no-color");
    assert!(said.contains("talker (0): not started") && said.contains("stopped"), "{said}");
    assert_eq!(shell.values("talker", "/pm2_env/disable_logs"), ["true"]);
    shell.ok("start talker --silent");
    assert_eq!(shell.values("talker", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.values("talker", "/pm2_env/pm_out_log_path"), ["/dev/null"]);
}

#[test]
fn lines_are_shown_in_every_form() {
    let shell = Shell::new();
    shell.write("app.js", "console.log('a needle here'); setInterval(() => {}, 1000)");
    shell.ok("start app.js --time --silent");
    says(&shell, "app", ": a needle here");
    let formatted = shell.ok("logs app --nostream --format");
    assert!(
        formatted.starts_with("timestamp=20")
            && formatted.contains(" app=app id=0 type=out message=")
    );
    let timed = shell.ok("logs app --nostream --timestamp YYYY");
    assert!(timed.starts_with("0|app | 20"), "{timed}");
    let turned = shell.ok("logs app --nostream --highlight needle");
    assert!(turned.contains("a \u{1b}[7mneedle\u{1b}[27m here"), "{turned}");
    assert!(shell.ok("logs app --nostream --since 10m --raw").contains("a needle"));
    let said = shell.fails("logs app --nostream --since yesterday");
    assert!(said.contains("10m, 2h, 3d"), "{said}");
}

#[test]
fn a_saved_list_without_environments_has_no_secret() {
    let mut shell = talker();
    shell.set("SECRET", "do not tell");
    shell.ok("start talker.py --silent --env OWN=kept-secret");
    let dump = || std::fs::read_to_string(shell.home().join("dump.json")).expect("it is saved");
    shell.ok("save");
    assert!(dump().contains("do not tell"));
    shell.ok("save --no-env");
    assert!(!dump().contains("do not tell") && !dump().contains("kept-secret"), "{}", dump());
}

#[test]
fn aliases_do_what_their_commands_do() {
    let mut shell = Shell::new();
    shell.set("PORT", &free_port().to_string());
    shell.node_server("app.js");
    shell.write("apps.json", r#"{"apps": [{"name": "app", "script": "app.js", "instances": 2}]}"#);
    shell.ok("startOrGracefulReload apps.json --silent");
    shell.ok("startOrGracefulReload apps.json --parallel 2 --silent");
    assert_eq!(shell.values("app", "/pm2_env/restart_time"), ["1", "1"]);
    shell.ok("send-signal SIGWINCH app");
    shell.ok("reload-logs");
    shell.ok("save");
    shell.ok("clear-dump");
    assert!(!shell.home().join("dump.json").exists());
    assert!(shell.ok("del app").contains("deleted"));
}

#[test]
fn a_manager_in_the_foreground_brings_the_saved_apps_back() {
    let shell = talker();
    shell.ok("start talker.py --silent");
    shell.ok("save");
    shell.ok("kill");
    let mut manager = shell.command(&["daemon", "--foreground", "--resurrect"]);
    let mut manager = manager.spawn().expect("timeout(1) is there");
    assert!(wait_until(|| shell.tine("pid talker").out.trim().parse::<u32>().is_ok()));
    shell.ok("kill");
    assert!(manager.wait().expect("it is this test's child").success());
}

#[test]
fn a_command_of_pm2_that_is_not_here_says_what_to_do_instead() {
    let shell = Shell::new();
    for (line, instead) in [
        ("monit", "`tine ls --watch`"),
        ("install pm2-logrotate", "`log_rotation`"),
        ("set pm2:autodump true", "keys of the app's file"),
        ("deploy production", "`tine reload`"),
        ("plus", "no hosted service"),
    ] {
        let said = shell.tine(line);
        assert!(said.code == 2 && said.err.contains(instead), "{line}: {said:?}");
    }
    assert_eq!(shell.tine("link delete").code, 0);
    assert!(shell.fails("stort app.js").contains("'start'"));
}

#[test]
fn a_file_to_begin_with_is_written_once() {
    let shell = Shell::new();
    shell.ok("init");
    assert_eq!(shell.fails("ecosystem"), "tine: tine.toml is here already, and is left as it is\n");
}

#[test]
fn how_to_watch_is_taken_and_told_where_nobody_watches() {
    let shell = talker();
    for (option, name) in [
        ("--ignore-watch=tmp", "--ignore-watch"),
        ("--watch-delay 1s", "--watch-delay"),
        ("--watch-reload", "--watch-reload"),
    ] {
        let said = shell.tine(&format!("start talker.py -f --silent {option}"));
        let told = format!("tine: {name} changes nothing without --watch\n");
        assert_eq!((said.code, said.err), (0, told));
    }
    assert_eq!(shell.values("talker", "/pm2_env/watch"), ["false"; 3]);
}

#[test]
fn ports_are_those_of_the_apps_that_are_asked_for() {
    let mut shell = Shell::new();
    shell.python_server("one.py");
    shell.python_server("two.py");
    let [one, two] = [free_port(), free_port()];
    shell.set("PORT", &one.to_string());
    shell.ok("start one.py --namespace web --silent");
    shell.set("PORT", &two.to_string());
    shell.ok("start two.py --silent");
    shell.ok("start sleep --name quiet --silent -- 1000");
    let named = |words: &str| {
        let said = shell.ok(&format!("ports {words}"));
        (said.contains(&one.to_string()), said.contains(&two.to_string()), said.contains("PROCESS"))
    };
    assert!(wait_until(|| named("one two") == (true, true, false)));
    for words in ["one", "0", "web", "/^o/", "one.py"] {
        assert_eq!(named(words), (true, false, false), "{words}");
    }
    assert_eq!(shell.ok("ports quiet"), "nothing listens, as far as this user may see\n");
    assert!(shell.fails("ports ona").contains("is `one` meant?"));
}
