//! No key of the schema, nor of its tables, is without a test here.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tine::config;

/// Names in a schema, of keys and of what is in their tables.
fn names(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(words) => {
            for (word, says) in words {
                if let ("properties", Some(properties)) = (&**word, says.as_object()) {
                    found.extend(properties.keys().cloned());
                }
                names(says, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The tests beside this one, statement by statement, without what is only named in passing.
fn sources() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/keys");
    let files = fs::read_dir(folder).expect("the tests are there");
    let paths = files.map(|entry| entry.expect("it is listed").path());
    let others = paths.filter(|path| !path.ends_with("complete.rs"));
    others.map(|path| fs::read_to_string(path).expect("it is text")).collect()
}

/// Whether a file of a test has the key, or all spellings of it are tried.
fn is_tried(sources: &str, key: &str) -> bool {
    let forms = [
        "case(\"KEY\",",
        "each(\"KEY\",",
        "spellings(\"KEY\")",
        "(\"KEY\",",
        "\"KEY\":",
        "[\"KEY\"]=",
        "[KEY]",
    ];
    forms.iter().any(|form| sources.contains(&form.replace("KEY", key)))
}

#[test]
fn every_key_of_the_schema_is_in_a_test_that_looks_at_its_effect() {
    let mut all = BTreeSet::new();
    names(&config::schema(), &mut all);
    assert!(all.len() > 120, "they are found: {}", all.len());
    // Another name is tried with its key, in every spelling.
    let aliases: BTreeSet<&str> =
        config::keys::all().flat_map(|key| key.aliases).copied().collect();
    let sources: String = sources().split_whitespace().collect();
    let own = all.iter().filter(|name| !aliases.contains(name.as_str()));
    let missing: Vec<&String> = own.filter(|name| !is_tried(&sources, name)).collect();
    assert!(missing.is_empty(), "in no test of its effect: {missing:?}");
}
