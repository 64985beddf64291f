//! Variables: as the kernel has them of each worker.

use serde_json::json;

use super::{Case, Shell, case, start, try_all};

fn cases() -> Vec<Case> {
    let two = || json!({"instances": 2, "env": {"COUNTED": 7}});
    vec![
        case(
            "env",
            json!({"A": 1, "B": {"c": [true]}}),
            json!({}),
            |app| app.variable("B"),
            "{\"c\":[true]}",
        ),
        case("env", json!("A=one"), json!({}), |app| app.variable("A"), "one"),
        case("env_file", json!("more.env"), json!({"env": {"OVER": "env"}}), both, "yes env"),
        case("env_file", json!(["more.env", "most.env"]), json!({}), both, "yes most"),
        case("filter_env", json!(["SECR"]), json!({}), secret_and_home, "- /"),
        case("filter_env", json!("SECRET"), json!({}), secret_and_home, "- /"),
        case("filter_env", json!(true), json!({}), secret_and_home, "- /"),
        case("filter_env", json!(false), json!({}), secret_and_home, "kept /"),
        case("port", json!(8123), json!({}), |app| app.variable("PORT"), "8123"),
        case(
            "instance_var",
            json!("PLACE"),
            json!({"instances": 2}),
            |app| app.variable("PLACE"),
            "0 1",
        ),
        case("increment_var", json!("COUNTED"), two(), |app| app.variable("COUNTED"), "7 8"),
    ]
}

fn both(app: &super::App<'_>) -> String {
    format!("{} {}", app.variable("FROM_FILE"), app.variable("OVER"))
}

fn secret_and_home(app: &super::App<'_>) -> String {
    format!("{} {}", app.variable("SECRET"), app.variable("HOME"))
}

fn shell() -> Shell {
    let mut shell = Shell::new();
    shell.set("SECRET", "kept");
    shell.write("more.env", "# words\nexport FROM_FILE='yes'\nOVER=more\n");
    shell.write("most.env", "OVER=most\n");
    shell
}

#[test]
fn keys_of_the_environment_reach_the_worker() {
    try_all(&shell(), &cases());
}

/// Two apps of one environment; one says so in its name.
const FILE: &str = r#"{
  "apps": [
    {"name": "a", "script": "sleep", "args": "1000", "append_env_to_name": true,
     "env": {"LAYER": "env", "ONLY": "env"}, "env_production": {"LAYER": "production"},
     "env_test": {"LAYER": "test"}},
    {"name": "b", "script": "sleep", "args": "1000", "appendEnvToName": false,
     "env_production": "LAYER=line"},
  ],
  "deploy": {
    "production": {"host": "h", "env": {"LAYER": "deploy", "ONLY": "deploy", "DEPLOYED": "deploy"}},
    "test": {"env": {"DEPLOYED": "test"}},
  },
}"#;

fn variables(shell: &Shell, app: &str) -> [String; 3] {
    ["LAYER", "ONLY", "DEPLOYED"].map(|name| {
        let workers = shell.jlist().into_iter().filter(|worker| worker["name"] == app).collect();
        super::App { shell, workers }.variable(name)
    })
}

#[test]
fn the_environment_that_is_chosen_lies_over_the_deployments_and_the_apps_own() {
    let shell = shell();
    shell.write("keys.json", FILE);
    shell.ok("start keys.json --env production --silent");
    assert_eq!(variables(&shell, "a-production"), ["production", "env", "deploy"]);
    assert_eq!(variables(&shell, "b"), ["line", "deploy", "deploy"]);
    shell.ok("delete all --silent");
    shell.ok("start keys.json --silent");
    assert_eq!(variables(&shell, "a"), ["env", "env", "-"]);
    assert_eq!(variables(&shell, "b"), ["-", "-", "-"]);
}

#[test]
fn defaults_hold_for_every_app_that_says_nothing_else() {
    let shell = shell();
    shell.write(
        "tine.toml",
        "\"$schema\" = 'https://example.org/tine.schema.json'\n\
         [defaults]\nscript = 'sleep'\nargs = '1000'\nenv = { LAYER = 'default', ONLY = 'default' }\n\
         [app.a]\nenv = { LAYER = 'own' }\n[app.b]\n",
    );
    shell.ok("start --silent");
    assert_eq!(variables(&shell, "a"), ["own", "default", "-"]);
    assert_eq!(variables(&shell, "b"), ["default", "default", "-"]);
}

#[test]
fn apps_are_found_below_each_word_that_means_them() {
    let shell = shell();
    let one = |name: &str| json!({"name": name, "script": "sleep", "args": "1000"});
    start(&shell, &json!({"apps": [one("a")], "$schema": "x"}));
    start(&shell, &json!({"app": [one("b")]}));
    start(&shell, &json!({"pm2": [one("c")]}));
    start(&shell, &json!([one("d")]));
    start(&shell, &one("e"));
    let names: Vec<_> = shell.jlist().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}
