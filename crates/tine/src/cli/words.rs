//! Command lines as pm2's users type them.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{Arg, ArgAction, Command};

/// Of this process. The commands are looked at only if an option comes first.
#[must_use]
pub fn of_process(command: fn() -> Command) -> Vec<OsString> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let option = words.get(1).is_some_and(|word| word.to_string_lossy().starts_with('-'));
    if option { command_first(&command(), words) } else { words }
}

/// Puts options that stand before the command behind it (`tine -n api start app.js`), where the command
/// knows them.
fn command_first(command: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let takes_value = options_with_value(command);
    let own: BTreeSet<String> = names(command).collect();
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        if word == "--" || own.contains(word) {
            return words;
        }
        at += 1 + usize::from(takes_value.contains(word));
    }
    if at > 1 && at < words.len() {
        let name = words.remove(at);
        words.insert(1, name);
    }
    words
}

/// Of any command, as they are typed.
fn options_with_value(command: &Command) -> BTreeSet<String> {
    let with = |arg: &&Arg| {
        let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        // A value that may be missing would swallow the command.
        let always = arg.get_num_args().is_none_or(|range| range.min_values() > 0);
        takes && always && !arg.is_positional()
    };
    command
        .get_subcommands()
        .flat_map(|sub| sub.get_arguments().filter(with).flat_map(of))
        .collect()
}

/// The names of a command's own options.
fn names(command: &Command) -> impl Iterator<Item = String> {
    let own = command.get_arguments().flat_map(of);
    own.chain(["-h", "--help", "-V", "-v", "--version"].map(str::to_owned))
}

fn of(arg: &Arg) -> Vec<String> {
    let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let longs = longs.into_iter().map(|long| format!("--{long}"));
    longs.chain(shorts.into_iter().map(|short| format!("-{short}"))).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn turned(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = command_first(&Cli::command(), words);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_before_the_command_go_behind_it() {
        for (typed, meant) in [
            ("tine -n api start app.js", "tine start -n api app.js"),
            ("tine -i 3 --name=api start a -- -x", "tine start -i 3 --name=api a -- -x"),
            ("tine --silent stop all", "tine stop --silent all"),
            ("tine --watch start app.js", "tine start --watch app.js"),
            ("tine start -n api app.js", "tine start -n api app.js"),
            ("tine -i -1 start a", "tine start -i -1 a"),
            ("tine --version", "tine --version"),
            ("tine ls", "tine ls"),
            ("tine", "tine"),
            ("tine -s", "tine -s"),
        ] {
            assert_eq!(turned(typed), meant);
        }
    }
}
