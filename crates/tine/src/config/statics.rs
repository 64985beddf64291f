//! Directories that are served as they are: pm2's `static`, and `script: "serve"`.

use std::path::{Path, PathBuf};

use super::{
    kind::{Fault, Read, at, boolean, number, text},
    tree::{Entry, Tree},
};
use crate::spec::{Env, Patch};

/// A directory that is to be served by HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Static {
    /// What the app is called.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    /// To listen on.
    pub port: u16,
    /// To listen on; all addresses when not said.
    pub host: Option<String>,
    /// What is not found is answered with `index.html`.
    pub spa: bool,
    /// Directories are listed.
    pub listing: bool,
    /// A user and a password that are asked for.
    pub basic_auth: Option<(String, String)>,
    /// All further keys of an app; its `script` is not set.
    pub patch: Patch,
}

/// pm2's port.
const PORT: u16 = 8080;

/// Reads one of `static`.
pub(super) fn read(tree: &Tree, named: Option<&str>, base: &Path) -> Read<Static> {
    let mut one = Static { port: PORT, path: base.to_owned(), ..Static::default() };
    let mut name = named.map(str::to_owned);
    for Entry { name: key, line, value } in tree.entries() {
        let wrong = |what: &str| {
            let Fault { line, text } = Fault::expected(what, value);
            Fault { line, text: format!("`{key}`: {text}") }
        };
        let flag = || boolean(value).ok_or_else(|| wrong("true or false"));
        let word = || text(value).ok_or_else(|| wrong("a text"));
        match key.as_str() {
            "name" => name = Some(word()?),
            "path" => one.path = at(base, &word()?),
            "port" => one.port = port(number(value, 1, 65535).map_err(|_| wrong("a port"))?),
            "host" => one.host = Some(word()?),
            "spa" => one.spa = flag()?,
            "ftp" | "directory" | "listing" => one.listing |= flag()?,
            "basic_auth" => one.basic_auth = auth(value).map_err(|()| wrong(AUTH))?,
            "monitor" => {}
            _ => return Err(Fault { line: *line, text: format!("unknown key `{key}`") }),
        }
    }
    one.name = name.unwrap_or_else(|| format!("static-page-server-{}", one.port));
    one.patch.set("name", &one.name);
    one.patch.set("cwd", base);
    Ok(one)
}

const AUTH: &str = "a table with `username` and `password`";

fn auth(tree: &Tree) -> Result<Option<(String, String)>, ()> {
    if boolean(tree) == Some(false) {
        return Ok(None);
    }
    let word = |name: &str| tree.get(name).and_then(text).ok_or(());
    Ok(Some((word("username")?, word("password")?)))
}

fn port(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(PORT)
}

/// An app whose script is `serve` takes its settings from its environment.
pub(super) fn of_app(name: &str, mut patch: Patch, cwd: &Path) -> Static {
    let env: Env = patch
        .get("env")
        .and_then(|env| serde_json::from_value(env.clone()).ok())
        .unwrap_or_default();
    let of = |name: &str| env.get(&format!("PM2_SERVE_{name}"));
    let flag = |name: &str| of(name).is_some_and(|value| value == "true");
    let user = of("BASIC_AUTH_USERNAME").zip(of("BASIC_AUTH_PASSWORD"));
    patch.unset("script");
    Static {
        name: name.to_owned(),
        path: at(cwd, of("PATH").map_or(".", String::as_str)),
        port: of("PORT").and_then(|port| port.parse().ok()).unwrap_or(PORT),
        host: of("HOST").cloned(),
        spa: flag("SPA"),
        listing: flag("FTP") || flag("DIRECTORY"),
        basic_auth: user
            .filter(|_| flag("BASIC_AUTH"))
            .map(|(user, word)| (user.clone(), word.clone())),
        patch,
    }
}
