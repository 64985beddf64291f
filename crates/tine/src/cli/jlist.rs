//! `tine jlist` and `tine prettylist`: pm2's shapes, and nothing else on standard output.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{print, session::Session, show::Show, table};
use crate::{
    api::apps::{AppView, Detail},
    render::{
        self, Screen,
        pm2::{self, Facts, Process},
    },
};

const EXAMPLES: &str = "\
Examples:
  tine jlist | jq '.[] | {name, pid, status: .pm2_env.status}'
  tine prettylist | grep pm_out_log_path
For tine's own shape: tine ls --json";

/// The arguments of `tine jlist` and `tine prettylist`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Means nothing here: the list is what was asked for
    #[arg(short, long, hide = true)]
    silent: bool,
    /// It is JSON already
    #[arg(long, hide = true)]
    json: bool,
}

/// One line of JSON; `[]` without a manager.
///
/// # Errors
///
/// When the manager does not answer.
pub fn jlist(_: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let list = serde_json::to_string(&processes(screen)?).context("write the list as JSON")?;
    print(&(list + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// As Node's `util.inspect` shows it, without a newline at the end.
///
/// # Errors
///
/// When the manager does not answer.
pub fn prettylist(_: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    print(&render::inspect(&processes(screen)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Every worker, by id.
fn processes(screen: Screen) -> anyhow::Result<Vec<Process>> {
    let mut session = Session::find(&Show::default(), screen)?;
    let apps = session.apps(Detail::Spec, &[])?;
    let mut nodes = BTreeMap::new();
    let mut all: Vec<Process> = apps.iter().flat_map(|app| of_app(app, &mut nodes)).collect();
    all.sort_by_key(|process| process.pm_id);
    Ok(all)
}

fn of_app(app: &AppView, nodes: &mut BTreeMap<PathBuf, Option<String>>) -> Vec<Process> {
    let Some(spec) = &app.spec else { return Vec::new() };
    let version = app.workers.first().and_then(|worker| table::version(&worker.exec_path));
    let node = node_version(app, nodes);
    let username = spec.user.clone().map_or_else(table::own_name, named);
    let facts =
        Facts { version: version.as_deref(), node_version: node.as_deref(), username: &username };
    app.workers.iter().map(|worker| pm2::worker(app, spec, worker, facts)).collect()
}

/// A user who was given by a number, by name where there is one.
fn named(user: String) -> String {
    user.parse().map_or(user, table::name_of)
}

/// Of the Node that runs the first worker; each file is asked once.
pub(super) fn node_version(
    app: &AppView,
    nodes: &mut BTreeMap<PathBuf, Option<String>>,
) -> Option<String> {
    let worker = app.workers.iter().find(|worker| worker.interpreter == "node")?;
    let file = worker.pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    let file = file.unwrap_or_else(|| "node".into());
    nodes.entry(file.clone()).or_insert_with(|| ask_version(&file)).clone()
}

fn ask_version(node: &std::path::Path) -> Option<String> {
    // A wrapper that execs node is not asked for what it does not know.
    let name = node.file_name()?.to_str()?;
    if !name.starts_with("node") {
        return None;
    }
    let output = std::process::Command::new(node).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix('v').map(str::to_owned)
}
