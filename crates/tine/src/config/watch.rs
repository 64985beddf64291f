//! The keys that say together what is watched.

use std::path::{Path, PathBuf};

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
        watch.ignore.extend(ignore);
    }
    if let Some(ignored) = keys.get("watch_options").and_then(|options| options.get("ignored")) {
        let more = texts(ignored).ok_or_else(|| Fault::expected(Kind::Texts.words(), ignored));
        watch.ignore.extend(in_key("watch_options", more)?);
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

/// Sets one key of what was read already.
fn set(watch: &mut Watch, key: &str, value: &Value) {
    let mut whole = serde_json::to_value(&*watch).expect("plain data");
    whole[key] = value.clone();
    *watch = serde_json::from_value(whole).expect("a value of the key's type");
}

fn what(tree: &Tree, cwd: &Path, mut watch: Watch) -> Read<Option<Watch>> {
    let paths = |paths: &[String]| paths.iter().map(|path| at(cwd, path)).collect::<Vec<PathBuf>>();
    match (&tree.data, boolean(tree)) {
        (_, Some(false)) => return Ok(None),
        (_, Some(true)) => watch.paths = vec![cwd.to_owned()],
        (Data::Map(entries), _) => table(entries, cwd, &mut watch)?,
        (_, _) => {
            let said = texts(tree).ok_or_else(|| Fault::expected(Kind::Watch.words(), tree))?;
            watch.paths = paths(&said);
        }
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
    Ok(())
}
