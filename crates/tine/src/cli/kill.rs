//! `tine kill` and `tine ping`: the manager itself.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    print, print_json,
    session::{Session, unexpected},
    show::{Forced, Show},
    table,
};
use crate::{
    api::apps::{AppRequest, AppResponse},
    render::Screen,
    units,
};

const KILL: &str = "\
Examples:
  tine kill              stops all apps, connections finishing first, and then the manager";

const PING: &str = "\
Examples:
  tine ping              exit code 0 if the manager answers, 1 if none runs
  tine ping --json";

/// The arguments of `tine kill`.
#[derive(Debug, clap::Args)]
#[command(after_help = KILL)]
pub struct KillArgs {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    forced: Forced,
}

/// The arguments of `tine ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = PING)]
pub struct PingArgs {
    #[command(flatten)]
    show: Show,
}

/// Ends the manager with all apps; 0 also if none runs.
///
/// # Errors
///
/// When it does not end.
pub fn kill(args: &KillArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    if !session.has_manager() {
        if !args.show.is_silent() {
            eprintln!("tine: no manager runs");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = session.act(&AppRequest::KillManager)?;
    if !args.show.json && !args.show.is_silent() {
        print("the manager has ended, and all apps with it\n")?;
    }
    session.tell(&outcomes)
}

/// Says whether the manager answers.
///
/// # Errors
///
/// When none runs, or it does not answer.
pub fn ping(args: &PingArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    if !session.has_manager() {
        bail!("no manager runs; the first `tine start` starts one");
    }
    let manager = match session.ask(&AppRequest::Ping)? {
        AppResponse::Pong(manager) => manager,
        other => return Err(unexpected(&other)),
    };
    if args.show.json {
        print_json(&manager)?;
    } else if !args.show.is_silent() {
        let age = table::now().saturating_sub(manager.started_at);
        let age = units::spoken(std::time::Duration::from_millis(age));
        let (pid, version, apps) = (manager.pid, &manager.version, manager.apps);
        print(&format!("pong: tine {version}, pid {pid}, up {age}, {apps} app(s)\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
