//! What is written about configuration, and its schema, say what is so.

use std::{env, fs, path::PathBuf};

use regex_lite::Regex;
use serde_json::{Map, Value};
use tine::config;

use crate::{Files, load, specs};

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// `WRITE_DOCS=1 cargo test -p tine --test config` writes what is made of the tables of keys.
fn compare(name: &str, wanted: &str) {
    let path = document(name);
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, wanted).expect("write a document");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{name} is not up to date: WRITE_DOCS=1 cargo test -p tine --test config"
    );
}

#[test]
fn the_schema_is_that_of_the_keys() {
    let schema = serde_json::to_string_pretty(&config::schema()).unwrap() + "\n";
    compare("tine.schema.json", &schema);
}

#[test]
fn the_tables_of_the_page_are_those_of_the_keys() {
    let (begin, end) = ("<!-- keys: made by a test -->\n", "<!-- end of keys -->");
    let page = fs::read_to_string(document("configuration.md")).unwrap();
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    compare("configuration.md", &format!("{before}{begin}\n{}\n{end}{after}", config::markdown()));
}

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(document("configuration.md")).expect("the page");
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

#[test]
fn every_example_of_the_page_is_read_without_a_warning() {
    for (language, file) in
        [("toml", "tine.toml"), ("yaml", "a.yaml"), ("json", "a.json"), ("text", "Procfile")]
    {
        let examples = blocks(language);
        assert!(!examples.is_empty(), "{language}");
        for text in examples {
            let files = Files::new(&[(file, text.as_str())]);
            let loaded = load(&files, file).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(loaded.warnings, [""; 0], "{text}");
            assert!(!specs(&loaded).is_empty());
        }
    }
}

#[test]
fn every_example_of_our_own_file_fits_the_schema() {
    let whole = config::schema();
    for text in blocks("toml") {
        let value: Value = toml::from_str(&text).unwrap();
        assert_eq!(check(&whole, &whole, &value), Ok(()), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let whole = config::schema();
    for wrong in [
        "[app.a]\nscript = 'x'\ninstence = 2",
        "[app.a]\nname = 'x'",
        "[app.a]\nscript = 'x'\nport = 70000",
        "[app.a]\nscript = 'x'\nkill_timeout = 'soon'",
        "[app.a]\nscript = 'x'\nmax_memory_restart = '1X'",
        "[app.a]\nscript = 'x'\ninstances = 'few'",
        "[app.a]\nscript = 'x'\npolicy = 'best'",
        "[app.a]\nscript = 'x'\numask = 22",
        "[app.a]\nscript = 'x'\nhealth = { htpp = '/' }",
        "[app.a]\nscript = 'x'\nrlimits = { nofiles = 1 }",
        "[default]\n[app.a]\nscript = 'x'",
        "[app]\na = 3",
    ] {
        let value: Value = toml::from_str(wrong).unwrap();
        assert!(check(&whole, &whole, &value).is_err(), "{wrong}");
        let files = Files::new(&[("tine.toml", wrong)]);
        assert!(load(&files, "tine.toml").is_err(), "{wrong}");
    }
}

#[test]
fn the_file_to_begin_with_is_read_and_fits_the_schema() {
    let text = include_str!("../../src/cli/ecosystem/tine.toml");
    let files = Files::new(&[("tine.toml", text)]);
    assert_eq!(load(&files, "tine.toml").unwrap().warnings, [""; 0]);
    let whole = config::schema();
    assert_eq!(check(&whole, &whole, &toml::from_str(text).unwrap()), Ok(()));
}

/// As much of JSON Schema as ours has; a word that is not known is an error.
fn check(whole: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let words = schema.as_object().expect("a schema is a table");
    for (word, says) in words {
        let fits = match word.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" => true,
            "properties" | "patternProperties" | "additionalProperties" => continue,
            "$ref" => {
                let place = says.as_str().and_then(|place| place.strip_prefix('#'));
                let other = place.and_then(|place| whole.pointer(place)).expect("a definition");
                check(whole, other, value)?;
                true
            }
            "anyOf" => list(says).iter().any(|one| check(whole, one, value).is_ok()),
            "enum" => list(says).contains(value),
            "const" => says == value,
            "type" => types(says).iter().any(|word| is_of_type(word, value)),
            "minimum" => value.as_f64().is_none_or(|value| value >= says.as_f64().unwrap_or(0.0)),
            "maximum" => value.as_f64().is_none_or(|value| value <= says.as_f64().unwrap_or(0.0)),
            "pattern" => value.as_str().is_none_or(|text| regex(says).is_match(text)),
            "required" => {
                list(says).iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "items" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().try_for_each(|item| check(whole, says, item))?;
                true
            }
            other => return Err(format!("the schema says `{other}`")),
        };
        if !fits {
            return Err(format!("{value} is not as `{word}` says: {says}"));
        }
    }
    value.as_object().map_or(Ok(()), |entries| properties(whole, words, entries))
}

fn properties(
    whole: &Value,
    schema: &Map<String, Value>,
    entries: &Map<String, Value>,
) -> Result<(), String> {
    for (name, value) in entries {
        let own = schema.get("properties").and_then(|all| all.get(name));
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let mut patterns = patterns.into_iter().flatten();
        let mut by_pattern =
            || patterns.find(|(pattern, _)| Regex::new(pattern).expect("a pattern").is_match(name));
        match own.or_else(|| by_pattern().map(|(_, schema)| schema)) {
            Some(schema) => check(whole, schema, value)?,
            None => match schema.get("additionalProperties") {
                None => {}
                Some(Value::Bool(false)) => return Err(format!("`{name}` is not known")),
                Some(schema) => check(whole, schema, value)?,
            },
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn types(says: &Value) -> Vec<&str> {
    match says {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        word => word.as_str().into_iter().collect(),
    }
}

fn is_of_type(word: &str, value: &Value) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("the schema has a type `{other}`"),
    }
}

fn regex(says: &Value) -> Regex {
    Regex::new(says.as_str().expect("a pattern")).expect("a pattern")
}
