//! Every command, every alias and every option is typed by some test, with the real program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use clap::{Arg, Command, CommandFactory};
use tine::cli::Cli;

/// Options that so many commands have are one group, made once: one test with one of them will do.
const SHARED: usize = 3;

/// The words of a statement of a test.
type Words = BTreeSet<String>;

/// All statements of the tests that run the program.
fn statements() -> Vec<Words> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in [root.join("tests"), root.join("../../compliance/tests")] {
        read(&folder, &mut sources);
    }
    let of = |(stem, source): &(String, String)| -> Vec<Words> {
        source.split(';').map(|statement| words(&format!("{stem} {statement}"))).collect()
    };
    sources.iter().flat_map(of).collect()
}

/// What a folder of tests holds, and how each file is called: one that has a command's name types no other.
/// This file names options without typing them.
fn read(folder: &Path, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the tests are there") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("coverage.rs") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            sources.push((stem, fs::read_to_string(&path).expect("it is text")));
        }
    }
}

fn words(statement: &str) -> Words {
    let part = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_';
    statement.split(part).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn names(command: &Command) -> Vec<&str> {
    command.get_all_aliases().chain([command.get_name()]).collect()
}

/// As they are typed: `--name` and `-n`.
fn spellings(arg: &Arg) -> Vec<String> {
    let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let longs = longs.into_iter().map(|long| format!("--{long}"));
    longs.chain(shorts.into_iter().map(|short| format!("-{short}"))).collect()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        let visible = !arg.is_hide_set() && !arg.is_positional();
        visible && !matches!(arg.get_id().as_str(), "help" | "version")
    })
}

#[test]
fn every_command_and_every_alias_is_typed_by_a_test() {
    let statements = statements();
    let cli = Cli::command();
    let all = cli.get_subcommands().flat_map(names);
    let untested: Vec<_> =
        all.filter(|name| !statements.iter().any(|words| words.contains(*name))).collect();
    assert!(untested.is_empty(), "in no test: {untested:?}");
}

#[test]
fn every_option_of_every_command_is_typed_by_a_test() {
    let statements = statements();
    let mut cli = Cli::command();
    cli.build();
    let mut owners: BTreeMap<String, Vec<&Command>> = BTreeMap::new();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        for option in options(command) {
            owners.entry(spellings(option).join(" ")).or_default().push(command);
        }
    }
    let typed = |option: &str, command: &Command| {
        statements.iter().any(|words| {
            option.split(' ').any(|option| words.contains(option))
                && names(command).iter().any(|name| words.contains(*name))
        })
    };
    let mut untested = Vec::new();
    for (option, commands) in &owners {
        let missing: Vec<_> = commands.iter().filter(|command| !typed(option, command)).collect();
        let shared = commands.len() >= SHARED && missing.len() < commands.len();
        if !shared && !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(|command| command.get_name()).collect();
            untested.push(format!("{option} of {}", missing.join(", ")));
        }
    }
    assert!(untested.is_empty(), "in no test:\n{}", untested.join("\n"));
}

/// What shows a program's own output, or is a text for another program already.
const NO_JSON: [&str; 6] = ["attach", "completion", "help", "man", "run", "top"];

#[test]
fn every_command_that_prints_can_print_json() {
    let mut cli = Cli::command();
    cli.build();
    let has_json = |command: &&Command| {
        let alone = NO_JSON.contains(&command.get_name());
        alone || command.get_arguments().any(|arg| arg.get_long() == Some("json"))
    };
    let missing: Vec<_> = cli.get_subcommands().filter(|it| !has_json(it)).collect();
    let missing: Vec<_> = missing.iter().map(|command| command.get_name()).collect();
    assert!(missing.is_empty(), "no --json: {missing:?}");
}
