//! Configurations that are programs.

use std::process::Command;

use serde_json::json;
use tine::config::{self, Selection, Source};

use crate::{Files, load, names, specs};

fn no_node() -> bool {
    let there = Command::new("node").arg("--version").output().is_ok();
    if !there {
        println!("SKIP: no node here");
    }
    !there
}

#[test]
fn every_way_to_export_a_configuration_is_read() {
    if no_node() {
        return;
    }
    let app = "{ name: 'api', script: 'server.js', instances: 2 }";
    let files = Files::new(&[
        ("a.config.js", &format!("module.exports = {{ apps: [{app}] }};")),
        ("b.config.cjs", &format!("module.exports = [{app}];")),
        ("c.config.mjs", &format!("export default {{ apps: [{app}] }};")),
        ("d.config.js", &format!("module.exports = Promise.resolve({app});")),
        ("e.config.js", &format!("export default {{ apps: [{app}] }};")),
        (
            "f.config.mjs",
            &format!("const apps = await Promise.resolve([{app}]); export default {{ apps }};"),
        ),
        ("g.config.js", &format!("exports.apps = [{app}];")),
        ("h.js", &format!("module.exports = {{ apps: [{app}] }};")),
    ]);
    for file in [
        "a.config.js",
        "b.config.cjs",
        "c.config.mjs",
        "d.config.js",
        "e.config.js",
        "f.config.mjs",
        "g.config.js",
        "h.js",
    ] {
        let loaded = load(&files, file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!((names(&loaded), loaded.warnings), (vec!["api".to_owned()], vec![]), "{file}");
    }
}

#[test]
fn a_configuration_computes_with_what_node_has() {
    if no_node() {
        return;
    }
    let files = Files::new(&[
        ("lib/more.js", "exports.env = { HERE: __dirname };"),
        (
            "a.config.js",
            "const path = require('path'); const more = require('./lib/more');\n\
            console.log('hello'); process.stdout.write('more\\n');\n\
            module.exports = { apps: [{ script: path.join(__dirname, 'x.js'), cwd: process.cwd(),\n\
            env: { ...more.env, CPUS: require('os').cpus().length > 0, BIG: 10n, WHEN: new Date(0) } }] };\n\
            setTimeout(() => {}, 1e9);",
        ),
    ]);
    let loaded = load(&files, "a.config.js").unwrap();
    let spec = specs(&loaded).remove(0);
    let here = files.path().join("lib").to_string_lossy().into_owned();
    let env =
        json!({"HERE": here, "CPUS": "true", "BIG": "10", "WHEN": "1970-01-01T00:00:00.000Z"});
    assert_eq!((json!(spec.env), spec.cwd.as_path()), (env, files.path()));
    assert_eq!(loaded.warnings, ["a.config.js prints: hello", "a.config.js prints: more"]);
}

#[test]
fn functions_are_reported_and_patterns_become_texts() {
    if no_node() {
        return;
    }
    let files = Files::new(&[(
        "a.config.js",
        "module.exports = { apps: [{ script: 'x', env: { F() {} }, watch: true, ignore_watch: [/tmp/i] }] };",
    )]);
    let loaded = load(&files, "a.config.js").unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "a.config.js: `apps[0].env.F` is a function, which cannot be a setting: left out",
            "a.config.js: `apps[0].ignore_watch[0]` is a regular expression, and is taken as a text",
        ]
    );
    assert_eq!(specs(&loaded)[0].watch.as_ref().unwrap().ignore[2..], ["tmp"]);
}

#[test]
fn what_pm2_calls_json_may_be_an_expression() {
    if no_node() {
        return;
    }
    let text = "{ apps: [{ name: 'a' + 'b', script: 'x', env: { P: process.pid > 0 } }] }";
    let files = Files::new(&[("a.json", text)]);
    let loaded = load(&files, "a.json").unwrap();
    assert_eq!(names(&loaded), ["ab"]);
    let source = Source::Stdin(text.to_owned());
    let loaded = config::load_from(&source, &Selection::default(), files.path()).unwrap();
    assert_eq!(names(&loaded), ["ab"]);
}

#[test]
fn what_is_neither_json_nor_javascript_is_told_as_json() {
    let files = Files::new(&[("a.json", "{ apps: [\n { script 'x' } ] }")]);
    let error = load(&files, "a.json").unwrap_err().to_string();
    assert_eq!(error, "a.json:2:11: expected `:` after a key, found `'`");
}

#[test]
fn a_program_that_fails_is_shown_with_what_it_printed() {
    if no_node() {
        return;
    }
    let files = Files::new(&[
        ("throws.config.js", "module.exports = {};\nthrow new Error('no database');"),
        ("syntax.config.js", "module.exports = { apps: [ };"),
        ("loop.config.js", "const a = {}; a.a = a; module.exports = a;"),
        ("exits.config.js", "process.exit(0);"),
        ("missing.config.js", "require('no-such-module');"),
    ]);
    for (file, said) in [
        ("throws.config.js", "Error: no database\n    at "),
        ("syntax.config.js", "SyntaxError: Unexpected token"),
        ("loop.config.js", "a contains itself"),
        ("exits.config.js", "it printed nothing"),
        ("missing.config.js", "Cannot find module 'no-such-module'"),
    ] {
        let error = load(&files, file).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{file} could not be run by node:\n")), "{error}");
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_program_that_never_ends_is_told_after_five_seconds() {
    if no_node() {
        return;
    }
    let files = Files::new(&[("a.config.js", "for (;;) {}")]);
    let error = load(&files, "a.config.js").unwrap_err().to_string();
    assert_eq!(error, "a.config.js was run by node for 5 seconds and gave no configuration");
}
