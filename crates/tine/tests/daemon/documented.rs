//! `docs/control-api.md` has every request, answer, field and event that there is in the code, and nothing in
//! its examples that is not.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex_lite::Regex;
use serde::de::DeserializeOwned;
use tine::api::{
    Kind, Request, Response, SeatState,
    apps::{AppRequest, AppResponse, Detail, Known, Status},
};
use tine_cluster::policy::{Acquisition, Mechanism, Policy};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/control-api.md")).expect("the page")
}

/// All words that the page has in backticks or in quotes of an example.
fn words() -> BTreeSet<String> {
    let page = page();
    let marked = ["`([^`\n]+)`", "\"([a-zA-Z_ -]+)\""].map(|it| Regex::new(it).expect("a pattern"));
    let texts = marked.iter().flat_map(|pattern| pattern.captures_iter(&page));
    let texts = texts.map(|it| it.get(1).map_or("", |text| text.as_str()));
    texts.flat_map(|text| [text].into_iter().chain(text.split('.'))).map(str::to_owned).collect()
}

/// The names that a type knows, by its refusal of one that it does not.
fn variants<T: DeserializeOwned>(wrong: &str) -> Vec<String> {
    let refusal = serde_json::from_str::<T>(wrong).err().expect("there is no such one").to_string();
    let (_, known) = refusal.split_once("expected ").expect("it says what it knows");
    let name = Regex::new("`([^`]+)`").expect("a pattern");
    name.captures_iter(known).map(|name| name[1].to_owned()).collect()
}

fn all_documented(what: &str, names: &[String]) {
    let words = words();
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(*name)).collect();
    assert!(
        !names.is_empty() && missing.is_empty(),
        "{what} not in docs/control-api.md: {missing:?}"
    );
}

#[test]
fn every_request_and_every_answer_is_documented() {
    let requests = variants::<AppRequest>(r#"{"request":"?"}"#);
    assert!(requests.len() > 20, "they are found: {requests:?}");
    all_documented("requests", &requests);
    all_documented("requests", &variants::<Request>(r#"{"request":"?"}"#));
    all_documented("answers", &variants::<AppResponse>(r#"{"response":"?","body":[]}"#));
    all_documented("answers", &variants::<Response>(r#"{"response":"?","body":[]}"#));
    // A row of the table says what each request has; an example says how it is written.
    let page = page();
    for request in requests {
        let row = page
            .lines()
            .find(|line| line.starts_with("| `") && line.contains(&format!("`{request}`")));
        assert!(row.is_some(), "`{request}` is in no row of the table");
        let example = format!("{{\"request\":\"{request}\"");
        assert!(page.contains(&example), "`{request}` has no example");
    }
}

#[test]
fn every_word_that_may_stand_for_something_is_documented() {
    all_documented("`known`", &variants::<Known>("\"?\""));
    all_documented("`detail`", &variants::<Detail>("\"?\""));
    all_documented("`status`", &variants::<Status>("\"?\""));
    all_documented("`kind`", &variants::<Kind>("\"?\""));
    all_documented("`state`", &variants::<SeatState>("\"?\""));
    all_documented("`policy`", &variants::<Policy>("\"?\""));
    all_documented("`mechanism`", &variants::<Mechanism>("\"?\""));
    all_documented("`acquisition`", &variants::<Acquisition>("\"?\""));
}

/// A source of the program without its tests.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("it is there");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// What the groups of this pattern are in the sources of a folder.
fn found(folder: &str, pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let mut all = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            let inner = fs::read_dir(path).expect("it is there");
            folders.extend(inner.map(|entry| entry.expect("it is listed").path()));
            continue;
        }
        for groups in pattern.captures_iter(&source(&path)) {
            let groups = groups.iter().skip(1).flatten();
            all.extend(groups.map(|group| group.as_str().to_owned()));
        }
    }
    all.into_iter().collect()
}

#[test]
fn every_field_is_documented() {
    let mut fields = BTreeSet::new();
    let field = Regex::new(r"(?m)^ +(?:pub )?([a-z_]+): ").expect("a pattern");
    let api = root().join("crates/tine/src");
    for file in ["api.rs", "api/apps.rs", "api/reload.rs", "api/told.rs", "api/verify.rs"] {
        let source = source(&api.join(file));
        fields.extend(field.captures_iter(&source).map(|it| it[1].to_owned()));
    }
    // What is flattened has no name of its own.
    fields.remove("rolling");
    assert!(fields.len() > 80, "they are found: {fields:?}");
    all_documented("fields", &fields.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_event_and_every_outcome_is_documented() {
    let page = page();
    let events = page.split_once("## Events").expect("a chapter").1;
    let events = events.split_once("\n## ").expect("another one").0;
    let mut said = found(
        "crates/tine/src/daemon",
        r#"\b(?:note|trouble)\([^";]*"([a-z-]+)"(?: \} else \{ "([a-z-]+)")?"#,
    );
    let guard = r#"(?:what: |Self::[A-Z][a-z]+ => )"([a-z-]+)""#;
    said.extend(found("crates/tine/src/supervise/guard.rs", guard));
    said.extend(found("crates/tine/src/supervise/guard/task.rs", guard));
    assert!(said.len() > 20, "they are found: {said:?}");
    let missing: Vec<_> =
        said.iter().filter(|word| !events.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "events not in docs/control-api.md: {missing:?}");
    let outcomes = r#"(?:\.done\(|done: |replies, |renamed\(outcome.done, |await_readiness\(|name.clone\(\), )"([a-z ]+)""#;
    let done = found("crates/tine/src/daemon", outcomes);
    assert!(done.len() > 12, "they are found: {done:?}");
    all_documented("outcomes", &done);
}

#[test]
fn every_example_is_what_the_program_reads_and_writes() {
    let page = page();
    let blocks = page.split("```\n").skip(1).step_by(2);
    let mut examples = 0;
    for block in blocks {
        // Two lines of the page are one where the second is indented.
        for line in block.replace("\n ", " ").lines() {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
                assert!(line.contains('…'), "{line}");
                continue;
            };
            let read = |own: bool, apps: bool| assert!(own || apps, "{line}");
            let of = |error: &str| line.contains(error);
            if value.get("request").is_some() && !of("\"tea\"") {
                read(as_one::<Request>(line), as_one::<AppRequest>(line));
            } else if value.get("response").is_some() {
                read(as_one::<Response>(line), as_one::<AppResponse>(line));
            }
            examples += 1;
        }
    }
    assert!(examples > 30, "they are found: {examples}");
}

fn as_one<T: DeserializeOwned>(line: &str) -> bool {
    serde_json::from_str::<T>(line).is_ok()
}
