//! `tine report`: what whoever looks into a fault wants to know.

use std::{fmt::Write as _, process::ExitCode};

use super::{doctor, print, print_json, session::Session, show::Show, table};
use crate::{
    api::{
        apps::{AppRequest, AppResponse, AppView, Detail, ManagerView},
        doctor::DoctorReport,
    },
    render::{self, Screen},
};

/// The last lines of the manager's own log.
const LOG_LINES: usize = 30;

const EXAMPLES: &str = "\
Examples:
  tine report > report.txt   for an issue; environments are not in it";

/// The arguments of `tine report`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print JSON (one object: tine, manager, log, apps, doctor)
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Report {
    tine: &'static str,
    manager: Option<ManagerView>,
    log: Vec<String>,
    apps: Vec<AppView>,
    doctor: DoctorReport,
}

/// Prints versions, the manager, the apps without their environments, and what the host has.
///
/// # Errors
///
/// When the manager does not answer.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&Show::default(), screen)?;
    let manager = session.has_manager().then(|| session.ask(&AppRequest::Ping)).transpose()?;
    let manager = manager.and_then(|answer| match answer {
        AppResponse::Pong(manager) => Some(manager),
        _ => None,
    });
    let log = std::fs::read_to_string(session.home.daemon_log()).unwrap_or_default();
    let report = Report {
        tine: env!("CARGO_PKG_VERSION"),
        manager,
        log: last_lines(&log),
        apps: session.apps(Detail::Row, &[])?,
        doctor: doctor::of_host(),
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&text(&report, screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn last_lines(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    lines[skipped..].iter().map(ToString::to_string).collect()
}

fn text(report: &Report, screen: Screen) -> String {
    let mut text = format!("tine {}\n", report.tine);
    // Writing to a string cannot fail.
    let _ = match &report.manager {
        Some(manager) => writeln!(
            text,
            "manager {} with pid {}, home {}, {} app(s)",
            manager.version,
            manager.pid,
            manager.home.display(),
            manager.apps
        ),
        None => writeln!(text, "no manager runs"),
    };
    if !report.apps.is_empty() {
        text.extend(["\n", &table::table(&report.apps, &Show::default(), screen)]);
    }
    if !report.log.is_empty() {
        text += "\nThe manager's log ends with:\n";
    }
    for line in &report.log {
        text.extend(["  ", &render::harmless(line), "\n"]);
    }
    text + "\n" + &render::doctor(&report.doctor, screen)
}
