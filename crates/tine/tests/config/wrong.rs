//! What is said of mistakes.

use crate::{Files, load, one_with_warnings, stdin};

/// What is said of one key with a wrong value.
fn fault(key: &str, value: &str) -> String {
    let error =
        stdin(&format!("{{script: 'x',\n {key}: {value}}}")).expect_err("a fault").to_string();
    let said = error.strip_prefix("standard input:2: app `x`: ");
    said.unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// A key, a value that it cannot have, and what is said.
const FAULTS: &[(&str, &str, &str)] = &[
    ("namespace", "[]", "`namespace`: expected a text, found a list"),
    ("autorestart", "'maybe'", "`autorestart`: expected true or false, found `maybe`"),
    (
        "max_restarts",
        "-1",
        "`max_restarts`: expected a whole number from 0 to 4294967295, found the number -1",
    ),
    ("args", "{}", "`args`: expected a list of words, or a line of them, found a table"),
    ("after", "true", "`after`: expected a text or a list of texts, found true"),
    ("cwd", "[]", "`cwd`: expected a path, found a list"),
    ("env_file", "{}", "`env_file`: expected a path or a list of paths, found a table"),
    ("out_file", "true", "`out_file`: expected a path, or false for nowhere, found true"),
    (
        "kill_timeout",
        "[]",
        "`kill_timeout`: expected a duration such as 1600, 5s, 2m or 1h, found a list",
    ),
    (
        "kill_timeout",
        "'soon'",
        "`kill_timeout`: `soon` is no duration; write 1600 or 1600ms, 5s, 2m or 1h",
    ),
    (
        "max_memory_restart",
        "'much'",
        "`max_memory_restart`: `much` is no size; write 1048576, 512K, 300M or 1.5G",
    ),
    (
        "instances",
        "'three'",
        "`instances`: `three` is no number of instances; give a number, `max`, or -N for all \
          CPUs but N",
    ),
    (
        "instances",
        "9999",
        "`instances`: 9999 instances are more than the 4096 that can share a port",
    ),
    ("exec_mode", "'spoon'", "`exec_mode`: expected `fork` or `cluster`, found `spoon`"),
    (
        "stop_exit_codes",
        "256",
        "`stop_exit_codes`: expected a whole number from 0 to 255, found `256`",
    ),
    ("env", "[1]", "`env`: expected a table of variables, found a list"),
    ("env", "{'A=B': 1}", "`env`: `A=B` cannot be the name of a variable"),
    ("env_prod", "7", "`env_prod`: expected a table of variables, found the number 7"),
    ("filter_env", "{}", "`filter_env`: expected true, or the beginnings of names, found a table"),
    ("policy", "'best'", "`policy`: `best` is no policy; there are rr, random, sticky, shared"),
    (
        "mechanism",
        "'magic'",
        "`mechanism`: expected `auto`, `kernel-ebpf`, `kernel-cbpf`, `one-queue` or \
          `hand-over`, found `magic`",
    ),
    (
        "listen",
        "'here'",
        "`listen`: expected an address such as 127.0.0.1:8080, or a list of them, found `here`",
    ),
    (
        "private_ports",
        "[70000]",
        "`private_ports`: expected a whole number from 0 to 65535, found `70000`",
    ),
    (
        "health",
        "'fine'",
        "`health`: `fine` is no probe; write /path, http://…, tcp, tcp:ADDRESS:PORT or exec:COMMAND",
    ),
    (
        "health",
        "{interval: 5}",
        "`health`: exactly one of `http`, `tcp` and `exec` says what is tried",
    ),
    ("health", "{htpp: '/'}", "`health`: unknown key `htpp`; did you mean `http`?"),
    (
        "health",
        "{http: '/', interval: 'x'}",
        "`health`: `interval`: `x` is no duration; write 1600 or 1600ms, 5s, \
          2m or 1h",
    ),
    (
        "kill_signal",
        "'SIGNOTHING'",
        "`kill_signal`: `SIGNOTHING` is no signal; write SIGTERM, TERM or 15",
    ),
    (
        "cron_timezone",
        "'Mars'",
        "`cron_timezone`: `Mars` is no time zone; write a name like Europe/Berlin, or UTC",
    ),
    ("watch", "{path: 'x'}", "`watch`: unknown key `path`; there are paths, ignore, delay, action"),
    (
        "watch_action",
        "'dance', watch: true",
        "`watch_action`: expected `restart` or `reload`, found `dance`",
    ),
    (
        "umask",
        "22",
        "`umask`: expected octal digits in quotes such as \"022\", found the number 22",
    ),
    ("rlimits", "{nofiles: 1}", "`rlimits`: unknown key `nofiles`; did you mean `nofile`?"),
    (
        "rlimits",
        "{nofile: 'x'}",
        "`rlimits`: `nofile`: expected a number, `unlimited`, `SOFT:HARD`, or a table with \
          `soft` and `hard`, found `x`",
    ),
    (
        "limits",
        "{cpu: 'x'}",
        "`limits`: `cpu`: expected a whole number from 1 to 4294967295, found `x`",
    ),
    (
        "log_rotation",
        "[]",
        "`log_rotation`: expected false, or a table with `size`, `age`, `keep`, `compress` or \
          `total`, found a list",
    ),
    ("log_type", "'xml'", "`log_type`: expected `raw` or `json`, found `xml`"),
    (
        "interpreter",
        "'node@0.1'",
        "`interpreter`: no node 0.1 is installed by nvm or fnm; run `nvm install 0.1`, or \
          give the path of a node",
    ),
    ("port", "70000", "`port`: expected a whole number from 0 to 65535, found the number 70000"),
];

#[test]
fn a_value_of_another_type_is_told_with_what_was_expected() {
    for (key, value, text) in FAULTS {
        assert_eq!(fault(key, value), *text);
    }
    let cron = fault("cron_restart", "'61 * * * *'");
    let text = "`cron_restart`: `61 * * * *` is no schedule: `61` is no minute (0-59)";
    assert_eq!(cron, text);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let files = Files::new(&[(
        "tine.toml",
        "[app.a]\nscript = 'x'\ninstence = 2\n\n[app.b]\nscript = 'x'\nport = 'y'\n[app.c]\nname = 'd'\n",
    )]);
    let error = load(&files, "tine.toml").unwrap_err().to_string();
    assert_eq!(
        error,
        "tine.toml:3: app `a`: unknown key `instence`; did you mean `instances`?\n\
         tine.toml:7: app `b`: `port`: expected a whole number from 0 to 65535, found `y`\n\
         tine.toml:8: app `d`: `script` is missing: what is to run?"
    );
}

#[test]
fn an_unknown_key_of_a_pm2_file_is_a_warning() {
    let (spec, warnings) =
        one_with_warnings("{name: 'a', script: 'x',\n maxMemoryRestrat: '1G',\n options: {}}");
    assert_eq!(spec.max_memory_restart, None);
    assert_eq!(
        warnings,
        [
            "standard input:2: app `a`: unknown key `maxMemoryRestrat`; did you mean `max_memory_restart`?",
            "standard input:3: app `a`: unknown key `options`"
        ]
    );
}

#[test]
fn what_has_no_effect_but_was_asked_for_gets_a_note() {
    let (_, warnings) = one_with_warnings(
        "{script: 'x', name: 'a', post_update: ['npm i'], deep_monitoring: false, \
                                           vizion: false, pmx: true}",
    );
    assert_eq!(
        warnings,
        ["standard input:1: app `a`: `post_update` has no effect: there is no `tine pull`"]
    );
}

#[test]
fn lines_are_those_of_the_file_in_every_format() {
    let files = Files::new(&[
        ("a.json", "{\n  \"apps\": [{\n    \"script\": \"x\",\n    \"port\": \"y\"\n  }]\n}"),
        ("a.yaml", "apps:\n  - script: x\n    args: []\n    port: y\n"),
        ("a.toml", "[[apps]]\nscript = 'x'\n\nport = 'y'\n"),
    ]);
    for file in ["a.json", "a.yaml", "a.toml"] {
        let error = load(&files, file).unwrap_err().to_string();
        let wanted = format!(
            "{file}:4: app `x`: `port`: expected a whole number from 0 to 65535, found `y`"
        );
        assert_eq!(error, wanted);
    }
}

#[test]
fn a_file_that_is_not_of_its_format_is_told_with_the_place() {
    let files = Files::new(&[
        ("a.toml", "[app.a]\nscript = = 'x'"),
        ("a.yaml", "apps: [\n  script"),
        ("Procfile", "web: a\nnode server.js"),
    ]);
    for (file, start) in
        [("a.toml", "a.toml:2:10: "), ("a.yaml", "a.yaml:"), ("Procfile", "Procfile:2: ")]
    {
        let error = load(&files, file).unwrap_err().to_string();
        assert!(error.starts_with(start) && error.len() > start.len() + 10, "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_has_no_known_name_is_told() {
    let files = Files::new(&[("app.ini", "")]);
    assert_eq!(load(&files, "no.json").unwrap_err().to_string(), "read no.json");
    let error = load(&files, "app.ini").unwrap_err().to_string();
    assert!(
        error.starts_with("`app.ini` is no configuration that is known by its name; "),
        "{error}"
    );
}

#[test]
fn a_file_without_apps_is_told() {
    for (text, wanted) in [
        ("[]", "standard input has no apps"),
        ("{apps: []}", "standard input has no apps"),
        ("{deploy: {}}", "standard input has no apps"),
        (
            "{aps: [{script: 'x'}]}",
            "standard input:1: neither `apps` nor `script` is there, but `aps`; did you mean `apps`?",
        ),
        ("{apps: [3]}", "standard input:1: expected an app, which is a table, found the number 3"),
        ("3", "standard input:1: expected apps: a list, or a table, found the number 3"),
        ("{name: 'a'}", "standard input:1: app `a`: `script` is missing: what is to run?"),
    ] {
        assert_eq!(stdin(text).unwrap_err().to_string(), wanted, "{text}");
    }
}

#[test]
fn two_apps_of_one_name_are_a_mistake() {
    let error = stdin("[{name: 'a', script: 'x'},\n {name: 'a', script: 'y'}]").unwrap_err();
    assert_eq!(error.to_string(), "standard input:2: app `a`: another app has this name already");
}

#[test]
fn a_word_beside_the_apps_that_is_not_known_is_told() {
    let files = Files::new(&[
        ("a.json", "{apps: [{script: 'x'}], statics: []}"),
        ("a.toml", "[default]\n[app.a]\nscript = 'x'"),
    ]);
    let warnings = load(&files, "a.json").unwrap().warnings;
    assert_eq!(warnings, ["a.json:1: unknown key `statics`; did you mean `static`?"]);
    let error = load(&files, "a.toml").unwrap_err().to_string();
    assert_eq!(error, "a.toml:1: unknown key `default`; did you mean `defaults`?");
}

#[test]
fn a_mistake_in_a_static_is_told() {
    for (text, wanted) in [
        ("{static: [{port: 'x'}]}", "`port`: expected a port, found `x`"),
        ("{static: [{spa: 3}]}", "`spa`: expected true or false, found the number 3"),
        (
            "{static: [{basic_auth: true}]}",
            "`basic_auth`: expected a table with `username` and `password`, found true",
        ),
        ("{static: ['x']}", "expected an app, which is a table, found `x`"),
        (
            "{static: [{name: 'a', nice: 'x'}]}",
            "app `a`: `nice`: expected a whole number from -20 to 19, found `x`",
        ),
    ] {
        let error = stdin(text).unwrap_err().to_string();
        assert_eq!(error, format!("standard input:1: {wanted}"));
    }
}
