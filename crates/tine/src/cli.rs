//! The command line: one command a file, each with its arguments, its work and its exit code.

pub mod doctor;
pub mod logs;
pub mod options;
pub mod ports;
pub mod run;
pub mod startup;
mod values;

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Begin with:
  tine run -i 3 server.js      three processes of it share the port it listens on; Ctrl-C ends them
  tine ports                   in another terminal: who listens where, and how busy they are
  tine doctor                  what this machine lacks for round robin in the kernel

`tine run --help` tells the rest.";

/// Any server program, N processes, one port.
#[derive(Debug, Parser)]
#[command(name = "tine", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `tine`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what this host and this user have, and how to get what is missing
    Doctor(doctor::Args),
    /// Run a program N times on one port, in the foreground
    Run(Box<run::Args>),
    /// Show every listening port: workers, queues and connections, or who else holds it
    Ports(ports::Args),
    /// Have the saved apps started when the machine starts
    Startup(startup::Args),
    /// Have nothing started any more when the machine starts
    Unstartup(startup::Args),
}

/// Carries out the command; its exit code is 0, or 1 for a user's trouble told on the way.
///
/// # Errors
///
/// For the caller to print as one sentence, with exit code 1.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Doctor(args) => doctor::run(&args),
        Command::Ports(args) => ports::run(&args),
        Command::Run(args) => run::run(*args),
        Command::Startup(args) => startup::run(&args),
        Command::Unstartup(args) => startup::undo(&args),
    }
}

/// Writes to standard output. A reader that has gone (`tine ports | head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("write the report as JSON")?;
    print(&(text + "\n"))
}
