//! `tine ports`: who listens where, with seats and queues.

mod foreign;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use super::{print, print_json, session::Session, show::Show, targets};
use crate::{
    api::{PortsReport, PortsView, Request, Response, UnreachableManager, VERSION, apps::Detail},
    client::Client,
    control::{Answer, ask_all},
    home::Home,
    render::{self, Screen},
};

/// What one manager may take; a hung one is named, the others are shown.
const PATIENCE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  tine ports                 every listener, worker by worker, and who else holds a port
  tine ports api 3           those of api, and of the app that worker 3 belongs to
  tine ports --json | jq '.managers[].listeners[].address'";

/// Arguments of `tine ports`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names, ids, namespaces, /expressions/ or files: their apps alone [without: all, and other programs]
    #[arg(value_name = "APP")]
    targets: Vec<String>,
    /// Print JSON (one object: version, managers, unreachable, foreign)
    #[arg(long)]
    pub json: bool,
    /// Show other programs' UNIX sockets as well
    #[arg(long)]
    pub unix: bool,
}

/// Prints every listening port; 0 also when a manager hangs.
///
/// # Errors
///
/// When the kernel does not tell its sockets, the run directory is not this user's alone, or there is no
/// such app.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut view = view(&Home::from_env()?, args.unix)?;
    if !args.targets.is_empty() {
        narrow(&mut view, &args.targets, screen)?;
    }
    if args.json {
        print_json(&view)?;
    } else {
        print(&render::ports(&view, screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks this user's managers and the kernel; `unix` takes foreign UNIX sockets in.
///
/// # Errors
///
/// When the kernel does not tell its sockets, or the run directory is not this user's alone.
pub fn view(home: &Home, unix: bool) -> anyhow::Result<PortsView> {
    let (mut managers, mut unreachable) = managers(home)?;
    match background(home) {
        Ok(apps) => managers.extend(apps),
        Err(error) => unreachable.push(error),
    }
    let foreign = foreign::listeners(&managers, unix)?;
    Ok(PortsView { version: VERSION, managers, unreachable, foreign })
}

/// Leaves these apps alone. An app of a `tine run` goes by its name, as no manager knows the others.
fn narrow(view: &mut PortsView, targets: &[String], screen: Screen) -> anyhow::Result<()> {
    let is_shown = |word: &String| view.managers.iter().any(|manager| manager.app == *word);
    let (mut names, others): (Vec<String>, Vec<String>) =
        targets.iter().cloned().partition(is_shown);
    if !others.is_empty() {
        let mut session = Session::find(&Show::default(), screen)?;
        let others = targets::resolve(&others, &mut session)?;
        names.extend(session.apps(Detail::Row, &others)?.into_iter().map(|app| app.name));
    }
    view.managers.retain(|manager| names.contains(&manager.app));
    view.foreign.clear();
    Ok(())
}

fn managers(home: &Home) -> anyhow::Result<(Vec<PortsReport>, Vec<UnreachableManager>)> {
    let Some(directory) = home.run_dir_if_there()? else { return Ok(Default::default()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime that asks the managers")?;
    let answers = runtime.block_on(ask_all(&directory, Request::Ports, PATIENCE))?;
    Ok(sort_out(answers))
}

/// What the background manager's apps listen on.
fn background(home: &Home) -> Result<Vec<PortsReport>, UnreachableManager> {
    Client::ports(home).map_err(|error| {
        let socket = home.root().join("run/daemon.sock").display().to_string();
        UnreachableManager { manager_pid: 0, socket, reason: error.to_string() }
    })
}

fn sort_out(answers: Vec<Answer>) -> (Vec<PortsReport>, Vec<UnreachableManager>) {
    let (mut reports, mut unreachable) = (Vec::new(), Vec::new());
    for Answer { manager, result } in answers {
        let reason = match result {
            Ok(Response::Ports(report)) => {
                reports.push(report);
                continue;
            }
            Ok(Response::Error(reason)) => reason,
            Err(error) => error.to_string(),
        };
        let socket = manager.path.display().to_string();
        unreachable.push(UnreachableManager { manager_pid: manager.pid, socket, reason });
    }
    (reports, unreachable)
}
