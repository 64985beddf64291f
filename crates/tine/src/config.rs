//! Configuration files: tine's own, pm2's in all its forms, and Procfiles, all read to the same patches.
//!
//! ```text
//!  toml · json · yaml · script · procfile      a format each, to values with lines (`tree`)
//!                    │
//!                  shape                       where in them the apps are
//!                    │
//!        app · keys · kind · parts · watch     each key by one table: its names, its type, its place
//!                    │
//!                  Loaded                      patches, warnings
//! ```
//!
//! A key that is not known, or a value that is not of its type, is told with its line and with what was
//! likely meant. In `tine.toml` an unknown key is an error; pm2 has always passed over those of its own
//! files, so there it is a warning.

mod app;
mod dump;
mod error;
mod interpreter;
mod json;
pub mod keys;
pub mod kind;
mod parts;
mod procfile;
mod schema;
mod script;
mod shape;
mod statics;
mod suggest;
mod table;
mod toml;
mod tree;
mod watch;
pub mod words;
mod yaml;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use self::{
    app::{App, Context},
    script::{Answer, Job},
    tree::{Data, Syntax, Tree},
};
use crate::spec::Patch;

pub use dump::{import_dump, pm2_dump_file};
pub use error::{ConfigError, Problem};
pub use schema::schema;
pub use suggest::nearest;
pub use table::markdown;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file; its name says the format.
    Path(PathBuf),
    /// What standard input had: JSON or JavaScript as pm2 takes it, TOML or YAML.
    Stdin(String),
}

/// What of it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The environment (`--env`): `env_NAME` is laid over `env`.
    pub env_name: Option<String>,
    /// These apps only (`--only`); all if there are none.
    pub only: Vec<String>,
}

/// What a configuration says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// One for each app, also for those that are a directory to be served: `name`, `script` and `cwd` are set,
    /// and all paths are absolute.
    pub apps: Vec<Patch>,
    /// The names of those that are to be known and not started: they stood still where they come from.
    pub idle: BTreeSet<String>,
    /// What is worth a word, a sentence each, with file and line.
    pub warnings: Vec<String>,
    /// The file, absolute; `None` for standard input.
    pub origin: Option<PathBuf>,
}

/// The formats, by the names of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Toml,
    Json,
    Yaml,
    JavaScript,
    Procfile,
}

/// What is looked for where no file is named, in this order.
const DEFAULTS: [&str; 17] = [
    "tine.toml",
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.mjs",
    "ecosystem.json",
    "ecosystem.yaml",
    "ecosystem.yml",
    "pm2.config.js",
    "pm2.config.cjs",
    "pm2.config.mjs",
    "pm2.json",
    "pm2.yaml",
    "pm2.yml",
    "process.json",
    "process.yaml",
    "process.yml",
    "Procfile",
];

/// The configuration of a directory, if it has one.
#[must_use]
pub fn default_file(directory: &Path) -> Option<PathBuf> {
    DEFAULTS.iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

/// Whether a word of a command line names a configuration rather than a script. (`server.js` is a script,
/// `server.config.js` is not.)
#[must_use]
pub fn is_config_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match format(path) {
        Some(Format::JavaScript) => name.contains(".config."),
        Some(Format::Toml | Format::Json | Format::Yaml | Format::Procfile) => true,
        None => false,
    }
}

fn format(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    if name == "Procfile" || name.starts_with("Procfile.") {
        return Some(Format::Procfile);
    }
    match path.extension()?.to_str()? {
        "toml" => Some(Format::Toml),
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        "js" | "cjs" | "mjs" | "ts" | "cts" | "mts" => Some(Format::JavaScript),
        _ => None,
    }
}

/// Reads a configuration, as seen from the directory of this process.
///
/// # Errors
///
/// With everything that is wrong in it.
pub fn load(source: &Source, wanted: &Selection) -> Result<Loaded, ConfigError> {
    let here = env::current_dir()
        .map_err(|source| ConfigError::Read { path: PathBuf::from("."), source })?;
    load_from(source, wanted, &here)
}

/// Reads a configuration, as seen from this directory.
///
/// # Errors
///
/// With everything that is wrong in it.
pub fn load_from(source: &Source, wanted: &Selection, here: &Path) -> Result<Loaded, ConfigError> {
    let (file, document) = match source {
        Source::Path(path) => {
            let format = format(path).ok_or_else(|| ConfigError::Format(path.clone()))?;
            let shown = path.display().to_string();
            let absolute = here.join(path);
            let document = open(&shown, &absolute, format, here)?;
            (File { shown, absolute: Some(absolute), format: Some(format) }, document)
        }
        Source::Stdin(text) => {
            let shown = "standard input".to_owned();
            let document = guess(&shown, text, here)?;
            (File { shown, absolute: None, format: None }, document)
        }
    };
    read(&file, document, wanted, here)
}

/// The file, for messages and for paths.
struct File {
    shown: String,
    absolute: Option<PathBuf>,
    format: Option<Format>,
}

impl File {
    /// What relative paths are relative to, and where else a script may be.
    fn places<'a>(&'a self, here: &'a Path) -> (&'a Path, Option<&'a Path>) {
        let beside = self.absolute.as_deref().and_then(Path::parent);
        match self.format {
            Some(Format::Toml | Format::Procfile) => (beside.unwrap_or(here), None),
            Some(Format::Json | Format::Yaml | Format::JavaScript) | None => (here, beside),
        }
    }
}

/// What a file came to, before its keys are looked at.
struct Document {
    tree: Tree,
    notes: Vec<String>,
}

impl From<Tree> for Document {
    fn from(tree: Tree) -> Self {
        Self { tree, notes: Vec::new() }
    }
}

impl From<Answer> for Document {
    fn from(Answer { tree, notes }: Answer) -> Self {
        Self { tree, notes }
    }
}

fn open(shown: &str, path: &Path, format: Format, here: &Path) -> Result<Document, ConfigError> {
    let wrong = |source| ConfigError::Read { path: PathBuf::from(shown), source };
    let bytes = fs::read(path).map_err(wrong)?;
    let text = String::from_utf8_lossy(&bytes);
    let parse: fn(&str) -> Result<Tree, Syntax> = match format {
        Format::Toml => toml::parse,
        Format::Yaml => yaml::parse,
        Format::Procfile => procfile::parse,
        Format::Json => return json_or_script(shown, path, &text, here),
        Format::JavaScript => {
            let job = Job { shown, file: path, text: None, directory: here };
            return script::run(job).map(Document::from);
        }
    };
    parse(&text).map(Document::from).map_err(|error| ConfigError::syntax(shown, error))
}

/// What pm2 takes for JSON may be any expression. The error of one that is neither is about the JSON.
fn json_or_script(
    shown: &str,
    path: &Path,
    text: &str,
    here: &Path,
) -> Result<Document, ConfigError> {
    json::parse(text).map(Document::from).or_else(|syntax| {
        let job = Job { shown, file: path, text: Some(text), directory: here };
        match script::run(job) {
            Ok(answer) => Ok(answer.into()),
            Err(slow @ ConfigError::Slow { .. }) => Err(slow),
            Err(_) => Err(ConfigError::syntax(shown, syntax)),
        }
    })
}

/// Standard input has no name that would say its format.
fn guess(shown: &str, text: &str, here: &Path) -> Result<Document, ConfigError> {
    let whole = |tree: &Tree| match &tree.data {
        Data::Map(entries) => !entries.is_empty(),
        Data::List(items) => items.iter().all(Tree::is_map),
        Data::Null | Data::Bool(_) | Data::Number(_) | Data::Text(_) => false,
    };
    if let Ok(tree) = json::parse(text) {
        return Ok(tree.into());
    }
    if let Some(tree) = toml::parse(text).ok().filter(whole) {
        return Ok(tree.into());
    }
    if let Some(tree) = yaml::parse(text).ok().filter(whole) {
        return Ok(tree.into());
    }
    json_or_script(shown, &here.join("stdin.json"), text, here)
}

fn read(
    file: &File,
    document: Document,
    wanted: &Selection,
    here: &Path,
) -> Result<Loaded, ConfigError> {
    let (base, beside) = file.places(here);
    let mut context = Context {
        file: &file.shown,
        strict: file.format == Some(Format::Toml),
        base,
        beside,
        env_name: wanted.env_name.as_deref(),
        deploy_env: shape::deploy_env(&document.tree, wanted.env_name.as_deref()),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut found = shape::read(&mut context, &document.tree);
    if !context.errors.is_empty() {
        return Err(ConfigError::Invalid(context.errors));
    }
    let mut warnings = document.notes;
    warnings.extend(context.warnings.iter().map(ToString::to_string));
    if found.is_empty() {
        return Err(ConfigError::Empty(file.shown.clone()));
    }
    only(&file.shown, &mut found, &wanted.only)?;
    let origin = file.absolute.clone();
    let patch = |App { mut patch, .. }| {
        if let Some(origin) = &origin {
            patch.set("origin", origin);
        }
        patch
    };
    let apps = found.into_iter().map(patch).collect();
    Ok(Loaded { apps, idle: BTreeSet::new(), warnings, origin })
}

/// Keeps the apps that were asked for.
fn only(file: &str, found: &mut Vec<App>, names: &[String]) -> Result<(), ConfigError> {
    if names.is_empty() {
        return Ok(());
    }
    let both = |app: &'_ App| [app.name.clone(), app.base_name.clone()];
    let known: Vec<String> = found.iter().flat_map(both).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        let mut all = known.clone();
        all.dedup();
        return Err(ConfigError::Only {
            file: file.to_owned(),
            name: name.clone(),
            meant: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            known: all.join(", "),
        });
    }
    found.retain(|app| names.contains(&app.name) || names.contains(&app.base_name));
    Ok(())
}
