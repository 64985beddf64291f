//! What people see of what runs, with the real program.

use super::shell::Shell;
use serde_json::Value;

fn with_app() -> Shell {
    let shell = Shell::new();
    shell.write("app.js", "console.log('hello from it'); setInterval(() => {}, 1000)");
    shell.write("package.json", r#"{"version": "3.2.1"}"#);
    shell.ok("start app.js -i 2 --max-memory-restart 1G --silent");
    shell
}

#[test]
fn the_list_has_pm2s_names_and_no_colours_in_a_pipe() {
    let shell = with_app();
    let table = shell.ok("ls");
    for alias in ["list", "l", "ps", "status"] {
        assert_eq!(shell.ok(alias).lines().count(), table.lines().count(), "{alias}");
    }
    assert!(!table.contains('\x1b'));
    let head: Vec<&str> = table.lines().next().expect("a head").split_whitespace().collect();
    let columns =
        "ID NAME NAMESPACE VERSION MODE PID UPTIME RESTARTS STATUS CPU MEM USER WATCHING PORTS";
    assert_eq!(head, columns.split(' ').collect::<Vec<_>>());
    let row: Vec<&str> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[..5], ["0", "app", "default", "3.2.1", "cluster"]);
    let short = shell.ok("ls --mini-list");
    assert!(!short.contains("USER") && short.contains("online"), "{short}");
    let ids = |text: String| -> Vec<String> {
        text.lines().skip(1).map(|line| line[..1].to_owned()).collect()
    };
    assert_eq!(ids(shell.ok("ls --sort id:desc")), ["1", "0"]);
    assert!(shell.fails("ls --sort colour").contains("there are name"));
}

#[test]
fn everything_about_an_app_is_told() {
    let shell = with_app();
    for command in ["describe app", "show app", "info 0", "desc app"] {
        let text = shell.ok(command);
        for part in
            ["script", "app.js", "SIGINT, SIGKILL after 1.6 s", "replaced above 1 GiB", "AGO"]
        {
            assert!(text.contains(part), "{command} lacks {part}: {text}");
        }
    }
    let json: Value = serde_json::from_str(&shell.ok("describe app --json")).unwrap();
    assert_eq!(json[0]["spec"]["max_memory_restart"], 1 << 30);
}

#[test]
fn scripts_get_ids_pids_and_variables() {
    let shell = with_app();
    let pids: Vec<String> = shell.ok("pid app").lines().map(str::to_owned).collect();
    assert_eq!(pids, shell.values("app", "/pid"));
    assert_eq!(shell.ok("id app"), "[ 0, 1 ]\n");
    assert_eq!(shell.ok("id app --json").split_whitespace().collect::<String>(), "[0,1]");
    let manager = shell.ok("pid");
    assert!(std::path::Path::new(&format!("/proc/{}", manager.trim())).exists());
    assert!(shell.ok("env 1").contains("NODE_APP_INSTANCE: 1\n"));
    let env: Value = serde_json::from_str(&shell.ok("env 1 --json")).unwrap();
    assert_eq!(env["NODE_APP_INSTANCE"], "1");
}

#[test]
fn pm2s_lists_are_parsed_as_scripts_do() {
    let shell = with_app();
    let list = shell.jlist();
    assert_eq!(list[1]["pm_id"], 1);
    assert_eq!(list[0]["pm2_env"]["version"], "3.2.1");
    assert_eq!(list[0]["pm2_env"]["exec_mode"], "cluster_mode");
    assert!(list[0]["pm2_env"]["node_version"].is_string());
    assert!(list[0]["pm2_env"]["pm_exec_path"].as_str().unwrap().ends_with("/app.js"));
    let pretty = shell.ok("prettylist");
    assert!(!pretty.ends_with('\n'));
    let ids: Vec<&str> = pretty.lines().filter(|line| line.trim().starts_with("pm_id: ")).collect();
    assert!(ids.iter().all(|line| line.ends_with(',')), "{ids:?}");
    let log = pretty.lines().find(|line| line.contains("pm_out_log_path: '")).expect("a line");
    assert!(log.ends_with("',"), "{log}");
}

#[test]
fn one_worker_of_node_is_in_the_same_mode_wherever_it_is_shown() {
    let shell = Shell::new();
    shell.write("app.js", "setInterval(() => {}, 1000)");
    for (options, word) in [("-i 1", "cluster"), ("", "fork"), ("-i 1 -x", "fork")] {
        shell.ok(&format!("start app.js {options} --silent"));
        let table = shell.ok("ls --mini-list");
        assert!(table.lines().nth(1).expect("a row").contains(word), "{options}: {table}");
        assert_eq!(shell.values("app", "/pm2_env/exec_mode"), [format!("{word}_mode")]);
        let told = shell.ok("describe app");
        assert!(told.contains(&format!("mode                {word}\n")), "{told}");
        shell.ok("delete all --silent");
    }
}

#[test]
fn the_words_of_a_command_line_and_the_versions_are_shown() {
    let shell = with_app();
    shell.write("work.sh", "sleep 1000");
    assert_eq!(shell.words(&["start", "--silent", "-n", "line", "sleep 1000 | cat"]).code, 0);
    assert_eq!(shell.values("line", "/pm2_env/args"), [r#"["-c","sleep 1000 | cat"]"#]);
    assert!(shell.values("line", "/pm2_env/pm_exec_path")[0].ends_with("/bash"));
    shell.ok("start work.sh --silent -- one two");
    assert_eq!(shell.values("work", "/pm2_env/args"), [r#"["one","two"]"#]);
    let told = shell.ok("describe app");
    assert!(told.contains("version             3.2.1\n"), "{told}");
    let node = &shell.values("app", "/pm2_env/node_version")[0];
    assert!(told.contains(&format!("node                {node}\n")), "{told}");
}

#[test]
fn commands_that_print_can_print_json() {
    let shell = with_app();
    for command in [
        "ls",
        "describe all",
        "ping",
        "pid app",
        "id app",
        "env 0",
        "report",
        "ports",
        "doctor",
        "restart app",
        "reload app",
        "scale app 2",
        "scale app 1",
        "sendSignal WINCH app",
        "send --json 1 hello",
        "flush",
        "reloadLogs",
        "reset app",
        "save",
        "resurrect",
        "cleardump",
        "init",
        "start",
        "apply tine.toml --dry-run",
        "daemon",
        "startup systemd --dry-run",
        "stop app",
        "start app",
        "update",
        "delete app",
        "kill",
    ] {
        if command == "start" {
            shell.write("tine.toml", "[app.more]\nscript = 'sleep'\nargs = '1000'\n");
        }
        let said = shell.tine(&format!("{command} --json"));
        assert!(serde_json::from_str::<Value>(&said.out).is_ok(), "{command}: {said:?}");
    }
}

#[test]
fn a_report_names_versions_apps_and_the_host() {
    let shell = with_app();
    let report = shell.ok("report");
    for part in [concat!("tine ", env!("CARGO_PKG_VERSION")), "manager", "app", "kernel"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn shells_complete_commands() {
    let shell = Shell::new();
    for name in ["bash", "zsh", "fish"] {
        let script = shell.ok(&format!("completion {name}"));
        assert!(
            script.contains("startOrReload") && script.contains("max-memory-restart"),
            "{name}"
        );
    }
    assert!(shell.fails("completion tcsh").contains("bash"));
}

#[test]
fn every_command_has_help_with_examples() {
    let shell = Shell::new();
    for command in
        ["start", "stop", "restart", "reload", "delete", "scale", "ls", "describe", "save", "apply"]
    {
        let help = shell.ok(&format!("help {command}"));
        assert!(help.contains("Examples:\n  tine "), "{help}");
    }
    let overview = shell.ok("help");
    assert!(overview.contains("tine start -i 3 server.js"), "{overview}");
    assert_eq!(shell.ok("-v"), shell.ok("--version"));
}
