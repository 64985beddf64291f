//! `cargo xtask chaos`: what gets lost while workers are replaced, killed and broken, and the manager too.
//!
//! An open-loop load with known answers (`compliance`'s) is kept up while one thing after another is done
//! to the app: under tine with each mechanism and each kind of program, and under those that people use
//! in its place. What was found is in `docs/nothing-lost.md`.

mod app;
mod cluster;
mod docs;
mod guard;
mod gunicorn;
mod kept;
mod line_up;
mod pm2;
mod row;
mod scenario;
mod stage;
mod table;
mod tine;
mod trial;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use row::Row;

/// Lose requests, if there is a way
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Args {
    /// How long each scenario goes on, at least
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often each scenario is played; stalls are medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Only rows that have these words in what `--list` prints; may be given again
    #[arg(long, value_name = "WORDS")]
    only: Vec<String>,
    /// Not those that have these
    #[arg(long, value_name = "WORDS")]
    skip: Vec<String>,
    /// Name the rows, and run none
    #[arg(long)]
    list: bool,
    /// Run this binary instead of building one
    #[arg(long, value_name = "PATH")]
    tine: Option<PathBuf>,
    /// Tell the first failures of each row in full
    #[arg(long)]
    tell: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Write the tables into docs/nothing-lost.md; rows that are not run now are as they were last time
    #[arg(long)]
    write_docs: bool,
    #[arg(long, hide = true, value_name = "MARK")]
    guard: Option<String>,
}

/// Runs all rows; 1 if a target is missed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(mark) = &args.guard {
        return guard::keep(mark).map(|()| ExitCode::SUCCESS);
    }
    let entries = line_up::chosen(&args.only, &args.skip);
    ensure!(!entries.is_empty(), "no row has these words: `--list` names them");
    if args.list {
        for (entry, scenario) in &entries {
            println!("{}", entry.name(*scenario));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tools = Tools::ready(args)?;
    let rows = kept::merged(trial::play(&entries, &tools)?, args.write_docs)?;
    report(args, &rows)
}

fn report(args: &Args, rows: &[Row]) -> Result<ExitCode> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(rows)?);
    } else {
        println!("{}", table::whole(rows));
    }
    if args.write_docs {
        docs::write(rows)?;
    }
    let missed = row::missed(rows);
    for what in &missed {
        eprintln!("missed: {what}");
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What all rows are run with.
struct Tools {
    tine: PathBuf,
    /// pm2's script.
    pm2: PathBuf,
    gunicorn: PathBuf,
    time: Duration,
    rounds: u16,
    tell: bool,
    /// Of this working tree.
    commit: String,
}

impl Tools {
    fn ready(args: &Args) -> Result<Self> {
        let target = root().join("target");
        if args.tine.is_none() {
            build()?;
        }
        let tine = args.tine.clone().unwrap_or_else(|| target.join("release/tine"));
        let tine = tine.canonicalize().with_context(|| format!("find {}", tine.display()))?;
        Ok(Self {
            tine,
            pm2: target.join("bench/node_modules/pm2/bin/pm2"),
            gunicorn: target.join("venv/bin/gunicorn"),
            time: Duration::from_secs(args.seconds),
            rounds: args.rounds,
            tell: args.tell,
            commit: docs::said("git", &["rev-parse", "--short", "HEAD"])?,
        })
    }
}

fn build() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--package", "tine"]).current_dir(root());
    ensure!(cargo.status().context("start cargo")?.success(), "cargo build failed");
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}
