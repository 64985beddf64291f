//! Where in a file the apps are, and what files there are.

use std::{fs, path::Path};

use serde_json::json;
use tine::{
    config::{self, Selection, Source, default_file, is_config_file},
    spec::{Instances, Mode},
};

use crate::{Files, load, load_env, names, one, specs, stdin};

#[test]
fn apps_are_a_list_one_app_or_below_a_word() {
    for text in [
        r#"[{"name": "a", "script": "x"}]"#,
        r#"{"name": "a", "script": "x"}"#,
        r#"{"apps": [{"name": "a", "script": "x"}]}"#,
        r#"{"apps": {"name": "a", "script": "x"}}"#,
        r#"{"apps": {"a": {"script": "x"}}}"#,
        r#"{"pm2": [{"name": "a", "script": "x"}]}"#,
        r#"{"app": {"a": {"script": "x"}}, "deploy": {}}"#,
        "{ apps: [ { name: 'a', cmd: 'x', }, ], } // relaxed",
        "[app.a]\nscript = 'x'",
        "[[apps]]\nname = 'a'\nscript = 'x'",
        "apps:\n  - name: a\n    script: x\n",
        "- name: a\n  script: x\n",
    ] {
        let loaded = stdin(text);
        let spec = &specs(&loaded.unwrap_or_else(|error| panic!("{text}: {error}")))[0];
        assert_eq!((spec.name.as_str(), spec.script.as_str()), ("a", "x"), "{text}");
    }
}

#[test]
fn each_format_says_the_same() {
    let files = Files::new(&[
        ("server.js", ""),
        ("tine.toml", "[app.api]\nscript = 'server.js'\ninstances = 2\nenv = { A = '1', B = 2 }\n"),
        (
            "a.json",
            "{apps: [{name: 'api', script: 'server.js', instances: 2, env: {A: '1', B: 2}}]}",
        ),
        (
            "a.yaml",
            "apps:\n  - name: api\n    script: server.js\n    instances: 2\n    env:\n      A: '1'\n      B: 2\n",
        ),
        ("b.yml", "- {name: api, script: ./server.js, instances: '2', env: {A: 1, B: 2}}\n"),
    ]);
    for file in ["tine.toml", "a.json", "a.yaml", "b.yml"] {
        let loaded = load(&files, file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, [""; 0], "{file}");
        let origin = files.path().join(file);
        assert_eq!(loaded.origin.as_deref(), Some(origin.as_path()));
        let spec = &specs(&loaded)[0];
        assert_eq!(spec.name, "api");
        assert_eq!(Path::new(&spec.script), files.path().join("server.js"), "{file}");
        assert_eq!(spec.cwd, files.path());
        assert_eq!(spec.origin.as_ref(), Some(&origin));
        assert_eq!((spec.instances, spec.exec_mode), (Instances::Count(2), Some(Mode::Cluster)));
        assert_eq!(json!(spec.env), json!({"A": "1", "B": "2"}));
    }
}

#[test]
fn a_procfile_has_an_app_in_each_line() {
    let files = Files::new(&[("Procfile", "web: node server.js -p $PORT\nworker: ./work\n")]);
    let loaded = load(&files, "Procfile").unwrap();
    let specs = specs(&loaded);
    let shown: Vec<_> =
        specs.iter().map(|spec| (spec.name.as_str(), spec.script.as_str())).collect();
    assert_eq!(shown, [("web", "node server.js -p $PORT"), ("worker", "./work")]);
}

#[test]
fn defaults_go_below_every_app_and_variables_one_by_one() {
    let files = Files::new(&[(
        "tine.toml",
        "[defaults]\ninstances = 2\nexec = 'other'\nenv = { A = 'd', B = 'd' }\nenv_prod = { P = 'd' }\n\
         [app.one]\nscript = 'x'\nenv = { B = 'a' }\n[app.two]\nscript = 'x'\ninstances = 3\n",
    )]);
    let specs = specs(&load_env(&files, "tine.toml", Some("prod")).unwrap());
    assert_eq!(specs[0].instances, Instances::Count(2));
    assert_eq!(specs[0].script, "x");
    assert_eq!(json!(specs[0].env), json!({"A": "d", "B": "a", "P": "d"}));
    assert_eq!(specs[1].instances, Instances::Count(3));
    assert_eq!(json!(specs[1].env), json!({"A": "d", "B": "d", "P": "d"}));
}

#[test]
fn an_environment_that_is_chosen_is_laid_over() {
    let text =
        "{apps: [{script: 'x.py', env: {A: 'app', B: 'app'}, env_prod: {B: 'prod', C: 'prod'},
        append_env_to_name: true}], deploy: {prod: {env: {A: 'deploy', D: 'deploy'}}}}";
    let files = Files::new(&[("a.json", text)]);
    let spec = |env| specs(&load_env(&files, "a.json", env).unwrap()).remove(0);
    let chosen = spec(Some("prod"));
    assert_eq!((chosen.name.as_str(), chosen.env_name.as_deref()), ("x-prod", Some("prod")));
    assert_eq!(json!(chosen.env), json!({"A": "app", "B": "prod", "C": "prod", "D": "deploy"}));
    let plain = spec(None);
    assert_eq!((plain.name.as_str(), plain.env_name), ("x", None));
    assert_eq!(json!(plain.env), json!({"A": "app", "B": "app"}));
}

#[test]
fn an_environment_that_is_not_there_is_told() {
    let files = Files::new(&[("a.json", "{script: 'x', env_production: {}}")]);
    let loaded = load_env(&files, "a.json", Some("productoin")).unwrap();
    let wanted = "a.json:1: app `x`: there is no `env_productoin` for --env productoin; did you mean \
                  `production`?";
    assert_eq!(loaded.warnings, [wanted]);
}

#[test]
fn only_some_apps_are_taken_and_an_unknown_one_is_told() {
    let files =
        Files::new(&[("a.json", "[{name: 'api', script: 'x'}, {name: 'web', script: 'x'}]")]);
    let only = |name: &str| {
        let wanted = Selection { env_name: None, only: vec![name.to_owned()] };
        config::load_from(&Source::Path("a.json".into()), &wanted, files.path())
    };
    assert_eq!(names(&only("web").unwrap()), ["web"]);
    let error = only("wbe").unwrap_err().to_string();
    assert_eq!(error, "a.json has no app `wbe`; there are api, web; did you mean `web`?");
}

#[test]
fn names_come_from_scripts_and_are_distinct() {
    let files = Files::new(&[("a.json", "[{script: 'dir/a.test.js'}, {script: 'dir/a.test.js'}]")]);
    let loaded = load(&files, "a.json").unwrap();
    assert_eq!(names(&loaded), ["a.test", "a.test-1"]);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert_eq!(one("{script: 'npm run start'}").name, "npm");
    assert_eq!(one("{script: 'x', name: 455}").name, "455");
    assert_eq!(one("{script: 'x', name: 'a', name_prefix: 'p'}").name, "p:a");
}

#[test]
fn directories_to_be_served_are_apps_too() {
    let text = "{apps: [{name: 'files', script: 'serve', cwd: '/srv', instances: 2, env: {PM2_SERVE_PATH: 'www',
        PM2_SERVE_PORT: 9000}}],
        static: [{path: './public', spa: true, basic_auth: {username: 'u', password: 'p'}, port: '9001',
        max_memory_restart: '1G', env: {A: 1}}, {name: 'here', host: '::1'}]}";
    let specs = specs(&stdin(text).unwrap());
    let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["files", "static-page-server-9001", "here"]);
    let tine = std::env::current_exe().unwrap();
    for spec in &specs {
        assert_eq!((Path::new(&spec.script), spec.interpreter.as_deref()), (&*tine, Some("none")));
        assert_eq!(spec.args, ["serve", "--foreground"]);
    }
    assert_eq!(specs[0].instances, Instances::Count(2));
    assert_eq!(specs[1].max_memory_restart, Some(1 << 30));
    let env = json!({"PM2_SERVE_PATH": "/no/where/public", "PM2_SERVE_PORT": "9001", "PM2_SERVE_SPA": "true",
        "PM2_SERVE_BASIC_AUTH": "true", "PM2_SERVE_BASIC_AUTH_USERNAME": "u",
        "PM2_SERVE_BASIC_AUTH_PASSWORD": "p", "A": "1"});
    assert_eq!(json!(specs[1].env), env);
    let env =
        json!({"PM2_SERVE_PATH": "/no/where", "PM2_SERVE_PORT": "8080", "PM2_SERVE_HOST": "::1"});
    assert_eq!(json!(specs[2].env), env);
}

#[test]
fn a_script_that_is_only_beside_the_file_runs_there() {
    let files = Files::new(&[("sub/a.json", "{script: 'app.js'}"), ("sub/app.js", "")]);
    let loaded = load(&files, "sub/a.json").unwrap();
    let spec = specs(&loaded).remove(0);
    assert_eq!(spec.cwd, files.path().join("sub"));
    assert!(loaded.warnings[0].contains("where the file is"), "{:?}", loaded.warnings);
    fs::write(files.path().join("app.js"), "").unwrap();
    let loaded = load(&files, "sub/a.json").unwrap();
    assert_eq!(specs(&loaded)[0].cwd, files.path());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn our_own_file_has_its_paths_relative_to_itself() {
    let toml = "[app.a]\nscript = 'a.js'\ncwd = 'in'\nout_file = 'logs/out'\nenv_file = '.env'\n";
    let files = Files::new(&[("sub/tine.toml", toml), ("sub/in/a.js", "")]);
    let spec = specs(&load(&files, "sub/tine.toml").unwrap()).remove(0);
    let inside = files.path().join("sub/in");
    assert_eq!(spec.cwd, inside);
    assert_eq!(Path::new(&spec.script), inside.join("a.js"));
    assert_eq!(spec.logs.out_file, Some(inside.join("logs/out")));
    assert_eq!(spec.env_file, [inside.join(".env")]);
}

#[test]
fn a_directory_has_a_default_file_and_ours_comes_first() {
    let files = Files::new(&[("Procfile", "a: b"), ("ecosystem.json", "{}")]);
    assert_eq!(default_file(files.path()), Some(files.path().join("ecosystem.json")));
    files.write("tine.toml", "");
    assert_eq!(default_file(files.path()), Some(files.path().join("tine.toml")));
    assert_eq!(default_file(&files.path().join("none")), None);
}

#[test]
fn configurations_are_told_from_scripts_by_their_names() {
    for name in [
        "tine.toml",
        "a/eco.json",
        "x.yml",
        "x.yaml",
        "Procfile",
        "Procfile.dev",
        "e.config.js",
        "e.config.cjs",
        "e.config.mjs",
        "e.config.ts",
    ] {
        assert!(is_config_file(Path::new(name)), "{name}");
    }
    for name in ["server.js", "config.js", "app.mjs", "app.py", "Procfiles", "", "json"] {
        assert!(!is_config_file(Path::new(name)), "{name}");
    }
}
