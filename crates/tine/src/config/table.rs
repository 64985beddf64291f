//! The tables of `docs/configuration.md`: made from the same tables as everything else.

use std::fmt::Write;

use super::keys::{GROUPS, Group, Key};

/// Every key, as Markdown.
#[must_use]
pub fn markdown() -> String {
    GROUPS.iter().map(group).collect::<Vec<_>>().join("\n")
}

fn group(Group { title, keys }: &Group) -> String {
    let mut text = format!("### {title}\n\n| key | value | default | |\n|---|---|---|---|\n");
    for key in *keys {
        writeln!(text, "{}", row(key)).expect("a string takes everything");
    }
    text
}

fn row(key: &Key) -> String {
    let names = [&[key.name], key.aliases].concat();
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let default = match key.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    let cells = [names.join(", "), key.kind.words().to_owned(), default, key.about.to_owned()];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
