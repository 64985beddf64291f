//! Files of apps, with the real program.

use super::shell::Shell;

const IDLE: &str = "setInterval(() => {}, 1000)";

fn with_file() -> Shell {
    let shell = Shell::new();
    shell.write("idle.js", IDLE);
    shell.write(
        "ecosystem.config.js",
        "module.exports = { apps: [
           { name: 'a', script: 'idle.js', env: { X: 'base' }, env_production: { X: 'prod' } },
           { name: 'b', script: 'idle.js', instances: 2 },
         ] }",
    );
    shell
}

#[test]
fn no_word_at_all_is_the_file_of_the_directory() {
    let shell = with_file();
    shell.ok("start");
    assert_eq!(shell.values("a", "/pm2_env/X"), ["base"]);
    assert_eq!(shell.values("b", "/pm2_env/status"), ["online", "online"]);
}

#[test]
fn apps_and_environments_of_a_file_are_chosen() {
    let shell = with_file();
    shell.ok("start ecosystem.config.js --only a --env production");
    assert_eq!(shell.values("a", "/pm2_env/X"), ["prod"]);
    assert_eq!(shell.jlist().len(), 1);
    let error = shell.fails("start ecosystem.config.js --only c");
    assert!(error.contains("no app `c`"), "{error}");
}

#[test]
fn a_file_names_apps_for_every_command() {
    let shell = with_file();
    shell.ok("startOrReload ecosystem.config.js");
    assert_eq!(shell.jlist().len(), 3);
    shell.ok("startOrRestart ecosystem.config.js --only b");
    assert_eq!(shell.values("b", "/pm2_env/restart_time"), ["1", "1"]);
    shell.ok("stop ecosystem.config.js");
    assert_eq!(shell.values("b", "/pm2_env/status"), ["stopped", "stopped"]);
    shell.ok("restart ecosystem.config.js");
    assert_eq!(shell.values("b", "/pm2_env/status"), ["online", "online"]);
    shell.ok("reload ecosystem.config.js --only a");
    shell.ok("delete ecosystem.config.js");
    assert_eq!(shell.ok("jlist"), "[]\n");
}

#[test]
fn standard_input_is_a_file_too() {
    let shell = with_file();
    let said = shell.fed("start -", r#"{"apps": [{"name": "fed", "script": "idle.js"}]}"#);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(shell.values("fed", "/pm2_env/status"), ["online"]);
    let said = shell.fed("delete -", r#"{"apps": [{"name": "fed", "script": "idle.js"}]}"#);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(shell.ok("jlist"), "[]\n");
}

#[test]
fn a_file_to_begin_with_starts() {
    let shell = Shell::new();
    shell.write("server.js", IDLE);
    for kind in ["", " ecosystem", " simple"] {
        let said = shell.ok(&format!("init{kind}"));
        let name = said.split(' ').next().expect("the name of the file");
        assert!(shell.fails(&format!("init{kind}")).contains("left as it is"), "{kind}");
        shell.ok(&format!("start {name}"));
        assert!(!shell.values("api", "/pm2_env/status").is_empty(), "{kind}");
        shell.ok("delete all");
        std::fs::remove_file(shell.work().join(name)).expect("it is there");
    }
}

#[test]
fn some_apps_of_a_file_are_stopped_and_deleted() {
    let shell = Shell::new();
    let app = |name: &str| {
        format!(
            "{{\"name\": \"{name}\", \"script\": \"sleep\", \"args\": \"1000\", \
             \"append_env_to_name\": true, \"env_test\": {{}}}}"
        )
    };
    shell.write("apps.json", &format!("[{}, {}]", app("one"), app("two")));
    shell.ok("start apps.json --silent");
    assert!(shell.ok("stop apps.json --only two").starts_with("two (1): stopped\n"));
    assert_eq!(shell.values("one", "/pm2_env/status"), ["online"]);
    shell.ok("start apps.json --env test --only one --silent");
    assert!(
        shell.ok("delete apps.json --env test --only one").starts_with("one-test (2): deleted")
    );
    assert!(shell.fails("stop apps.json --only three").contains("there are one, two"));
    assert_eq!(shell.jlist().len(), 2);
}

#[test]
fn what_is_no_longer_in_the_file_is_gone_with_the_next_start() {
    let mut shell = Shell::new();
    shell.set("KEPT", "of the shell");
    let file = |env: &str, more: &str| {
        shell.write(
            "tine.toml",
            &format!("[app.a]\nscript = 'sleep'\nargs = '1000'\n{more}\nenv = {env}\n"),
        );
    };
    let environ = || {
        let pid = shell.values("a", "/pid").remove(0);
        std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("the worker runs")
    };
    file("{ ONE = '1', TWO = '2' }", "nice = 3");
    shell.ok("start tine.toml --silent");
    assert!(environ().contains("TWO=2") && environ().contains("KEPT=of the shell"));
    for command in ["restart", "reload", "startOrReload"] {
        file("{ ONE = 'one' }", "");
        shell.ok(&format!("{command} tine.toml --silent"));
        assert!(environ().contains("ONE=one") && !environ().contains("TWO="), "{command}");
        assert!(!shell.ok("describe a").contains("nice"), "{command}");
        file("{ ONE = '1', TWO = '2' }", "nice = 3");
        shell.ok(&format!("{command} tine.toml --silent"));
        assert!(
            environ().contains("TWO=2") && shell.ok("describe a").contains("nice"),
            "{command}"
        );
    }
    let other = [("KEPT".to_owned(), String::new()), ("NEW".to_owned(), "new".to_owned())];
    shell.with(&other, &["restart", "tine.toml", "--silent"]);
    assert!(environ().contains("KEPT=of the shell") && !environ().contains("NEW="));
    shell.with(&other, &["restart", "tine.toml", "--update-env", "--silent"]);
    assert!(!environ().contains("of the shell") && environ().contains("NEW=new"));
}

#[test]
fn a_procfile_is_a_file_of_apps() {
    let shell = Shell::new();
    shell.write("Procfile", "# two\nweb: sleep 1000\nworker: sleep 2000 --\n");
    shell.ok("start Procfile --only web --silent");
    shell.ok("stop Procfile --only web --silent");
    shell.ok("start --only web --silent");
    assert_eq!(shell.values("web", "/pm2_env/status"), ["online"]);
    assert_eq!(shell.jlist().len(), 1);
}
