//! Files that cannot be used, as whoever wrote them sees it: which file, which line, what was meant.

use std::os::unix::fs::PermissionsExt;

use super::shell::Shell;

/// A file, and all that is said of it; `$` is the directory.
const BAD: [(&str, &str, &str); 14] = [
    ("a.json", "{apps: [{name: 'x' script: 'y'}]}", "a.json"),
    ("b.json", "", "b.json"),
    ("c.json", "[]", "c.json"),
    ("d.yaml", "apps:\n  - name: x\n   script: y\n", "d.yaml:"),
    (
        "e.config.js",
        "module.exports = {\n  apps: [undefined_word]\n}",
        "undefined_word is not defined",
    ),
    ("f.config.js", "throw new Error('no database')", "no database"),
    ("tine.toml", "[app.x]\nscrpt = 'y'\n", "did you mean `script`?"),
    ("g.json", "{name: 'x'}", "`script` is missing"),
    ("h.json", "[{script: 'sleep', name: 'x', max_memory_restart: '1X'}]", "max_memory_restart"),
    ("i.json", "[{script: 'sleep', name: 'x', instances: 'many'}]", "instances"),
    ("j.json", "[{script: 'sleep', name: 'x', cron: '61 * * * *'}]", "`61` is no minute"),
    ("k.json", "[{script: 'sleep', name: 'x', env: 3}]", "a table of variables"),
    (
        "l.json",
        "[{script: 'sleep', name: 'x'}, {script: 'sleep', name: 'x'}]",
        "another app has this name",
    ),
    ("m.json", "[{script: 'nowhere.sh', name: 'x'}]", "neither a file"),
];

#[test]
fn a_file_that_cannot_be_used_starts_nothing_and_says_why() {
    let shell = Shell::new();
    for (name, text, words) in BAD {
        shell.write(name, text);
        let said = shell.tine(&format!("start {name}"));
        assert_eq!(said.code, 1, "{name}: {said:?}");
        assert!(said.out.is_empty() && said.err.starts_with("tine: "), "{name}: {said:?}");
        assert!(said.err.contains(words), "{words}: {said:?}");
        std::fs::remove_file(shell.work().join(name)).expect("it was written");
    }
    assert_eq!(shell.jlist().len(), 0);
}

#[test]
fn a_file_that_is_not_there_or_may_not_be_read_is_named() {
    let shell = Shell::new();
    let said = shell.fails("start ecosystem.config.js");
    assert!(said.contains("ecosystem.config.js") && said.contains("No such file"), "{said}");
    std::fs::create_dir(shell.work().join("apps.json")).expect("the directory is this test's own");
    let said = shell.fails("start apps.json");
    assert!(said.contains("apps.json") && said.contains("directory"), "{said}");
    let said = shell.fails("start");
    assert!(said.contains("nothing to start is named") && said.contains("`tine init`"), "{said}");
    let file = shell.write("closed.json", "[]");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
    if !rustix::process::geteuid().is_root() {
        let said = shell.fails("start closed.json");
        assert!(said.contains("closed.json") && said.contains("Permission denied"), "{said}");
    }
}

#[test]
fn what_the_files_options_do_not_fit_is_told() {
    let shell = Shell::new();
    shell
        .write("a.json", "[{script: 'sleep', name: 'x', args: '1'}, {script: 'sleep', name: 'y'}]");
    let said = shell.fails("start a.json --only z");
    assert!(said.contains("has no app `z`; there are x, y"), "{said}");
    let said = shell.fails("start a.json --name z");
    assert!(said.contains("--name is for one app"), "{said}");
    let said = shell.fed("start -", "{not json").err;
    assert!(said.contains("standard input"), "{said}");
}
