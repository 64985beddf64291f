//! `tine pid`, `tine id` and `tine env`: one fact for a script.

use std::process::ExitCode;

use anyhow::anyhow;

use super::{print, print_json, session::Session, show::Show};
use crate::{
    api::apps::{AppRequest, AppResponse, AppView, Detail, WorkerView},
    render::{Screen, harmless, pm2},
    spec::Env,
};

const PID: &str = "\
Examples:
  tine pid api            the pids of its workers, a line each; 0 for one that does not run
  tine pid                the manager's own
  kill -USR1 $(tine pid api)";

const ID: &str = "\
Examples:
  tine id api             [ 0, 1, 2 ]";

const ENV: &str = "\
Examples:
  tine env 0              the variables that worker 0 was given";

/// The arguments of `tine pid`.
#[derive(Debug, clap::Args)]
#[command(after_help = PID)]
pub struct PidArgs {
    /// A name, an id, a namespace, `all`; the manager if there is none
    #[arg(value_name = "APP")]
    target: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Means nothing here: it is what was asked for
    #[arg(short, long, hide = true)]
    silent: bool,
}

/// The arguments of `tine id`.
#[derive(Debug, clap::Args)]
#[command(after_help = ID)]
pub struct IdArgs {
    /// A name or a namespace
    #[arg(value_name = "APP")]
    target: String,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Means nothing here: it is what was asked for
    #[arg(short, long, hide = true)]
    silent: bool,
}

/// The arguments of `tine env`.
#[derive(Debug, clap::Args)]
#[command(after_help = ENV)]
pub struct EnvArgs {
    /// A worker's id, or an app with one worker
    #[arg(value_name = "ID")]
    target: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Means nothing here: it is what was asked for
    #[arg(short, long, hide = true)]
    silent: bool,
}

/// Prints pids; 1 if there is no such app, or no manager.
///
/// # Errors
///
/// As the manager says.
pub fn pid(args: &PidArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&Show::default(), screen)?;
    let pids: Vec<i64> = match &args.target {
        Some(target) => workers(&session.apps(Detail::Row, std::slice::from_ref(target))?)
            .map(|worker| worker.pid.map_or(0, i64::from))
            .collect(),
        None => vec![manager(&mut session)?],
    };
    if args.json {
        print_json(&pids)?;
    } else {
        print(&lines(&pids))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn manager(session: &mut Session) -> anyhow::Result<i64> {
    if !session.has_manager() {
        return Err(anyhow!("no manager runs"));
    }
    match session.ask(&AppRequest::Ping)? {
        AppResponse::Pong(manager) => Ok(i64::from(manager.pid)),
        other => Err(super::session::unexpected(&other)),
    }
}

/// Prints ids as pm2 does; 1 if there is no such app.
///
/// # Errors
///
/// As the manager says.
pub fn id(args: &IdArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&Show::default(), screen)?;
    let apps = session.apps(Detail::Row, std::slice::from_ref(&args.target))?;
    let ids: Vec<u32> = workers(&apps).map(|worker| worker.id).collect();
    if args.json {
        print_json(&ids)?;
    } else {
        let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
        print(&format!("[ {} ]\n", words.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a worker's variables; 1 if there is no such worker.
///
/// # Errors
///
/// As the manager says.
pub fn env(args: &EnvArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&Show::default(), screen)?;
    let apps = session.apps(Detail::Spec, std::slice::from_ref(&args.target))?;
    let found = apps.iter().find_map(|app| {
        let worker = app.workers.iter().find(|worker| worker.id.to_string() == args.target);
        Some((app.spec.as_ref()?, worker.or_else(|| app.workers.first())?))
    });
    let (spec, worker) = found.ok_or_else(|| anyhow!("`{}` has no worker", args.target))?;
    let variables = of_process(worker).unwrap_or_else(|| pm2::environment(spec, worker));
    if args.json {
        print_json(&variables)?;
    } else {
        let lines_of: Vec<String> =
            variables.iter().map(|(name, value)| format!("{name}: {}", harmless(value))).collect();
        print(&lines(&lines_of))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the process was really given; `None` if it does not run or does not tell.
fn of_process(worker: &WorkerView) -> Option<Env> {
    let bytes = std::fs::read(format!("/proc/{}/environ", worker.pid?)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.split('\0').filter_map(|variable| variable.split_once('='));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn lines<T: ToString>(of: &[T]) -> String {
    let lines: Vec<String> = of.iter().map(ToString::to_string).collect();
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

fn workers(apps: &[AppView]) -> impl Iterator<Item = &WorkerView> {
    apps.iter().flat_map(|app| &app.workers)
}
