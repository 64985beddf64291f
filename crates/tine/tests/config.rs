//! Configuration files, as a user writes them.
#![forbid(unsafe_code)]

#[path = "config/docs.rs"]
mod docs;
#[path = "config/files.rs"]
mod files;
#[path = "config/keys.rs"]
mod keys;
#[path = "config/scripts.rs"]
mod scripts;
#[path = "config/shapes.rs"]
mod shapes;
#[path = "config/wrong.rs"]
mod wrong;

use std::path::Path;

use tine::{
    config::{self, ConfigError, Loaded, Selection, Source},
    spec::AppSpec,
};

use self::files::Files;

/// Loads a file of a directory, as seen from it.
fn load(files: &Files, name: &str) -> Result<Loaded, ConfigError> {
    load_env(files, name, None)
}

fn load_env(files: &Files, name: &str, env: Option<&str>) -> Result<Loaded, ConfigError> {
    let wanted = Selection { env_name: env.map(str::to_owned), only: Vec::new() };
    config::load_from(&Source::Path(name.into()), &wanted, files.path())
}

/// The only app of a text, as standard input.
fn one(text: &str) -> AppSpec {
    let (spec, warnings) = one_with_warnings(text);
    assert!(warnings.is_empty(), "{warnings:?}");
    spec
}

fn one_with_warnings(text: &str) -> (AppSpec, Vec<String>) {
    let loaded = stdin(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let [patch] = loaded.apps.as_slice() else { panic!("{loaded:?}") };
    (patch.clone().apply_to_default().expect("a spec"), loaded.warnings)
}

fn stdin(text: &str) -> Result<Loaded, ConfigError> {
    let source = Source::Stdin(text.to_owned());
    config::load_from(&source, &Selection::default(), Path::new("/no/where"))
}

fn specs(loaded: &Loaded) -> Vec<AppSpec> {
    loaded.apps.iter().map(|patch| patch.clone().apply_to_default().expect("a spec")).collect()
}

fn names(loaded: &Loaded) -> Vec<String> {
    specs(loaded).into_iter().map(|spec| spec.name).collect()
}
