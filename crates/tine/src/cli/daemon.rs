//! `tine daemon`: the background manager.

use std::process::ExitCode;

use anyhow::Context;

use super::print;
use crate::{client::Client, daemon, home::Home, watchdog};

const EXAMPLES: &str = "\
Examples:
  tine daemon                starts the manager, as the first `tine start` would
  tine daemon --foreground   for a service manager; SIGTERM ends it with all apps
  tine daemon --foreground --resurrect
                             likewise, and starts what `tine save` has saved; systemd is told when
                             that is done (Type=notify)";

/// Arguments of `tine daemon`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Stay in the foreground, for a service manager such as systemd
    #[arg(long)]
    foreground: bool,
    /// Start the saved apps, as `tine resurrect` does
    #[arg(long, requires = "foreground")]
    resurrect: bool,
    /// Become the manager, apart from the caller; says on standard output when it answers
    #[arg(long, hide = true, conflicts_with = "foreground")]
    detached: bool,
}

/// Starts the manager in the background, or becomes it.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    if !args.foreground && !args.detached {
        let client = Client::connect_or_start(&home)?;
        print(&format!("the manager runs with pid {}\n", client.manager_pid()))?;
        return Ok(ExitCode::SUCCESS);
    }
    super::run::check_outside()?;
    let ready = if args.detached { detach()? } else { daemon::Ready::Foreground };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match watchdog::split(watchdog::Orphans::ToWatchdog)? {
        watchdog::Side::Watchdog(dog) => {
            // Whoever waits for word of the manager must not wait for the watchdog.
            ready.forget();
            dog.watch()
        }
        watchdog::Side::Manager(signals) => {
            daemon::run(&home, signals, daemon::Begin { ready, resurrect: args.resurrect })
        }
    }
}

/// Leaves the caller's session and terminal.
fn detach() -> anyhow::Result<daemon::Ready> {
    rustix::process::setsid().context("leave the session of the caller")?;
    Ok(daemon::Ready::Pipe)
}
