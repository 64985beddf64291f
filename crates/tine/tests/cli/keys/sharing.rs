//! Workers, and who gets the next connection.

use serde_json::{Value, json};

use super::{
    super::shell::{free_port, get, wait_until},
    App, Case, Shell, case, described, listed, start, start_fails, try_all,
};

fn cases() -> Vec<Case> {
    let two = || json!({"script": "idle.js", "instances": 2});
    let mode = |app: &App<'_>| app.workers[0]["pm2_env"]["exec_mode"].to_string();
    let count = |app: &App<'_>| app.workers.len().to_string();
    vec![
        case("instances", json!(3), json!({}), count, "3"),
        case("instances", json!("2"), json!({}), count, "2"),
        case("instances", json!("max"), json!({}), is_cpus, "true"),
        case("exec_mode", json!("cluster"), json!({"script": "idle.js"}), mode, "cluster_mode"),
        case("exec_mode", json!("fork_mode"), two(), mode, "fork_mode"),
        case("execute_command", json!(true), two(), mode, "fork_mode"),
        case("execute_command", json!(false), two(), mode, "cluster_mode"),
    ]
}

fn is_cpus(app: &App<'_>) -> String {
    let cpus = std::thread::available_parallelism().expect("the kernel tells").get();
    (app.workers.len() == cpus).to_string()
}

#[test]
fn as_many_workers_run_as_were_asked_for_in_the_mode_that_was_asked_for() {
    let shell = Shell::new();
    shell.write("idle.js", "setInterval(() => {}, 1000)");
    try_all(&shell, &cases());
}

/// A server on one port, and what else is to be said of it.
fn serve(shell: &Shell, more: &Value) -> Value {
    shell.python_server("serve.py");
    let port = free_port();
    let mut app = json!({"name": "web", "script": "serve.py", "instances": 2, "port": port});
    // Ready when it listens, and not when it merely runs on.
    super::lay(&mut app, &json!({"min_uptime": "1h", "listen_timeout": "60s"}));
    super::lay(&mut app, more);
    app
}

/// What `tine ports --json` has of it.
fn listener(shell: &Shell) -> Value {
    let ports: Value = serde_json::from_str(&shell.ok("ports --json")).expect("it is JSON");
    let mut managers = ports["managers"].as_array().expect("a list").iter();
    let web = managers.find(|it| it["app"] == "web");
    web.map(|web| web["listeners"][0].clone()).unwrap_or_default()
}

#[test]
fn connections_are_shared_by_the_policy_and_the_mechanism_of_the_file() {
    for (policy, mechanism) in
        [("shared", "one-queue"), ("shared", "auto"), ("random", "kernel-cbpf")]
    {
        let shell = Shell::new();
        start(&shell, &serve(&shell, &json!({"policy": policy, "mechanism": mechanism})));
        let listener = listener(&shell);
        assert_eq!(listener["policy"], policy, "{listener}");
        assert!(mechanism == "auto" || listener["mechanism"] == mechanism, "{listener}");
    }
    let shell = Shell::new();
    let said = start_fails(
        &shell,
        &serve(&shell, &json!({"policy": "shared", "mechanism": "kernel-cbpf"})),
    );
    assert!(said.contains("kernel-cbpf") && said.contains("shared"), "{said}");
}

/// Serves on the first socket that it is given.
const GIVEN: &str = "\
import os, socket
assert os.environ['LISTEN_FDS'] == '1'
given = socket.socket(fileno=3)
while True:
    connection, _ = given.accept()
    connection.recv(1000)
    connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\ngiven')
    connection.close()
";

#[test]
fn addresses_of_the_file_are_bound_and_passed_on() {
    let shell = Shell::new();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let app = serve(&shell, &json!({"script": "given.py", "listen": [listen], "min_uptime": "1s"}));
    shell.write("given.py", GIVEN);
    start(&shell, &app);
    assert_eq!(get(port).as_deref(), Some("given"));
    assert_eq!(listener(&shell)["acquisition"], "listen-fds");
}

#[test]
fn a_private_port_is_left_to_each_worker() {
    let shell = Shell::new();
    let mut app = serve(&shell, &json!({"instances": 1, "min_uptime": "1s"}));
    app["privatePorts"] = app["port"].clone();
    start(&shell, &app);
    let port = app["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    assert!(wait_until(|| get(port).is_some()));
    assert_eq!(listener(&shell), Value::Null, "nobody shares it");
    shell.ok("delete all --silent");
    app["instances"] = 2.into();
    app["max_restarts"] = 1.into();
    app["private_ports"] = json!([app["port"]]);
    let said = start_fails(&shell, &app);
    assert!(said.contains("Address already in use"), "the second has none: {said}");
}

/// Answers nobody, and keeps every connection until it is gone: Python would close them before, as one
/// does who has done what was asked.
const DEAF: &str = "\
import os, signal, socket
signal.signal(signal.SIGINT, signal.SIG_DFL)
heard = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
kept = []
while True:
    kept.append(heard.accept())
    print('taken', flush=True)
";

#[test]
fn connections_that_outlast_the_drain_are_cut_and_counted() {
    let shell = Shell::new();
    let app =
        serve(&shell, &json!({"script": "deaf.py", "instances": 1, "drain_timeout": "200ms"}));
    shell.write("deaf.py", DEAF);
    start(&shell, &app);
    let port = app["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let _kept = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    assert!(wait_until(|| shell.ok("logs web --nostream --raw").contains("taken")));
    described(&shell, "web", "open connections have 200 ms to finish");
    shell.ok("stop web --silent");
    assert_eq!(listed(&shell, "web")["cut"], 1);
}

#[test]
fn an_app_starts_after_those_that_it_needs() {
    let shell = Shell::new();
    let app = |name: &str, more: Value| {
        let mut app = json!({"name": name, "script": "sleep", "args": "1000"});
        super::lay(&mut app, &more);
        app
    };
    let late = [("a", "after"), ("b", "depends_on"), ("c", "dependsOn")];
    let mut apps: Vec<Value> =
        late.iter().map(|(name, key)| app(name, json!({(*key): ["first"]}))).collect();
    apps.push(app("first", json!({"min_uptime": "300ms"})));
    start(&shell, &json!({"apps": apps}));
    let started = |name: &str| listed(&shell, name)["workers"][0]["started_at"].as_u64();
    for (name, _) in late {
        assert!(started(name) > started("first"), "{name}");
        described(&shell, name, "starts after first");
    }
    let said = start_fails(&shell, &json!([app("d", json!({"after": "nobody"}))]));
    assert!(said.contains("there is no app of that name"), "{said}");
}
