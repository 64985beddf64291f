//! What is run, by whom and where: as the kernel has it.

use serde_json::{Value, json};

use super::{App, Case, Shell, case, start, try_all, wait_until};

fn command_line(app: &App<'_>) -> String {
    app.proc("cmdline")
}

fn cases() -> Vec<Case> {
    let waiting = || json!({"script": "wait.sh"});
    vec![
        case("script", json!("sleep 1234"), json!({}), command_line, "sleep 1234"),
        case("args", json!("500 600"), json!({}), command_line, "sleep 500 600"),
        case("args", json!([500, "700"]), json!({}), command_line, "sleep 500 700"),
        case("interpreter", json!("bash"), waiting(), command_line, "bash /"),
        case("interpreter_args", json!("-u -x"), waiting(), command_line, "-u -x /"),
        case(
            "cwd",
            json!("below"),
            json!({"script": "/bin/sleep", "args": "1000"}),
            directory,
            "work/below",
        ),
        case("umask", json!("027"), json!({}), |app| app.line("status", "Umask:"), "Umask: 0027"),
        case("nice", json!(7), json!({}), niceness, "7"),
        case("rlimits", json!({"nofile": "123:456"}), json!({}), files, "Max open files 123 456"),
        case(
            "rlimits",
            json!({"nofile": {"soft": 99, "hard": 100}}),
            json!({}),
            files,
            "files 99 100",
        ),
    ]
}

fn directory(app: &App<'_>) -> String {
    let link = format!("/proc/{}/cwd", app.workers[0]["pid"]);
    std::fs::read_link(link).expect("the worker runs").display().to_string()
}

fn niceness(app: &App<'_>) -> String {
    let stat = app.proc("stat");
    // Field 19 of proc_pid_stat(5); the name, which may hold blanks, is the second.
    let rest = stat.rsplit_once(") ").expect("a name in brackets").1;
    rest.split(' ').nth(16).unwrap_or_default().to_owned()
}

fn files(app: &App<'_>) -> String {
    app.line("limits", "Max open files")
}

fn shell() -> Shell {
    let shell = Shell::new();
    std::fs::create_dir(shell.work().join("below")).expect("the directory is this test's own");
    shell.write("wait.sh", "sleep 1000 & wait\n");
    shell
}

#[test]
fn keys_of_the_program_reach_the_kernel() {
    try_all(&shell(), &cases());
}

/// Every limit of setrlimit(2), and what it is called in `proc_pid_limits(5)`.
const LIMITS: &str = r#"{
  "as": "8G", "core": 0, "cpu": 3600, "data": "4G", "fsize": "1G", "locks": 101, "memlock": "63K",
  "msgqueue": 1002, "nice": 0, "nofile": 103, "nproc": 5004, "rss": "1G", "rtprio": 0,
  "rttime": 1000005, "sigpending": 1006, "stack": "4M"
}"#;
const IN_PROC: [&str; 16] = [
    "Max address space 8589934592",
    "Max core file size 0",
    "Max cpu time 3600",
    "Max data size 4294967296",
    "Max file size 1073741824",
    "Max file locks 101",
    "Max locked memory 64512",
    "Max msgqueue size 1002",
    "Max nice priority 0",
    "Max open files 103",
    "Max processes 5004",
    "Max resident set 1073741824",
    "Max realtime priority 0",
    "Max realtime timeout 1000005",
    "Max pending signals 1006",
    "Max stack size 4194304",
];

#[test]
fn every_limit_of_setrlimit_reaches_the_kernel() {
    let shell = shell();
    let limits: Value = serde_json::from_str(LIMITS).expect("it is JSON");
    let app = json!({"name": "a", "script": "sleep", "args": "1000", "rlimits": limits});
    start(&shell, &app);
    let app = App { shell: &shell, workers: shell.jlist() };
    let words = app.proc("limits");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in IN_PROC {
        assert!(words.contains(wanted), "{wanted}: {words}");
    }
}

#[test]
fn keys_of_users_and_groups_reach_the_kernel() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root");
    }
    let beside = || json!({"cwd": "/"});
    try_all(
        &shell(),
        &[
            case(
                "user",
                json!(65534),
                beside(),
                |app| app.line("status", "Uid:"),
                "Uid: 65534 65534",
            ),
            case(
                "user",
                json!("nobody"),
                beside(),
                |app| app.line("status", "Uid:"),
                "65534 65534",
            ),
            case(
                "group",
                json!("65533"),
                beside(),
                |app| app.line("status", "Gid:"),
                "Gid: 65533 65533",
            ),
        ],
    );
}

#[test]
fn names_and_namespaces_are_what_an_app_is_addressed_by() {
    let shell = shell();
    let app = |more: Value| {
        let mut app = json!({"script": "sleep", "args": "1000"});
        super::lay(&mut app, &more);
        app
    };
    start(
        &shell,
        &json!([
            app(json!({"name": "called", "namespace": "some"})),
            app(json!({"name": "other", "name_prefix": "eu"})),
            app(json!({"namePrefix": "us"})),
        ]),
    );
    assert!(shell.ok("pid called").trim().parse::<u32>().is_ok());
    assert!(shell.ok("stop some").starts_with("called (0): stopped\n"));
    assert_eq!(shell.values("eu:other", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.values("us:sleep", "/pm2_env/status"), ["online"]);
}

/// A file of a worker's cgroup, where cgroup v2 is mounted.
fn of_group(pid: &str, file: &str) -> Option<String> {
    let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    let below = ["", "/unified"].map(|it| format!("/sys/fs/cgroup{it}{group}/{file}"));
    let found = below.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    Some(found.trim().to_owned())
}

#[test]
fn limits_are_those_of_the_workers_cgroup_or_it_is_said_that_they_are_not() {
    let shell = shell();
    let limits = json!({"memory": "64M", "cpu": "50%", "pids": 20});
    let app = json!({"name": "a", "script": "sleep", "args": "1000", "limits": limits});
    shell.write("keys.json", &app.to_string());
    shell.ok("start keys.json --silent");
    let pid = shell.values("a", "/pid").remove(0);
    let told = shell.ok("describe a");
    for (file, value) in
        [("memory.max", "67108864"), ("cpu.max", "50000 100000"), ("pids.max", "20")]
    {
        let controller = file.trim_end_matches(".max");
        let without = format!("runs without its limit of {controller}: ");
        match of_group(&pid, file) {
            Some(limit) => assert_eq!(limit, value, "{file}"),
            None => {
                assert!(told.contains(&without), "{told}");
            }
        }
    }
}

#[test]
fn the_pid_is_in_the_file_that_was_asked_for() {
    let shell = shell();
    let read = |app: &App<'_>| {
        let id = &app.workers[0]["pm_id"];
        let file = app.shell.work().join(format!("my-{id}.pid"));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let pid = app.workers[0]["pid"].to_string();
        (text.trim() == pid).to_string()
    };
    try_all(&shell, &[case("pid_file", json!("my.pid"), json!({}), read, "true")]);
    shell.ok("stop all --silent");
    assert!(wait_until(|| !shell.work().join("my-0.pid").exists()));
}
