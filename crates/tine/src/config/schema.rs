//! The schema of `tine.toml`, for editors: made from the same tables as everything else.

use serde_json::{Map, Value, json};

use super::{
    keys::{self, Key},
    kind::Kind,
    parts::RLIMITS,
};

/// As JSON Schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let by_name = |of: &str| {
        let one = json!({ "$ref": format!("#/$defs/{of}") });
        json!({ "anyOf": [
            { "type": "object", "additionalProperties": one },
            { "type": "array", "items": one },
        ] })
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tine.toml",
        "description": "What the apps of tine are.",
        "type": "object",
        "properties": {
            "$schema": { "type": "string" },
            "app": described(by_name("app"), "The apps by their names, or a list of them."),
            "apps": described(by_name("app"), "The same as `app`."),
            "static": described(by_name("static"), "Directories that are served as they are."),
            "defaults": described(json!({ "$ref": "#/$defs/keys" }), "Keys for every app that does not say otherwise."),
            "deploy": { "type": "object", "description": "Deployments of pm2; of each the `env` counts." },
        },
        "additionalProperties": false,
        "$defs": {
            "app": { "$ref": "#/$defs/keys", "anyOf": required() },
            "keys": app(),
            "static": served(),
            "env": environment(),
        },
    })
}

fn described(mut schema: Value, words: &str) -> Value {
    schema["description"] = words.into();
    schema
}

/// Any of the names for what is to run.
fn required() -> Value {
    let script = keys::find("script").expect("a key of the table");
    let names = script.aliases.iter().chain([&script.name]);
    names.map(|name| json!({ "required": [name] })).collect()
}

fn app() -> Value {
    let mut properties = Map::new();
    for key in keys::all() {
        properties.insert(key.name.to_owned(), property(key));
        for alias in key.aliases {
            let same = format!("The same as `{}`.", key.name);
            properties.insert((*alias).to_owned(), described(of(key.kind), &same));
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": { "^env_": { "$ref": "#/$defs/env" } },
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = described(of(key.kind), key.about);
    if !key.default.is_empty() {
        schema["default"] = default(key);
    }
    schema
}

/// As it would stand in a file: yes or no, a number, or a text.
fn default(key: &Key) -> Value {
    let text = || Value::from(key.default);
    let number = || key.default.parse::<i64>().map(Value::from);
    key.default.parse::<bool>().map(Value::from).or_else(|_| number()).unwrap_or_else(|_| text())
}

fn environment() -> Value {
    json!({ "anyOf": [{ "type": "object" }, { "type": "string" }] })
}

fn served() -> Value {
    let text = json!({ "type": "string" });
    let flag = json!({ "type": "boolean" });
    let auth = json!({ "type": "object", "properties": { "username": text, "password": text } });
    let mut schema = app();
    let own = [
        ("path", text.clone()),
        ("host", text),
        ("spa", flag.clone()),
        ("ftp", flag.clone()),
        ("directory", flag),
        ("monitor", json!({})),
        ("basic_auth", auth),
    ];
    for (name, of) in own {
        schema["properties"][name] = of;
    }
    schema
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn some(one: &Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "items": one }] })
}

fn unit(units: &str) -> Value {
    let pattern = format!("^[0-9]+([.][0-9]+)? ?({units})?$");
    json!({ "type": ["integer", "string"], "minimum": 0, "pattern": pattern })
}

/// What a value of this type may be.
fn of(kind: Kind) -> Value {
    let text = json!({ "type": ["string", "number"] });
    match kind {
        Kind::Text => text,
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Words | Kind::Texts => some(&text),
        Kind::Path | Kind::Signal | Kind::Zone => json!({ "type": "string" }),
        Kind::Paths => some(&json!({ "type": "string" })),
        Kind::LogFile => json!({ "type": ["string", "boolean"] }),
        Kind::Duration => unit("ms|s|m|min|h|d"),
        Kind::Size => unit("[kKmMgGtT]?i?[bB]?"),
        Kind::Instances => json!({ "type": ["integer", "string"], "pattern": "^(max|-?[0-9]+)$" }),
        Kind::Mode => words(&["fork", "cluster", "fork_mode", "cluster_mode"]),
        Kind::Codes => some(&of(Kind::Number(0, 255))),
        Kind::Ports => some(&of(Kind::Number(0, 65535))),
        Kind::Env => json!({ "$ref": "#/$defs/env" }),
        Kind::Filter => json!({ "anyOf": [{ "type": "boolean" }, some(&text)] }),
        Kind::Policy => words(&["rr", "random", "sticky", "shared"]),
        Kind::Mechanism => words(&["auto", "kernel-ebpf", "kernel-cbpf", "one-queue", "hand-over"]),
        Kind::Addresses => some(&json!({ "type": ["string", "integer"] })),
        Kind::Health => json!({ "anyOf": [{ "type": "string" }, { "const": false }, health()] }),
        Kind::Cron => {
            json!({ "anyOf": [{ "type": "string" }, { "const": 0 }, { "const": false }] })
        }
        Kind::Watch => watch(),
        Kind::Action => words(&["restart", "reload"]),
        Kind::Umask => json!({ "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" }),
        Kind::Rlimits => rlimits(),
        Kind::Limits => limits(),
        Kind::Rotation => json!({ "anyOf": [{ "type": "boolean" }, rotation()] }),
        Kind::LogType => words(&["raw", "json"]),
        Kind::Any => json!({}),
    }
}

fn table(properties: &Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn health() -> Value {
    table(&json!({
        "http": { "type": "string" },
        "tcp": { "anyOf": [{ "type": "string" }, { "const": true }] },
        "exec": { "type": "string" },
        "interval": of(Kind::Duration),
        "timeout": of(Kind::Duration),
        "grace": of(Kind::Duration),
        "threshold": of(Kind::Number(1, 1000)),
    }))
}

fn watch() -> Value {
    let table = table(&json!({
        "paths": of(Kind::Paths),
        "ignore": of(Kind::Texts),
        "delay": of(Kind::Duration),
        "action": of(Kind::Action),
    }));
    json!({ "anyOf": [{ "type": "boolean" }, of(Kind::Paths), table] })
}

fn rlimits() -> Value {
    let bound = json!({ "type": ["integer", "string"] });
    let pair = table(&json!({ "soft": bound, "hard": bound }));
    let one = json!({ "anyOf": [bound, pair] });
    let all: Map<String, Value> =
        RLIMITS.iter().map(|name| ((*name).to_owned(), one.clone())).collect();
    table(&Value::Object(all))
}

fn limits() -> Value {
    table(&json!({
        "memory": of(Kind::Size),
        "cpu": { "type": ["integer", "string"], "pattern": "^[0-9]+%?$" },
        "pids": of(Kind::Number(1, i64::from(u32::MAX))),
    }))
}

fn rotation() -> Value {
    table(&json!({
        "size": of(Kind::Size),
        "age": of(Kind::Duration),
        "keep": of(Kind::Number(0, 100_000)),
        "compress": { "type": "boolean" },
        "total": of(Kind::Size),
    }))
}
