//! What people type to start apps, with the real program.

use super::shell::{Shell, free_port, get};

#[test]
fn a_script_is_started_listed_and_served_by_all_its_workers() {
    let mut shell = Shell::new();
    let port = free_port();
    shell.set("PORT", &port.to_string());
    shell.node_server("server.js");
    let out = shell.ok("start server.js -i 2 --name api --min-uptime 60s -- --colour red");
    assert!(out.starts_with("api (0, 1): started\n"), "{out}");
    let rows: Vec<&str> = out.lines().filter(|line| line.contains(" online ")).collect();
    assert_eq!(rows.len(), 2, "{out}");
    assert!(rows[0].contains("cluster") && rows[0].contains(&port.to_string()), "{out}");
    let answers: std::collections::BTreeSet<_> = (0..20).filter_map(|_| get(port)).collect();
    let pids: Vec<String> = shell.values("api", "/pid");
    assert_eq!(answers, pids.iter().map(|pid| format!("node {pid}")).collect());
    assert_eq!(shell.values("api", "/pm2_env/args"), [r#"["--colour","red"]"#; 2]);
}

#[test]
fn a_python_server_has_n_workers_on_one_port() {
    let mut shell = Shell::new();
    let port = free_port();
    shell.set("PORT", &port.to_string());
    shell.python_server("server.py");
    shell.ok("start server.py -i 2 --min-uptime 60s");
    let answer = get(port).expect("it serves");
    assert!(answer.starts_with("python "), "{answer}");
    assert_eq!(shell.values("server", "/pm2_env/exec_interpreter"), ["python3"; 2]);
}

#[test]
fn who_holds_an_address_that_is_refused_is_named_an_app_or_a_process() {
    let mut shell = Shell::new();
    let port = free_port();
    shell.set("PORT", &port.to_string());
    shell.node_server("server.js");
    shell.ok("start server.js --name first --silent");
    let error = shell.fails("start server.js --name second --listen-timeout 1s");
    let held = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
    let by_the_first = "the app `first` has it";
    assert!(error.contains(&held) && error.contains(by_the_first), "{error}");
    let described = shell.ok("describe second");
    let event =
        described.lines().any(|line| line.contains("refused") && line.contains(by_the_first));
    assert!(event, "{described}");

    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = stranger.local_addr().expect("it is bound").port();
    shell.set("PORT", &port.to_string());
    let error = shell.fails("start server.js --name third --listen-timeout 1s");
    let pid = format!("(pid {}) has it", std::process::id());
    assert!(error.contains(&pid), "{error}");
}

#[test]
fn a_command_line_and_a_program_of_path_are_apps_too() {
    let shell = Shell::new();
    let said = shell.words(&["start", "sleep 1000; true", "--name", "line"]);
    assert_eq!(said.code, 0, "{said:?}");
    shell.ok("start sleep -- 1000");
    assert_eq!(shell.values("line", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.values("sleep", "/pm2_env/status"), ["online"]);
}

#[test]
fn what_cannot_start_fails_with_a_reason_and_nothing_is_there() {
    let shell = Shell::new();
    let error = shell.fails("start nothing.js");
    assert!(error.contains("`nothing.js` is neither a file") && error.contains("PATH"), "{error}");
    let error = shell.fails("start nothing.json");
    assert!(error.contains("nothing.json"), "{error}");
    shell.write("broken.json", "{ apps: [");
    let error = shell.fails("start broken.json");
    assert!(error.contains("broken.json"), "{error}");
    let error = shell.fails("start");
    assert!(error.contains("tine init"), "{error}");
    assert_eq!(shell.ok("jlist"), "[]\n");
}

#[test]
fn a_script_that_dies_at_once_is_an_error_with_its_last_words() {
    let shell = Shell::new();
    shell.write("bad.js", "console.error('no database here'); process.exit(7)");
    let error = shell.fails("start bad.js --max-restarts 1 --restart-delay 10");
    assert!(error.contains("bad") && error.contains("code 7"), "{error}");
}

#[test]
fn a_script_that_is_there_already_is_refused_but_for_force() {
    let shell = Shell::new();
    shell.write("app.js", "setInterval(() => {}, 1000)");
    shell.ok("start app.js");
    let error = shell.fails("start app.js");
    assert!(error.contains("`app` is there already"), "{error}");
    assert_eq!(shell.jlist().len(), 1);
    shell.ok("start app.js --force");
    assert_eq!(shell.jlist().len(), 2);
}

#[test]
fn a_known_app_is_started_anew_with_what_was_changed() {
    let shell = Shell::new();
    shell.write("app.js", "setInterval(() => {}, 1000)");
    shell.ok("start app.js");
    shell.ok("stop app");
    assert_eq!(shell.values("app", "/pm2_env/status"), ["stopped"]);
    assert_eq!(shell.values("app", "/pid"), ["0"]);
    shell.ok("start app --kill-timeout 3s");
    assert_eq!(shell.values("app", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.values("app", "/pm2_env/kill_timeout"), ["3000"]);
    shell.ok("stop 0");
    shell.ok("start app.js");
    assert_eq!(shell.values("app", "/pm2_env/status"), ["online"], "a stopped script starts");
}

#[test]
fn options_stand_where_pm2s_users_put_them() {
    let shell = Shell::new();
    shell.write("app.js", "setInterval(() => {}, 1000)");
    shell.ok("--name=one --namespace web start app.js");
    shell.ok("start app.js -n two --no-vizion --no-autorestart --max-memory-restart=300M");
    assert_eq!(shell.values("one", "/pm2_env/namespace"), ["web"]);
    assert_eq!(shell.values("two", "/pm2_env/max_memory_restart"), [(300 << 20).to_string()]);
    assert_eq!(shell.values("two", "/pm2_env/autorestart"), ["false"]);
}

#[test]
fn the_environment_is_that_of_whoever_types() {
    let mut shell = Shell::new();
    shell.write("app.js", "setInterval(() => {}, 1000)");
    shell.set("COLOUR", "red");
    shell.ok("start app.js --env SIZE=9");
    let env = shell.ok("env 0");
    assert!(env.contains("COLOUR: red\n") && env.contains("SIZE: 9\n"), "{env}");
    shell.set("COLOUR", "blue");
    shell.ok("restart app");
    assert_eq!(shell.values("app", "/pm2_env/COLOUR"), ["red"]);
    shell.ok("restart app --update-env");
    assert_eq!(shell.values("app", "/pm2_env/COLOUR"), ["blue"]);
}
