//! `tine reset`, `tine flush` and `tine reloadLogs`.

use std::process::ExitCode;

use super::{session::Session, show::Show};
use crate::{
    api::apps::{AppRequest, Detail, Targets},
    render::Screen,
};

const RESET: &str = "\
Examples:
  tine reset api     its restarts are counted from zero again
  tine reset all";

const FLUSH: &str = "\
Examples:
  tine flush         empties the log files of all apps
  tine flush api     of one";

const REOPEN: &str = "\
Examples:
  mv ~/.tine/logs/api-out.log /archive/ && tine reloadLogs";

/// The arguments of `tine reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = RESET)]
pub struct ResetArgs {
    /// Names, ids, namespaces, `all` or `/expressions/`
    #[arg(required = true, value_name = "APP")]
    targets: Vec<String>,
    #[command(flatten)]
    show: Show,
}

/// The arguments of `tine flush`.
#[derive(Debug, clap::Args)]
#[command(after_help = FLUSH)]
pub struct FlushArgs {
    /// Names, ids, namespaces or `/expressions/`; all apps if there are none
    #[arg(value_name = "APP")]
    targets: Vec<String>,
    #[command(flatten)]
    show: Show,
}

/// The arguments of `tine reloadLogs`.
#[derive(Debug, clap::Args)]
#[command(after_help = REOPEN)]
pub struct ReopenArgs {
    #[command(flatten)]
    show: Show,
}

/// Counts restarts from zero.
///
/// # Errors
///
/// As the manager says.
pub fn reset(args: ResetArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let session = Session::find(&args.show, screen)?;
    session.carry_out(&AppRequest::Reset(Targets::of(args.targets)))
}

/// Empties log files.
///
/// # Errors
///
/// As the manager says.
pub fn flush(args: FlushArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let all = vec!["all".to_owned()];
    let targets = if args.targets.is_empty() {
        // Of no app there is nothing to be emptied.
        if session.apps(Detail::Row, &[])?.is_empty() {
            return session.tell(&[]);
        }
        all
    } else {
        args.targets
    };
    let outcomes = session.act(&AppRequest::Flush(Targets::of(targets)))?;
    session.tell(&outcomes)
}

/// Opens log files anew.
///
/// # Errors
///
/// As the manager says.
pub fn reopen(args: &ReopenArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let outcomes = session.act(&AppRequest::ReopenLogs)?;
    session.tell(&outcomes)
}
