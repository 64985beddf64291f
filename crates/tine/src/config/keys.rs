//! Every key of an app, once: the reader, `docs/configuration.md` and the schema for editors are made from
//! these tables.

mod connections;
mod life;
mod program;

use super::{kind::Kind, suggest::nearest};

pub use connections::CONNECTIONS;
pub use life::{LIFE, LOGS, OTHER};
pub use program::{ENVIRONMENT, PROGRAM};

/// A key of an app.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As we write it.
    pub name: &'static str,
    /// As it may be written too. Every one of them also goes in camelCase and with hyphens.
    pub aliases: &'static [&'static str],
    /// Of its value.
    pub kind: Kind,
    /// As it would be written; empty for none.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Where it goes.
    pub(crate) place: Place,
}

/// Where a key's value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To this key of the spec.
    Spec(&'static str),
    /// To this key of the spec's `logs`.
    Log(&'static str),
    /// It is read together with others.
    With,
    /// pm2 has it, and here it changes nothing that anybody would miss.
    Nothing,
    /// pm2 has it, and whoever sets it should know why it changes nothing here.
    Note(&'static str),
}

/// Some keys that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// A heading.
    pub title: &'static str,
    /// In the order in which they are worth reading.
    pub keys: &'static [Key],
}

/// All keys.
pub const GROUPS: [Group; 6] = [
    Group { title: "The program", keys: PROGRAM },
    Group { title: "Its environment", keys: ENVIRONMENT },
    Group { title: "Workers and their connections", keys: CONNECTIONS },
    Group { title: "Starts, stops and restarts", keys: LIFE },
    Group { title: "Output", keys: LOGS },
    Group { title: "Accepted from pm2's files, without effect", keys: OTHER },
];

/// One key; the short form for the tables.
const fn key(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key { name, aliases, kind, default, about, place: Place::Spec(name) }
}

impl Key {
    /// For a spec that calls it otherwise.
    const fn to(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// Every key of every group.
pub fn all() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys)
}

/// The key that is meant by a name of a file: our name or another one, in any spelling.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    let snake = snake(name);
    all().find(|key| key.name == snake || key.aliases.contains(&snake.as_str()))
}

/// What an unknown name was likely meant to be.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    let known = all().flat_map(|key| key.aliases.iter().chain([&key.name])).copied();
    nearest(&snake(name), known)
}

/// `maxMemoryRestart` and `max-memory-restart` as `max_memory_restart`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        before = c;
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

/// The name of an environment, of a key such as `env_production`.
pub(crate) fn environment(name: &str) -> Option<&str> {
    let known = find(name).is_some();
    name.strip_prefix("env_").or_else(|| name.strip_prefix("env-")).filter(|_| !known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_means_two_keys_and_all_are_written_in_our_way() {
        let mut seen = BTreeSet::new();
        for name in all().flat_map(|key| key.aliases.iter().chain([&key.name])) {
            assert!(seen.insert(*name), "{name} twice");
            assert_eq!(snake(name), *name);
        }
    }

    #[test]
    fn every_spelling_of_a_name_finds_its_key() {
        for (spelling, name) in [
            ("max_memory_restart", "max_memory_restart"),
            ("maxMemoryRestart", "max_memory_restart"),
            ("max-memory-restart", "max_memory_restart"),
            ("interpreterArgs", "interpreter_args"),
            ("nodeArgs", "interpreter_args"),
            ("execInterpreter", "interpreter"),
            ("windowsHide", "windows_hide"),
            ("errFile", "error_file"),
        ] {
            assert_eq!(find(spelling).map(|key| key.name), Some(name), "{spelling}");
        }
        assert!(find("banana").is_none());
        assert_eq!(meant("max_memry_restart"), Some("max_memory_restart"));
    }

    #[test]
    fn environments_are_told_from_keys_that_begin_alike() {
        assert_eq!(environment("env_production"), Some("production"));
        assert_eq!(environment("env_file"), None);
        assert_eq!(environment("env"), None);
    }
}
