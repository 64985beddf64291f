//! `tine doctor`: what is there, what is missing, why it matters and how to get it.

mod checks;
mod remedy;
mod report;

pub use report::report;

use std::process::ExitCode;

use super::{print, print_json};
use crate::{
    api::doctor::DoctorReport,
    render::{self, Screen},
};

const EXAMPLES: &str = "\
Examples:
  tine doctor                what is missing, and the command that grants it
  tine doctor --json | jq .mechanisms";

/// Arguments of `tine doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print JSON (one object; `checks`, `host` and `mechanisms` have the facts)
    #[arg(long)]
    pub json: bool,
}

/// Probes the host and prints; 1 only when an unmodified program cannot share a port here.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let report = of_host();
    if args.json {
        print_json(&report)?;
    } else {
        print(&render::doctor(&report, screen))?;
    }
    Ok(if report.any_program { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of this host, for this user.
pub(super) fn of_host() -> DoctorReport {
    report(&tine_linux::host::Host::probe(), &executable())
}

fn executable() -> String {
    std::env::current_exe().map_or_else(|_| "tine".into(), |path| path.display().to_string())
}
