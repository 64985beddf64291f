//! `tine ls`.

use std::{process::ExitCode, thread, time::Duration};

use super::{print, print_json, session::Session, show::Show, table};
use crate::{api::apps::Detail, render::Screen};

/// pm2's.
const REFRESH: Duration = Duration::from_millis(900);

const EXAMPLES: &str = "\
Examples:
  tine ls                      every worker of every app
  tine ls --sort memory:desc   the largest first
  tine ls --watch              again and again, until Ctrl-C
  tine ls -m                   few columns";

/// The arguments of `tine ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show it again and again
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    show: Show,
}

/// Prints the table; empty without a manager.
///
/// # Errors
///
/// When the manager does not answer.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    loop {
        let mut session = Session::find(&args.show, screen)?;
        let apps = session.apps(Detail::Row, &[])?;
        if args.show.json {
            print_json(&apps)?;
        } else {
            let home = if args.watch { "\x1b[H\x1b[2J" } else { "" };
            print(&format!("{home}{}", table::table(&apps, &args.show, screen)))?;
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(REFRESH);
    }
}
