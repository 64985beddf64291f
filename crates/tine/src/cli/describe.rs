//! `tine describe`.

use std::{collections::BTreeMap, process::ExitCode};

use super::{jlist, print, print_json, session::Session, show::Show, table};
use crate::{
    api::apps::{AppView, Detail},
    render::{self, Screen, Versions},
};

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
        let apps: Vec<_> = apps.into_iter().map(with_versions).collect();
        print(&render::describe(&apps, table::now(), screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn with_versions(app: AppView) -> (AppView, Versions) {
    let program = app.workers.first().map(|worker| &worker.exec_path);
    let version = program.and_then(|program| table::version(program));
    let node = jlist::node_version(&app, &mut BTreeMap::new());
    (app, Versions { app: version, node })
}
