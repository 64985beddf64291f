//! `tine save`, `tine resurrect` and `tine cleardump`: the list of apps on disk.

use std::process::ExitCode;

use super::{session::Session, show::Show};
use crate::{api::apps::AppRequest, render::Screen};

const SAVE: &str = "\
Examples:
  tine save             what runs now is what `tine resurrect` brings back
  tine save --no-env    without environments: no secret reaches the disk
  tine save --force     also when the list is empty";

const RESURRECT: &str = "\
Examples:
  tine resurrect        starts the saved apps that are not there; stopped ones stay stopped";

const CLEAR: &str = "\
Examples:
  tine cleardump        forgets the saved list; what runs goes on";

/// The arguments of `tine save`.
#[derive(Debug, clap::Args)]
#[command(after_help = SAVE)]
pub struct SaveArgs {
    /// Also if there is no app
    #[arg(short, long)]
    force: bool,
    /// Without environments
    #[arg(long)]
    no_env: bool,
    #[command(flatten)]
    show: Show,
}

/// The arguments of `tine resurrect`.
#[derive(Debug, clap::Args)]
#[command(after_help = RESURRECT)]
pub struct ResurrectArgs {
    #[command(flatten)]
    show: Show,
}

/// The arguments of `tine cleardump`.
#[derive(Debug, clap::Args)]
#[command(after_help = CLEAR)]
pub struct ClearArgs {
    #[command(flatten)]
    show: Show,
}

/// Writes the list.
///
/// # Errors
///
/// As the manager says.
pub fn save(args: &SaveArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    if args.force {
        session.start_manager()?;
    }
    let request = AppRequest::Save { force: args.force, no_env: args.no_env };
    let outcomes = session.act(&request)?;
    session.tell(&outcomes)
}

/// Starts the saved apps; starts the manager for it.
///
/// # Errors
///
/// As the manager says.
pub fn resurrect(args: &ResurrectArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    Session::open(&args.show, screen)?.carry_out(&AppRequest::Resurrect)
}

/// Forgets the saved list.
///
/// # Errors
///
/// As the manager says.
pub fn clear(args: &ClearArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(&args.show, screen)?;
    let outcomes = session.act(&AppRequest::ClearDump)?;
    session.tell(&outcomes)
}
