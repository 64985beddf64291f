//! What the README tells people to type is there.
#![forbid(unsafe_code)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("the repository has a README")
}

/// The lines of code blocks that run tine: the command and the words after it.
fn commands(readme: &str) -> Vec<Vec<&str>> {
    let blocks = readme.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.map(|line| line.trim_start_matches("$ ").split_whitespace().collect());
    let after = |line: Vec<_>| -> Option<Vec<_>> {
        match *line.as_slice() {
            ["tine", ref rest @ ..] | ["cargo", "run", "--release", "--", ref rest @ ..] => {
                Some(rest.to_vec())
            }
            _ => None,
        }
    };
    words.filter_map(after).collect()
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tine")).args([command, "--help"]).output();
    let output = output.expect("the program is built");
    assert!(output.status.success(), "`tine {command} --help` fails");
    String::from_utf8(output.stdout).expect("the help is UTF-8")
}

/// The options that a help text explains, as whole words.
fn options(help: &str) -> BTreeSet<&str> {
    help.split(|c: char| c.is_whitespace() || c == ',').filter(|w| w.starts_with('-')).collect()
}

#[test]
fn every_command_and_option_of_the_readme_exists() {
    let readme = readme();
    let commands = commands(&readme);
    assert!(commands.iter().any(|words| words.first() == Some(&"run")), "{commands:?}");
    for words in commands {
        let (command, rest) = words.split_first().expect("a command follows");
        let help = help(command);
        let known = options(&help);
        for option in rest.iter().take_while(|word| **word != "--").filter(|w| w.starts_with('-')) {
            assert!(known.contains(option), "`tine {command}` has no {option}");
        }
    }
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let readme = readme();
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let examples = readme.split_whitespace().filter(|word| word.starts_with("examples/"));
    let named: Vec<&str> = links.chain(examples).collect();
    assert!(named.len() > 3, "{named:?}");
    for file in named {
        assert!(root().join(file).exists(), "{file} is named, and is not there");
    }
}
