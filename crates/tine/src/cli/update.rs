//! `tine update`: another version of tine takes the manager's place, and workers live on.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use super::{print, print_json, session::unexpected, show::Show};
use crate::{
    api::apps::{AppRequest, AppResponse, AppView, Detail, ManagerView},
    client::{Client, Meanwhile},
    home::Home,
};

const EXAMPLES: &str = "\
Examples:
  tine update                     after tine was installed anew: the manager becomes this one
  tine update --to ./tine-0.2     becomes that one";

/// A manager that was forked answers sooner by far.
const PATIENCE: Duration = Duration::from_mins(1);
/// The watchdog holds the socket all the time, whatever it executes: where nobody holds it, nobody is left.
const NOBODY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The arguments of `tine update`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The program that takes over; this one when not said
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    show: Show,
}

/// Who manages, and what.
struct Seen {
    manager: ManagerView,
    apps: Vec<AppView>,
}

/// Has the manager's program replaced; no worker is restarted.
///
/// # Errors
///
/// When no manager runs, or the program cannot take over: then nothing has changed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    let program = match &args.to {
        Some(program) => std::path::absolute(program).context("find the program")?,
        None => std::env::current_exe().context("find this program")?,
    };
    let Some(mut client) = Client::connect(&home)? else {
        bail!("no manager runs; the first `tine start` starts one, of this version");
    };
    let before = see(&mut client)?;
    ask(client, program.clone(), args)?;
    let after = wait_for_another(&home, before.manager.pid, &program)?;
    if let Some(failed) = after.manager.taken_over_after.as_ref().and_then(|it| failure(it)) {
        bail!("{failed}; the manager is still tine {}", after.manager.version);
    }
    if args.show.json {
        print_json(&after.manager)?;
    } else if !args.show.is_silent() {
        print(&told(&before, &after))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(mut client: Client, program: PathBuf, args: &Args) -> anyhow::Result<()> {
    let quiet = args.show.is_silent() || args.show.json;
    let mut tell = |news: Meanwhile<'_>| {
        if !quiet {
            eprintln!("tine: {}", news.text());
        }
    };
    match client.ask(&AppRequest::Update { program }, &mut tell)? {
        AppResponse::Done(_) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn see(client: &mut Client) -> anyhow::Result<Seen> {
    let manager = match client.ask(&AppRequest::Ping, &mut |_| {})? {
        AppResponse::Pong(manager) => manager,
        other => return Err(unexpected(&other)),
    };
    let list = AppRequest::List { detail: Detail::Row, targets: Vec::new() };
    match client.ask(&list, &mut |_| {})? {
        AppResponse::Apps(apps) => Ok(Seen { manager, apps }),
        other => Err(unexpected(&other)),
    }
}

/// The old one may still be there, or nobody yet.
fn wait_for_another(home: &Home, old: u32, program: &Path) -> anyhow::Result<Seen> {
    let until = Instant::now() + PATIENCE;
    let mut last_seen = Instant::now();
    loop {
        match Client::connect(home) {
            Ok(Some(mut client)) if client.manager_pid() != old => return see(&mut client),
            Ok(Some(_)) | Err(_) => last_seen = Instant::now(),
            Ok(None) if last_seen.elapsed() > NOBODY => return Err(take_back(home, program)),
            Ok(None) => {}
        }
        if Instant::now() > until {
            bail!("no manager has answered since; {} may say why", home.daemon_log().display());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// It has ended in the watchdog's place, and nobody is left who could go on as the program before.
fn take_back(home: &Home, program: &Path) -> anyhow::Error {
    let program = program.display();
    match Client::connect_or_start(home) {
        Ok(_) => anyhow!(
            "{program} has ended instead of taking over; a manager of this tine has taken the workers over, \
             `tine ls` shows how they are"
        ),
        Err(error) => anyhow!(error).context(format!(
            "{program} has ended instead of taking over, and no manager of this tine can be started"
        )),
    }
}

/// What the watchdog says of an update that came to nothing.
fn failure(taken_over_after: &str) -> Option<&str> {
    taken_over_after.strip_prefix(crate::watchdog::UPDATE_FAILED)
}

fn told(before: &Seen, after: &Seen) -> String {
    let pids = |seen: &Seen| -> Vec<i32> {
        seen.apps.iter().flat_map(|app| &app.workers).filter_map(|worker| worker.pid).collect()
    };
    let (old, new) = (pids(before), pids(after));
    let kept = old.iter().filter(|pid| new.contains(pid)).count();
    let (one, other) = (&before.manager, &after.manager);
    format!(
        "tine {} (pid {}) has taken over from tine {} (pid {}); {kept} of {} worker(s) go on as they were\n",
        other.version,
        other.pid,
        one.version,
        one.pid,
        old.len()
    )
}
