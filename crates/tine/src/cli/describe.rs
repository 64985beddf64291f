//! `tine describe`.

use std::process::ExitCode;

use super::{print, print_json, session::Session, show::Show, table};
use crate::{api::apps::Detail, render, render::Screen};

const EXAMPLES: &str = "\
Examples:
  tine describe api      its settings, workers, ports, what happened to it, its last lines
  tine describe 3        one worker
  tine describe all --json";

/// The arguments of `tine describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names, ids, namespaces, `all` or `/expressions/`
    #[arg(required = true, value_name = "APP")]
    targets: Vec<String>,
    #[command(flatten)]
    show: Show,
}

/// Prints everything about these apps; 1 if there is none.
///
/// # Errors
///
/// As the manager says.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let apps = session.apps(Detail::Full, &args.targets)?;
    if args.show.json {
        print_json(&apps)?;
    } else {
        print(&render::describe(&apps, table::now(), screen))?;
    }
    Ok(ExitCode::SUCCESS)
}
