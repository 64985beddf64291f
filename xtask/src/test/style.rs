//! House rules that no other tool checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::command::{cargo, root};
use super::report::Case;

/// The line that has the compiler refuse unsafe code in a crate and all its modules.
const FORBID: &str = "#![forbid(unsafe_code)]";

/// The one crate that may hold unsafe code.
const UNSAFE_CRATE: &str = "tine-linux";

/// Lines of a file without its tests.
const MAX_LINES: usize = 400;

pub(crate) fn check() -> anyhow::Result<Vec<Case>> {
    Ok(vec![
        case(
            &format!("style: every crate but {UNSAFE_CRATE} forbids unsafe code"),
            &unforbidden()?,
        ),
        case(&format!("style: no file is over {MAX_LINES} lines without its tests"), &too_long()?),
    ])
}

fn case(name: &str, offences: &[String]) -> Case {
    if offences.is_empty() {
        return Case::passed(name);
    }
    Case::failed(name, offences.concat())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

/// The crate roots, tests and examples among them, that lack the forbidding line.
fn unforbidden() -> anyhow::Result<Vec<String>> {
    let mut offences = Vec::new();
    for package in metadata()?.packages.iter().filter(|package| package.name != UNSAFE_CRATE) {
        for Target { src_path } in &package.targets {
            let text = fs::read_to_string(src_path)?;
            if !text.lines().any(|line| line == FORBID) {
                offences.push(format!("{}: no {FORBID}\n", src_path.display()));
            }
        }
    }
    Ok(offences)
}

fn metadata() -> anyhow::Result<Metadata> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    serde_json::from_slice(&output.stdout).context("read what cargo metadata says")
}

fn too_long() -> anyhow::Result<Vec<String>> {
    let mut offences = Vec::new();
    for folder in ["crates", "compliance", "examples", "fuzz", "invariants", "xtask"] {
        for path in rust_files(&root().join(folder))? {
            let lines = lines_without_tests(&fs::read_to_string(&path)?);
            if lines > MAX_LINES {
                offences.push(format!("{}: {lines} lines\n", path.display()));
            }
        }
    }
    Ok(offences)
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn lines_without_tests(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}
