//! `tine apply`: the list of apps becomes what a file says.

use std::process::ExitCode;

use super::{
    file::{self, Choice},
    inherited::inherited,
    session::Session,
    show::Show,
};
use crate::{api::apps::AppRequest, render::Screen};

const EXAMPLES: &str = "\
Examples:
  tine apply tine.toml --dry-run   says what would be done
  tine apply tine.toml             starts what is missing, reloads what has changed, leaves the rest
  tine apply tine.toml --prune     and deletes what is no longer in it";

/// The arguments of `tine apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file [default: tine.toml or ecosystem.config.js of this directory]
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Delete the apps that came from this file and are no longer in it
    #[arg(long)]
    prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The environment chosen from the file
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    show: Show,
}

/// Makes the list of apps what the file says; 1 if an app could not be.
///
/// # Errors
///
/// When the file cannot be read, or as the manager says.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let loaded = file::load(args.file.as_deref(), &args.choice.only, args.env.as_deref())?;
    let mut session = Session::open(&args.show, screen)?;
    let request = AppRequest::Apply {
        apps: loaded.apps,
        inherited: inherited(),
        prune: args.prune,
        origin: loaded.origin.unwrap_or_else(|| "-".into()),
        dry_run: args.dry_run,
    };
    if args.dry_run {
        let outcomes = session.act(&request)?;
        return session.tell(&outcomes);
    }
    session.carry_out(&request)
}
