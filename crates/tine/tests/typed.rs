//! Whatever the documents, the help texts, the errors and the unit files tell people (or init systems) to
//! type can be typed: the command is there, and has the options.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use regex_lite::Regex;
use tine::cli::Cli;

/// A line of this project that names a command of tine's.
struct Typed {
    at: String,
    command: String,
    options: Vec<String>,
}

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().unwrap();
    let mut found =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|it| root.join(it)).to_vec();
    files(&root.join("docs"), "md", &mut found);
    files(&root.join("crates/tine/src"), "rs", &mut found);
    found
}

/// In backticks, at the beginning of an example's line, after a prompt, or by its path in a unit.
fn typed(path: &Path) -> Vec<Typed> {
    let place = r"(?:`|^\s*(?:\$ )?|&& |=)(?:sudo )?(?:tine|\{tine\}) ";
    let words = Regex::new(&format!("{place}{}", r#"([a-z][A-Za-z]*)([^`#|;&"\\]*)"#)).unwrap();
    let option = Regex::new(r"(?:^|[\s\[])(--?[a-zA-Z][a-zA-Z-]*)").unwrap();
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.contains("there is no `") || line.trim_end().ends_with(':') {
            continue;
        }
        for words in words.captures_iter(line) {
            // What follows `--`, or the name of a script, is the program's own.
            let rest = words[2].split(" -- ").next().unwrap_or_default();
            // Examples explain themselves after two blanks.
            let rest = rest.split("  ").next().unwrap_or_default().to_owned();
            let options = option.captures_iter(&rest).map(|it| it[1].to_owned());
            found.push(Typed {
                at: format!("{}:{number}: {}", path.display(), line.trim()),
                command: words[1].to_owned(),
                options: options.collect(),
            });
        }
    }
    found
}

fn has(command: &clap::Command, option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => command.get_arguments().any(|it| {
            it.get_long() == Some(long) || it.get_all_aliases().unwrap_or_default().contains(&long)
        }),
        None => option[1..].chars().take(1).all(|short| {
            command.get_arguments().any(|it| {
                it.get_short() == Some(short)
                    || it.get_all_short_aliases().unwrap_or_default().contains(&short)
            })
        }),
    }
}

#[test]
fn whatever_is_said_to_be_typed_can_be_typed() {
    let mut tine = Cli::command();
    tine.build();
    let all: Vec<Typed> = sources().iter().flat_map(|path| typed(path)).collect();
    assert!(all.len() > 150, "they are found: {}", all.len());
    let mut wrong = Vec::new();
    for Typed { at, command, options } in all {
        let Some(command) = tine.find_subcommand(&command) else {
            wrong.push(format!("no command `{command}`: {at}"));
            continue;
        };
        let missing = options.iter().filter(|option| !has(command, option));
        wrong.extend(missing.map(|option| format!("no option `{option}`: {at}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
