//! The keys that say together what is watched.

use std::path::Path;

use serde_json::Value;

use super::{
    app::{Keys, in_key},
    kind::{Fault, Kind, Read, at, boolean, texts},
    tree::{Data, Entry, Tree},
};
use crate::spec::Watch;

/// `None` where nothing is watched.
pub(super) fn watch(keys: &Keys<'_>, cwd: &Path) -> Read<Option<Watch>> {
    let mut watch = Watch::default();
    if let Some(ignore) = Kind::Texts.read_key(keys, "ignore_watch", cwd)? {
        let ignore: Vec<String> = serde_json::from_value(ignore).unwrap_or_default();
        watch.ignore.extend(ignore.iter().map(|pattern| whole(cwd, pattern)));
    }
    if let Some(ignored) = keys.get("watch_options").and_then(|options| options.get("ignored")) {
        let more = texts(ignored).ok_or_else(|| Fault::expected(Kind::Texts.words(), ignored));
        let more = in_key("watch_options", more)?;
        watch.ignore.extend(more.iter().map(|pattern| whole(cwd, pattern)));
    }
    if let Some(delay) = Kind::Duration.read_key(keys, "watch_delay", cwd)? {
        set(&mut watch, "delay", &delay);
    }
    if let Some(action) = Kind::Action.read_key(keys, "watch_action", cwd)? {
        set(&mut watch, "action", &action);
    }
    let Some(tree) = keys.get("watch") else { return Ok(None) };
    in_key("watch", what(tree, cwd, watch))
}

/// A pattern that is a path from here is a whole path: any other one is looked for at every depth.
fn whole(cwd: &Path, pattern: &str) -> String {
    let is_path = ["./", "../", "~/"].iter().any(|start| pattern.starts_with(start));
    if is_path { at(cwd, pattern).to_string_lossy().into_owned() } else { pattern.to_owned() }
}

/// Sets one key of what was read already.
fn set(watch: &mut Watch, key: &str, value: &Value) {
    let mut whole = serde_json::to_value(&*watch).expect("plain data");
    whole[key] = value.clone();
    *watch = serde_json::from_value(whole).expect("a value of the key's type");
}

fn what(tree: &Tree, cwd: &Path, mut watch: Watch) -> Read<Option<Watch>> {
    match boolean(tree) {
        Some(false) => return Ok(None),
        Some(true) => {}
        None => match &tree.data {
            Data::Map(entries) => table(entries, cwd, &mut watch)?,
            Data::Null | Data::Bool(_) | Data::Number(_) | Data::Text(_) | Data::List(_) => {
                let said = texts(tree).ok_or_else(|| Fault::expected(Kind::Watch.words(), tree))?;
                watch.paths = said.iter().map(|path| at(cwd, path)).collect();
            }
        },
    }
    if watch.paths.is_empty() {
        watch.paths = vec![cwd.to_owned()];
    }
    Ok(Some(watch))
}

fn table(entries: &[Entry], cwd: &Path, watch: &mut Watch) -> Read<()> {
    for Entry { name, line, value } in entries {
        let kind = match name.as_str() {
            "paths" => Kind::Paths,
            "ignore" => Kind::Texts,
            "delay" => Kind::Duration,
            "action" => Kind::Action,
            _ => {
                let text = format!("unknown key `{name}`; there are paths, ignore, delay, action");
                return Err(Fault { line: *line, text });
            }
        };
        set(watch, name, &in_key(name, kind.read(value, cwd))?);
    }
    for pattern in &mut watch.ignore {
        *pattern = whole(cwd, pattern);
    }
    Ok(())
}
