//! `tine rollback` and `tine promote`.

use std::process::ExitCode;

use super::{
    session::{Session, need},
    show::Show,
    targets,
};
use crate::{
    api::apps::{AppRequest, Targets},
    render::Screen,
};

pub(super) const ROLLBACK: &str = "\
Examples:
  tine rollback api      the configuration before the last change, new workers before old ones
  tine rollback all
After `tine reload --keep-old` or `--canary` the old workers serve again at once, and the new ones leave.
A rollback is a change too: a second one goes forth again.";

pub(super) const PROMOTE: &str = "\
Examples:
  tine promote api       the canary gets all connections, and the old version leaves
  tine promote all       likewise for what `tine reload --keep-old` keeps";

/// The arguments of `tine rollback` and `tine promote`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, namespaces, `all`, `/expressions/`, scripts, or files of apps
    #[arg(required = true, value_name = "APP")]
    words: Vec<String>,
    #[command(flatten)]
    show: Show,
}

/// Goes back to what ran before; 1 if an app has nothing to go back to.
///
/// # Errors
///
/// As the manager says.
pub fn rollback(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    run(args, screen, AppRequest::Rollback)
}

/// Lets the old version leave; 1 if none is kept.
///
/// # Errors
///
/// As the manager says.
pub fn promote(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    run(args, screen, AppRequest::Promote)
}

fn run(
    args: &Args,
    screen: Screen,
    request: fn(Targets) -> AppRequest,
) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let targets = targets::resolve(&args.words, &mut session)?;
    need(&targets, "the file has no apps")?;
    session.carry_out(&request(Targets::of(targets)))
}
