//! Files of apps, as words of a command line.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::options::{AppOptions, Place};
use crate::{
    api::{
        apps::{Known, Start},
        reload::Rolling,
    },
    config::{self, Loaded, Selection, Source},
    spec::{Env, Patch},
};

/// What of a file is wanted.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Files of apps")]
pub(super) struct Choice {
    /// Only these apps of a file, with commas between them
    #[arg(long, value_name = "APPS", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Give known apps the environment of this shell, in place of the one that they had
    #[arg(short = 'a', long)]
    pub(super) update_env: bool,
}

/// Which apps of a file are meant, of those that are there.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Files of apps")]
pub(super) struct Part {
    /// Only these apps of a file, with commas between them
    #[arg(long, value_name = "APPS", value_delimiter = ',')]
    only: Vec<String>,
    /// As it was started with: the name of an app may depend on it
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

/// Whether the word names a file of apps.
pub(super) fn is_file_of_apps(word: &str) -> bool {
    config::is_config_file(Path::new(word))
}

/// The same, or standard input.
pub(super) fn is_source(word: &str) -> bool {
    word == "-" || is_file_of_apps(word)
}

/// Reads a file, standard input (`-`), or the file of this directory. Warnings are said.
pub(super) fn load(
    word: Option<&str>,
    only: &[String],
    env: Option<&str>,
) -> anyhow::Result<Loaded> {
    let wanted = Selection { env_name: env.map(str::to_owned), only: only.to_vec() };
    let loaded = config::load(&source(word)?, &wanted)?;
    for warning in &loaded.warnings {
        eprintln!("tine: {warning}");
    }
    Ok(loaded)
}

fn source(word: Option<&str>) -> anyhow::Result<Source> {
    match word {
        Some("-") => {
            let text = io::read_to_string(io::stdin()).context("read standard input")?;
            Ok(Source::Stdin(text))
        }
        Some(word) => Ok(Source::Path(PathBuf::from(word))),
        None => default_file(),
    }
}

fn default_file() -> anyhow::Result<Source> {
    let here = std::env::current_dir().context("look at the working directory")?;
    let Some(path) = config::default_file(&here) else {
        bail!(
            "nothing to start is named, and {} has no tine.toml or ecosystem.config.js: `tine start \
             SCRIPT` starts a script, `tine init` writes a file to begin with",
            here.display()
        );
    };
    let name = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
    Ok(Source::Path(name))
}

/// The apps of a file, with what the options say of them.
pub(super) fn start(
    word: Option<&str>,
    choice: &Choice,
    options: &AppOptions,
    place: &Place,
) -> anyhow::Result<Start> {
    let loaded = load(word, &choice.only, options.environment())?;
    if options.name().is_some() && loaded.apps.len() > 1 {
        bail!(
            "--name is for one app, and the file has {}: choose it with --only",
            loaded.apps.len()
        );
    }
    let over = |mut app: Patch| {
        let name = app.get("name").and_then(Value::as_str).map(str::to_owned);
        app.merge(options.patch(place, name.as_deref()));
        app
    };
    Ok(Start {
        apps: loaded.apps.into_iter().map(over).collect(),
        inherited: Env::new(),
        known: Known::Restart,
        update_env: choice.update_env,
        whole: true,
        idle: BTreeSet::new(),
        rolling: Rolling::default(),
    })
}

/// What the apps of a file are called.
pub(super) fn names(word: &str, part: &Part) -> anyhow::Result<Vec<String>> {
    let loaded = load(Some(word), &part.only, part.env.as_deref())?;
    let names = loaded.apps.iter().filter_map(|app| app.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}
