//! From what a file says of one app to a patch.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    error::{Problem, hint},
    interpreter,
    keys::{self, Key, Place},
    kind::{self, Fault, Kind, Read, at, boolean, text},
    parts,
    tree::{Data, Entry, Tree},
    watch,
};
use crate::{
    program::{self, Wanted},
    spec::{Env, Mode, Patch},
};

/// What holds for all apps of a file.
pub(super) struct Context<'a> {
    /// As it was named.
    pub(super) file: &'a str,
    /// A key that is not known is an error, not a warning.
    pub(super) strict: bool,
    /// What relative paths are relative to.
    pub(super) base: &'a Path,
    /// Where the script may be if it is not there.
    pub(super) beside: Option<&'a Path>,
    /// The environment that was asked for.
    pub(super) env_name: Option<&'a str>,
    /// `deploy.NAME.env`.
    pub(super) deploy_env: Option<&'a Tree>,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// One app, as it comes out.
pub(super) struct App {
    /// As the file calls it, before an environment is appended.
    pub(super) base_name: String,
    /// Whether the file gives the name.
    pub(super) named: bool,
    pub(super) name: String,
    pub(super) line: Option<u32>,
    pub(super) patch: Patch,
}

/// The keys of one app by our names, and its environments.
pub(super) struct Keys<'t> {
    pub(super) line: Option<u32>,
    found: BTreeMap<&'static str, &'t Entry>,
    environments: Vec<(&'t str, &'t Tree)>,
}

impl<'t> Keys<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&'t Tree> {
        let value = &self.found.get(name)?.value;
        (value.data != Data::Null).then_some(value)
    }
}

impl Context<'_> {
    /// Reads one app. What is wrong is kept in `errors`, and the rest is read on.
    pub(super) fn app(&mut self, tree: &Tree, named: Option<&str>) -> Option<App> {
        let known = tree.get("name").and_then(text).or_else(|| named.map(str::to_owned));
        let keys = self.keys(tree, known.as_deref());
        let mut one = One { context: self, name: known.clone(), patch: Patch::new() };
        let Some(script) = script(&keys) else {
            one.fail(Fault {
                line: keys.line,
                text: "`script` is missing: what is to run?".into(),
            });
            return None;
        };
        let base_name = known.unwrap_or_else(|| name_of(&script));
        one.name = Some(base_name.clone());
        let name = one.full_name(&keys, &base_name);
        one.patch.set("name", &name);
        let cwd = one.cwd(&keys, &script);
        one.program(&keys, &script, &cwd);
        one.plain(&keys, &cwd);
        one.env(&keys);
        one.logs(&keys, &name, &cwd);
        if let Some(watch) = one.read(watch::watch(&keys, &cwd)) {
            one.patch.set("watch", watch);
        }
        let named = tree.get("name").is_some() || named.is_some();
        let patch = one.patch;
        Some(App { base_name, named, name, line: keys.line, patch })
    }

    /// Sorts out the keys, and says which are unknown.
    fn keys<'t>(&mut self, tree: &'t Tree, app: Option<&str>) -> Keys<'t> {
        let mut keys = Keys { line: tree.line, found: BTreeMap::new(), environments: Vec::new() };
        // Our own name goes before another one for the same thing.
        let (own, other): (Vec<_>, Vec<_>) = tree
            .entries()
            .iter()
            .partition(|entry| keys::find(&entry.name).is_some_and(|key| key.name == entry.name));
        for entry in own.into_iter().chain(other) {
            match (keys::find(&entry.name), keys::environment(&entry.name)) {
                (Some(key), _) => self.known(&mut keys, key, entry, app),
                (None, Some(name)) => keys.environments.push((name, &entry.value)),
                (None, None) => self.unknown(entry, app),
            }
        }
        keys
    }

    fn known<'t>(&mut self, keys: &mut Keys<'t>, key: &Key, entry: &'t Entry, app: Option<&str>) {
        if let Some(first) = keys.found.get(key.name) {
            let text = format!("`{}` says the same as `{}`, which counts", entry.name, first.name);
            self.warn(entry.line, app, text);
            return;
        }
        if let (Place::Note(note), true) = (key.place, boolean(&entry.value) != Some(false)) {
            self.warn(entry.line, app, format!("`{}` {note}", entry.name));
        }
        keys.found.insert(key.name, entry);
    }

    fn unknown(&mut self, entry: &Entry, app: Option<&str>) {
        let hint = hint(keys::meant(&entry.name));
        let text = format!("unknown key `{}`{hint}", entry.name);
        if self.strict {
            self.fail(entry.line, app, text);
        } else {
            self.warn(entry.line, app, text);
        }
    }

    fn problem(&self, line: Option<u32>, app: Option<&str>, text: String) -> Problem {
        Problem { file: self.file.to_owned(), line, app: app.map(str::to_owned), text }
    }

    pub(super) fn warn(&mut self, line: Option<u32>, app: Option<&str>, text: String) {
        let problem = self.problem(line, app, text);
        self.warnings.push(problem);
    }

    pub(super) fn fail(&mut self, line: Option<u32>, app: Option<&str>, text: String) {
        let problem = self.problem(line, app, text);
        self.errors.push(problem);
    }
}

/// What the app is called when nobody says.
pub(super) fn name_of(script: &str) -> String {
    program::name(&Wanted {
        words: vec![OsString::from(script)],
        interpreter: None,
        interpreter_args: Vec::new(),
        directory: None,
        env: Vec::new(),
    })
}

/// The app that is being read.
struct One<'c, 'a> {
    context: &'c mut Context<'a>,
    name: Option<String>,
    patch: Patch,
}

impl One<'_, '_> {
    fn fail(&mut self, fault: Fault) {
        let name = self.name.take();
        self.context.fail(fault.line, name.as_deref(), fault.text);
        self.name = name;
    }

    fn warn(&mut self, line: Option<u32>, text: String) {
        let name = self.name.take();
        self.context.warn(line, name.as_deref(), text);
        self.name = name;
    }

    fn read<T>(&mut self, read: Read<T>) -> Option<T> {
        read.map_err(|fault| self.fail(fault)).ok()
    }

    /// Reads a key by the type that it has in the table.
    fn key(&mut self, keys: &Keys<'_>, name: &str, cwd: &Path) -> Option<Value> {
        let tree = keys.get(name)?;
        let key = keys::find(name).expect("a key of the table");
        self.read(in_key(name, key.kind.read(tree, cwd))).filter(|value| !value.is_null())
    }

    fn flag(&mut self, keys: &Keys<'_>, name: &str) -> bool {
        self.key(keys, name, Path::new("/")) == Some(Value::Bool(true))
    }

    fn full_name(&mut self, keys: &Keys<'_>, base: &str) -> String {
        let mut name = base.to_owned();
        if let Some(Value::String(prefix)) = self.key(keys, "name_prefix", Path::new("/")) {
            name = format!("{prefix}:{name}");
        }
        let append = self.flag(keys, "append_env_to_name");
        match self.context.env_name {
            Some(env) if append => format!("{name}-{env}"),
            Some(_) | None => name,
        }
    }

    /// Where it runs. A script that is not below the caller's directory but beside the file was meant there.
    fn cwd(&mut self, keys: &Keys<'_>, script: &str) -> PathBuf {
        let base = self.context.base;
        let cwd = match (self.key(keys, "cwd", base), self.context.beside) {
            (Some(cwd), _) => cwd.as_str().map_or_else(|| base.to_owned(), PathBuf::from),
            (None, Some(beside)) if !base.join(script).exists() && is_file(beside, script) => {
                let text = format!(
                    "there is no `{script}` in {}, so it runs in {}, where the file is",
                    base.display(),
                    beside.display()
                );
                self.warn(keys.line, text);
                beside.to_owned()
            }
            (None, _) => base.to_owned(),
        };
        self.patch.set("cwd", &cwd);
        cwd
    }

    fn program(&mut self, keys: &Keys<'_>, script: &str, cwd: &Path) {
        let mut script = script.trim().to_owned();
        let is_file = is_file(cwd, &script);
        if is_file {
            script = at(cwd, &script).to_string_lossy().into_owned();
        }
        self.patch.set("script", &script);
        let interpreter = keys.get("interpreter").and_then(text).filter(|word| !word.is_empty());
        if let Some(word) = interpreter {
            let line = keys.get("interpreter").and_then(|tree| tree.line);
            let found = interpreter::resolve(&word).map_err(|text| Fault { line, text });
            if let Some(word) = self.read(found) {
                self.patch.set("interpreter", word);
            }
        }
        self.mode(keys, &script, is_file);
    }

    /// As pm2 has it: node apps with a number of instances are cluster apps.
    fn mode(&mut self, keys: &Keys<'_>, script: &str, is_file: bool) {
        let instances = self.key(keys, "instances", Path::new("/"));
        if let Some(instances) = &instances {
            self.patch.set("instances", instances);
        }
        let said = self.key(keys, "exec_mode", Path::new("/"));
        let interpreter = keys.get("interpreter").and_then(text);
        let node = interpreter::is_node(interpreter.as_deref(), script, is_file);
        if let Some(mode) = said {
            self.patch.set("exec_mode", mode);
        } else if self.flag(keys, "execute_command") {
            self.patch.set("exec_mode", Mode::Fork);
        } else if instances.is_some() && node {
            self.patch.set("exec_mode", Mode::Cluster);
        }
    }

    /// Every key that stands for itself.
    fn plain(&mut self, keys: &Keys<'_>, cwd: &Path) {
        for key in keys::all() {
            let Place::Spec(place) = key.place else { continue };
            if self.patch.get(place).is_some() {
                continue;
            }
            if let Some(value) = self.key(keys, key.name, cwd) {
                self.patch.set(place, value);
            }
        }
    }

    /// From the bottom: the deployment's, the app's, those of the environment that was asked for.
    fn env(&mut self, keys: &Keys<'_>) {
        let wanted = self.context.env_name;
        let deploy = self.context.deploy_env.filter(|_| wanted.is_some());
        let chosen = keys.environments.iter().find(|(name, _)| Some(*name) == wanted);
        if let (Some(wanted), None, None) = (wanted, chosen, deploy) {
            let known = keys.environments.iter().map(|(name, _)| *name);
            let hint = hint(super::suggest::nearest(wanted, known));
            self.warn(keys.line, format!("there is no `env_{wanted}` for --env {wanted}{hint}"));
        }
        let mut env = Env::new();
        let layers = [deploy, keys.get("env"), chosen.map(|(_, tree)| *tree)];
        for tree in layers.into_iter().flatten() {
            env.extend(self.read(in_key("env", parts::variables(tree))).unwrap_or_default());
        }
        // The others are looked at too: a mistake in them should not wait for its day.
        for (name, tree) in &keys.environments {
            if Some(*name) != wanted {
                self.read(in_key(&format!("env_{name}"), parts::variables(tree)));
            }
        }
        if !env.is_empty() {
            self.patch.set("env", env);
        }
        if let Some(name) = wanted {
            self.patch.set("env_name", name);
        }
    }

    fn logs(&mut self, keys: &Keys<'_>, name: &str, cwd: &Path) {
        let mut logs = Map::new();
        for key in keys::LOGS {
            let Place::Log(place) = key.place else { continue };
            if let Some(value) = self.key(keys, key.name, cwd) {
                logs.insert(place.to_owned(), value);
            }
        }
        if keys.get("log_file").and_then(boolean) == Some(true) {
            // Below the home, beside the others: the manager knows where.
            logs.insert("combined_file".to_owned(), json!(format!("{}.log", file_name(name))));
        } else if let Some(path) = self.key(keys, "log_file", cwd)
            && path != json!("/dev/null")
        {
            logs.insert("combined_file".to_owned(), path);
        }
        let format = self.key(keys, "log_date_format", cwd);
        let time = self.flag(keys, "time").then(|| json!("YYYY-MM-DDTHH:mm:ss"));
        if let Some(format) = format.filter(|format| format != "").or(time) {
            logs.insert("date_format".to_owned(), format);
        }
        if !logs.is_empty() {
            self.patch.set("logs", logs);
        }
    }
}

fn script(keys: &Keys<'_>) -> Option<String> {
    keys.get("script").and_then(text).filter(|script| !script.trim().is_empty())
}

/// Names the key in what is wrong with its value.
pub(super) fn in_key<T>(name: &str, read: Read<T>) -> Read<T> {
    read.map_err(|fault| Fault { text: format!("`{name}`: {}", fault.text), ..fault })
}

fn is_file(directory: &Path, script: &str) -> bool {
    kind::at(directory, script).is_file()
}

/// A name that can be one of a file.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

impl Kind {
    /// A key of the table without its table: for those that are read together.
    pub(super) fn read_key(self, keys: &Keys<'_>, name: &str, cwd: &Path) -> Read<Option<Value>> {
        let Some(tree) = keys.get(name) else { return Ok(None) };
        in_key(name, self.read(tree, cwd)).map(|value| Some(value).filter(|value| !value.is_null()))
    }
}
