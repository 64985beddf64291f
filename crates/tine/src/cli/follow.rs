//! `tine logs` and `tine attach`: what workers write, and a way to write to them.

use std::{io::BufRead, process::ExitCode, thread};

use anyhow::Context;

use super::{
    logs::{self, WorkerLogs},
    session::Session,
    show::Show,
};
use crate::{
    api::apps::{AppRequest, Detail},
    render::{Screen, harmless},
};

pub(super) const LOGS: &str = "\
Examples:
  tine logs                      the last lines of all apps, and what they write from now on
  tine logs api --lines 100 --nostream
  tine logs /web/ --err --since 10m
  tine logs api --json | jq -r .message";

const ATTACH: &str = "\
Examples:
  tine attach 0                  shows what worker 0 writes, and writes to it what is typed; Ctrl-C ends it";

/// The arguments of `tine attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = ATTACH)]
pub struct AttachArgs {
    /// A worker's id
    #[arg(value_name = "ID")]
    id: u32,
    /// pm2's separator of commands means nothing here
    #[arg(hide = true)]
    separator: Option<String>,
}

/// Shows lines until it is ended.
///
/// # Errors
///
/// When there is no such app, or a line cannot be shown.
pub fn logs(args: &logs::Args, screen: Screen) -> anyhow::Result<ExitCode> {
    logs::run(args, || {
        let mut session = Session::find(&Show::default(), screen)?;
        session.require_manager()?;
        let apps = session.apps(Detail::Row, &args.targets)?;
        Ok(apps.iter().flat_map(WorkerLogs::of).collect())
    })
}

/// Follows apps that were just started.
pub(super) fn apps(targets: Vec<String>, screen: Screen) -> anyhow::Result<ExitCode> {
    logs(&logs::Args { targets, ..logs::Args::default() }, screen)
}

/// Shows what a worker writes, and sends it what is typed, line by line.
///
/// # Errors
///
/// When there is no such worker.
pub fn attach(args: &AttachArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let id = args.id;
    let target = vec![id.to_string()];
    let mut session = Session::find(&Show::default(), screen)?;
    session.apps(Detail::Row, &target)?;
    let typing = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            tell(&mut session, id, line);
        }
    };
    let thread = thread::Builder::new().name("typing".to_owned());
    thread.spawn(typing).context("start a thread that reads what is typed")?;
    apps(target, screen)
}

/// A line that does not arrive is said, and the next one may.
fn tell(session: &mut Session, id: u32, line: String) {
    match session.act(&AppRequest::Send { id, line, message: false }) {
        Ok(outcomes) => {
            for error in outcomes.iter().filter_map(|outcome| outcome.error.as_ref()) {
                eprintln!("tine: {}", harmless(error));
            }
        }
        Err(error) => eprintln!("tine: {error:#}"),
    }
}
