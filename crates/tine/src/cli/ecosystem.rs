//! `tine init`: a file to begin with.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};

use super::{print, print_json};

const EXAMPLES: &str = "\
Examples:
  tine init                 writes tine.toml with what there is to say, explained
  tine init ecosystem       writes ecosystem.config.js, as pm2 does
  tine init simple          the same without comments";

const TOML: &str = include_str!("ecosystem/tine.toml");
const ECOSYSTEM: &str = include_str!("ecosystem/ecosystem.config.js");
const SIMPLE: &str = include_str!("ecosystem/simple.config.js");

/// The arguments of `tine init`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which file
    #[arg(value_enum, default_value = "tine")]
    kind: Kind,
    /// Print JSON: the file's name
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// tine.toml
    Tine,
    /// ecosystem.config.js
    Ecosystem,
    /// ecosystem.config.js, short
    Simple,
}

/// Writes a file into the working directory; one that is there is left alone.
///
/// # Errors
///
/// When it is there already, or cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (name, text) = match args.kind {
        Kind::Tine => ("tine.toml", TOML),
        Kind::Ecosystem => ("ecosystem.config.js", ECOSYSTEM),
        Kind::Simple => ("ecosystem.config.js", SIMPLE),
    };
    let file = OpenOptions::new().write(true).create_new(true).open(name);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{name} is here already, and is left as it is")
        }
        file => file.with_context(|| format!("make {name} in this directory"))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("write {name}"))?;
    if args.json {
        print_json(&serde_json::json!({ "written": name }))?;
    } else {
        print(&format!("{name} is written; edit it, then: tine start\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
