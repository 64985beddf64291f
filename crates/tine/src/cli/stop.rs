//! `tine stop` and `tine delete`.

use std::process::ExitCode;

use super::{
    file::Part,
    session::{Session, need},
    show::{Forced, Show},
    targets, values,
};
use crate::{
    api::apps::{AppRequest, Targets},
    render::Screen,
    spec::Millis,
};

pub(super) const STOP: &str = "\
Examples:
  tine stop api          connections finish, then the workers stop; the app stays in the list
  tine stop 0 2          two workers by their ids
  tine stop all
  tine stop api --watch  its files are not watched any more, also when it is started again
  tine stop /^web-/      all whose names match
  tine stop tine.toml    the apps of a file";

pub(super) const DELETE: &str = "\
Examples:
  tine delete api        stopped, and out of the list; its log files stay
  tine delete all
  tine delete server.js  every app that runs this script";

/// The arguments of `tine stop` and `tine delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, ids, namespaces, `all`, `/expressions/`, scripts, or files of apps
    #[arg(required = true, value_name = "APP")]
    words: Vec<String>,
    /// Do not watch its files any more, when it runs again neither
    #[arg(long)]
    watch: bool,
    /// Connections have so long to finish this time, such as 5s or 2m; then they are cut [default: the app's]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    drain_timeout: Option<Millis>,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    forced: Forced,
}

/// Stops, and shows what became of it; 1 if there is no such app.
///
/// # Errors
///
/// As the manager says.
pub fn stop(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    run(args, screen, AppRequest::Stop)
}

/// Stops and forgets; 1 if there is no such app.
///
/// # Errors
///
/// As the manager says.
pub fn delete(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    run(args, screen, AppRequest::Delete)
}

fn run(
    args: &Args,
    screen: Screen,
    request: fn(Targets) -> AppRequest,
) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let targets = targets::resolve_part(&args.words, &args.part, &mut session)?;
    need(&targets, "the file has no apps")?;
    if args.watch {
        session.act(&AppRequest::Unwatch(Targets::of(targets.clone())))?;
    }
    session.carry_out(&request(Targets { targets, drain_timeout: args.drain_timeout }))
}
