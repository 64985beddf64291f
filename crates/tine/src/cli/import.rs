//! `tine import`: the apps that pm2 has saved become apps of tine.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{inherited::inherited, print_json, session::Session, show::Show};
use crate::{
    api::apps::{AppRequest, Known, Start},
    config::{self, Loaded},
    render::Screen,
};

const EXAMPLES: &str = "\
Examples:
  pm2 save && tine import            the apps that pm2 has now, known to tine, not started
  pm2 kill && tine restart all       then one goes, and the other comes
  tine import --start old/dump.pm2   those of a file, and what ran under pm2 starts";

/// The arguments of `tine import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What `pm2 save` wrote [default: ~/.pm2/dump.pm2]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Start what ran under pm2, whose own programs should be stopped then
    #[arg(long)]
    start: bool,
    /// Print what would be taken over, as JSON, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    show: Show,
}

/// Takes over all apps, or none: if one of them is known already, nothing is done.
///
/// # Errors
///
/// When the file cannot be read, or as the manager says.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let Loaded { apps, idle, warnings, .. } = load(args)?;
    for warning in warnings {
        eprintln!("tine: {warning}");
    }
    if args.dry_run {
        print_json(&apps)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = || apps.iter().filter_map(|app| app.get("name")?.as_str().map(str::to_owned));
    let idle = if args.start { idle } else { names().collect() };
    let request = AppRequest::Start(Start {
        apps,
        inherited: inherited(),
        known: Known::Refuse,
        update_env: false,
        whole: true,
        idle,
    });
    Session::open(&args.show, screen)?.carry_out(&request)
}

fn load(args: &Args) -> anyhow::Result<Loaded> {
    match &args.file {
        Some(file) => Ok(config::import_dump(file)?),
        None => config::import_dump(&config::pm2_dump_file())
            .context("take over what pm2 has saved (`pm2 save` writes it)"),
    }
}
