//! `tine completion`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, print};

const EXAMPLES: &str = "\
Examples:
  tine completion bash > ~/.local/share/bash-completion/completions/tine
  tine completion zsh  > ~/.zfunc/_tine
  tine completion fish > ~/.config/fish/completions/tine.fish";

/// The arguments of `tine completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

/// Prints a script for the shell.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "tine", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
