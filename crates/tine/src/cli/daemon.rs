//! `tine daemon`: the background manager.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{print, print_json};
use crate::{
    client::Client,
    daemon::{self, Begin},
    home::Home,
    watchdog::{self, Keeping, Role},
};

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
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct Args {
    /// Stay in the foreground, for a service manager such as systemd
    #[arg(long)]
    foreground: bool,
    /// Start the saved apps, as `tine resurrect` does
    #[arg(long, requires = "foreground")]
    resurrect: bool,
    /// Print JSON: the manager's pid
    #[arg(long, conflicts_with = "foreground")]
    json: bool,
    /// Become the manager, apart from the caller; says on standard output when it answers
    #[arg(long, hide = true, conflicts_with = "foreground")]
    detached: bool,
    /// Go on with what the program that this process was before has left in this descriptor
    #[arg(long, hide = true, value_name = "DESCRIPTOR", conflicts_with_all = ["foreground", "detached"])]
    adopt: Option<i32>,
    /// Say whether this version of what a manager leaves can be adopted
    #[arg(long, hide = true, value_name = "VERSION", exclusive = true)]
    can_adopt: Option<u32>,
}

/// Starts the manager in the background, or becomes it.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(version) = args.can_adopt {
        return can_adopt(version);
    }
    let home = Home::from_env()?;
    if let Some(left) = args.adopt {
        return watch(Keeping::resume(left)?, &home);
    }
    if !args.foreground && !args.detached {
        let client = Client::connect_or_start(&home)?;
        if args.json {
            print_json(&serde_json::json!({ "pid": client.manager_pid() }))?;
        } else {
            print(&format!("the manager runs with pid {}\n", client.manager_pid()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    super::run::check_outside()?;
    let ready = if args.detached { detach()? } else { daemon::Ready::Foreground };
    let mut keeping = Keeping::begin()?;
    if let Some(charge) = keeping.fork()? {
        return daemon::run(&home, charge, Begin { ready, resurrect: args.resurrect });
    }
    // Whoever waits for word of the manager must not wait for the watchdog.
    ready.forget();
    watch(keeping, &home)
}

/// Until it is over, or this process is the next manager.
fn watch(keeping: Keeping, home: &Home) -> anyhow::Result<ExitCode> {
    match keeping.watch()? {
        Role::Over(code) => Ok(code),
        Role::Manager(charge) => {
            let begin = Begin { ready: daemon::Ready::Foreground, resurrect: false };
            daemon::run(home, charge, begin)
        }
    }
}

fn can_adopt(version: u32) -> anyhow::Result<ExitCode> {
    let versions = watchdog::versions();
    if !versions.contains(&version) {
        let (oldest, newest) = versions.into_inner();
        bail!(
            "this tine reads versions {oldest} to {newest} of what a manager leaves, not {version}"
        );
    }
    print(&format!("{}{version}: tine {}\n", watchdog::CAN_ADOPT, env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

/// Leaves the caller's session and terminal.
fn detach() -> anyhow::Result<daemon::Ready> {
    rustix::process::setsid().context("leave the session of the caller")?;
    Ok(daemon::Ready::Pipe)
}
