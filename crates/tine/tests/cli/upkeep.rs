//! Logs, the saved list, and the declared one.

use super::shell::{Shell, wait_until};

const CHATTY: &str = "console.log('one line'); console.error('one error'); \
                      process.on('message', m => console.log('heard', m)); setInterval(() => {}, 1000)";

fn chatty() -> Shell {
    let shell = Shell::new();
    shell.write("app.js", CHATTY);
    shell.ok("start app.js --silent");
    assert!(wait_until(|| shell.ok("logs --nostream").contains("one error")));
    shell
}

#[test]
fn the_last_lines_are_shown_by_target_and_stream() {
    let shell = chatty();
    let all = shell.ok("logs app --nostream");
    assert!(all.contains("one line") && all.contains("one error"), "{all}");
    let errors = shell.ok("log 0 --nostream --err --raw");
    assert_eq!(errors, "one error\n");
    let error = shell.fails("logs ap --nostream");
    assert!(error.contains("`app`"), "{error}");
}

#[test]
fn log_files_are_emptied_and_opened_anew() {
    let shell = chatty();
    let log = shell.values("app", "/pm2_env/pm_out_log_path").remove(0);
    shell.ok("flush app");
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
    std::fs::rename(&log, shell.work().join("moved.log")).expect("the file is there");
    shell.ok("reloadLogs");
    assert!(wait_until(|| std::path::Path::new(&log).exists()));
}

#[test]
fn a_node_worker_hears_a_message() {
    let shell = chatty();
    shell.ok("send --message 0 good morning");
    assert!(wait_until(|| shell.ok("logs --nostream --out --raw").contains("heard good morning")));
}

#[test]
fn the_saved_list_comes_back_as_it_was() {
    let mut shell = Shell::new();
    shell.write("app.js", CHATTY);
    shell.set("SECRET", "x");
    shell.ok("start app.js -i 2 --name one --silent");
    shell.ok("start app.js --name two --silent");
    shell.ok("stop two --silent");
    shell.ok("save");
    shell.ok("kill");
    shell.ok("resurrect");
    assert_eq!(shell.values("one", "/pm2_env/status"), ["online", "online"]);
    assert_eq!(shell.values("two", "/pm2_env/status"), ["stopped"]);
    assert_eq!(shell.values("one", "/pm2_env/SECRET"), ["x", "x"]);
    let said = shell.ok("resurrect");
    assert!(
        said.starts_with("one (0, 1): is there already\ntwo (2): is there already\n"),
        "{said}"
    );
    assert_eq!(shell.jlist().len(), 3, "nothing comes twice");
    shell.ok("cleardump");
    shell.ok("kill");
    let _ = shell.tine("resurrect");
    assert!(shell.jlist().is_empty());
}

#[test]
fn nothing_is_saved_over_something_but_by_force() {
    let shell = Shell::new();
    shell.write("app.js", CHATTY);
    shell.ok("start app.js --silent");
    shell.ok("dump");
    shell.ok("delete all");
    assert!(!shell.fails("save").is_empty());
    shell.ok("save --force");
}

#[test]
fn the_list_becomes_what_the_file_says() {
    let shell = Shell::new();
    shell.write("app.js", CHATTY);
    let file = |text: &str| shell.write("tine.toml", text);
    file("[[apps]]\nname = 'a'\nscript = 'app.js'\n[[apps]]\nname = 'b'\nscript = 'app.js'\n");
    let dry = shell.ok("apply tine.toml --dry-run");
    assert!(dry.starts_with("a: ") && dry.contains("b: ") && shell.jlist().is_empty(), "{dry}");
    shell.ok("apply");
    let pids = shell.values("a", "/pid");
    file("[[apps]]\nname = 'a'\nscript = 'app.js'\n");
    shell.ok("apply tine.toml --prune");
    assert_eq!(shell.values("a", "/pid"), pids, "what has not changed is left alone");
    assert!(shell.values("b", "/pid").is_empty());
    file("[[apps]]\nname = 'a'\nscript = 'app.js'\ninstances = 2\n");
    shell.ok("apply tine.toml");
    assert_eq!(shell.values("a", "/pm2_env/status"), ["online", "online"]);
}

#[test]
fn a_failed_start_shows_the_last_words_of_the_program() {
    let shell = Shell::new();
    shell.write("bad.js", "console.error('no database here'); process.exit(7)");
    let said = shell.tine("start bad.js --max-restarts 1 --restart-delay 10");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("no database here") && said.err.contains("tine logs bad"),
        "{said:?}"
    );
}
