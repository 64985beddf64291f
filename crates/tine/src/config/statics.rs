//! Directories that are served as they are: pm2's `static`, and `script: "serve"`.
//!
//! The program that serves them is this one, as an app, told by its environment what to serve.

use std::{env, path::Path};

use super::{
    kind::{Fault, Read, at, boolean, number, text},
    tree::{Data, Entry, Tree},
};
use crate::spec::Patch;

/// The script that means our own static server.
const SCRIPT: &str = "serve";

/// pm2's port.
const PORT: &str = "8080";

/// One of `static` as an app. All keys of an app are as good there.
pub(super) fn app(tree: &Tree, named: Option<&str>, base: &Path) -> Read<Tree> {
    let mut app = vec![entry("script", SCRIPT)];
    let mut env = vec![entry("PM2_SERVE_PATH", base.to_string_lossy())];
    for entry in tree.entries() {
        match variables(entry, base)? {
            Some(variables) => env.extend(variables),
            None => app.push(entry.clone()),
        }
    }
    let said = |name: &str| env.iter().rev().find(|variable| variable.name == name);
    let port = said("PM2_SERVE_PORT").and_then(|port| text(&port.value));
    let port = port.unwrap_or_else(|| PORT.to_owned());
    if named.is_none() && tree.get("name").is_none() {
        app.push(entry("name", format!("static-page-server-{port}")));
    }
    env.push(entry("PM2_SERVE_PORT", port));
    let given = app.iter().find(|entry| entry.name == "env").map(|entry| entry.value.clone());
    env.extend(given.iter().flat_map(|given| given.entries().to_vec()));
    app.retain(|entry| entry.name != "env");
    app.push(Entry { name: "env".into(), line: None, value: Tree::new(None, Data::Map(env)) });
    Ok(Tree::new(tree.line, Data::Map(app)))
}

/// What a key of a static means to the server; `None` for a key of an app.
fn variables(given: &Entry, base: &Path) -> Read<Option<Vec<Entry>>> {
    let Entry { name, value, .. } = given;
    let wrong = |what: &str| {
        let Fault { line, text } = Fault::expected(what, value);
        Fault { line, text: format!("`{name}`: {text}") }
    };
    let word = || text(value).ok_or_else(|| wrong("a text"));
    let flag = || boolean(value).map(|flag| flag.to_string()).ok_or_else(|| wrong("true or false"));
    let set = |name: &str, value: String| Ok(Some(vec![entry(name, value)]));
    match name.as_str() {
        "path" => set("PM2_SERVE_PATH", at(base, &word()?).to_string_lossy().into_owned()),
        "port" => {
            let port = number(value, 1, 65535).map_err(|_| wrong("a port"))?;
            set("PM2_SERVE_PORT", port.to_string())
        }
        "host" => set("PM2_SERVE_HOST", word()?),
        "spa" => set("PM2_SERVE_SPA", flag()?),
        "ftp" | "directory" => set("PM2_SERVE_FTP", flag()?),
        "monitor" => Ok(Some(Vec::new())),
        "basic_auth" if boolean(value) == Some(false) => Ok(Some(Vec::new())),
        "basic_auth" => {
            let part = |name: &str| value.get(name).and_then(text);
            let pair = part("username").zip(part("password"));
            let (user, password) =
                pair.ok_or_else(|| wrong("a table with `username` and `password`"))?;
            Ok(Some(vec![
                entry("PM2_SERVE_BASIC_AUTH", "true"),
                entry("PM2_SERVE_BASIC_AUTH_USERNAME", user),
                entry("PM2_SERVE_BASIC_AUTH_PASSWORD", password),
            ]))
        }
        _ => Ok(None),
    }
}

fn entry(name: &str, text: impl Into<String>) -> Entry {
    let value = Tree::new(None, Data::Text(text.into()));
    Entry { name: name.to_owned(), line: None, value }
}

/// Puts this program in for pm2's word.
pub(super) fn resolve(patch: &mut Patch) {
    if patch.get("script").is_none_or(|script| script != SCRIPT) {
        return;
    }
    // By its name where it cannot tell its place: then it is in `PATH`.
    let tine = env::current_exe().unwrap_or_else(|_| "tine".into());
    patch.set("script", tine);
    patch.set("interpreter", "none");
    patch.set("args", [SCRIPT, "--foreground"]);
}
