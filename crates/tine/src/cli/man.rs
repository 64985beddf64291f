//! `tine man`: writes the manual's pages, one for each command.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, print};

const EXAMPLES: &str = "\
Examples:
  tine man /usr/local/share/man/man1    as root: then `man tine` and `man tine-start` work
  tine man ~/.local/share/man/man1      for this user alone";

/// The arguments of `tine man`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to write them; made if it is missing
    directory: PathBuf,
}

/// Writes all pages.
///
/// # Errors
///
/// When a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let shown = args.directory.display();
    fs::create_dir_all(&args.directory).with_context(|| format!("make the directory {shown}"))?;
    let mut cli = Cli::command();
    cli.build();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let mut pages = vec![("tine".to_owned(), cli.clone())];
    for command in commands.filter(|command| command.get_name() != "help") {
        pages.push((format!("tine-{}", command.get_name()), command.clone()));
    }
    for (name, command) in &pages {
        let path = args.directory.join(format!("{name}.1"));
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone())
            .title(name.as_str())
            .render(&mut text)
            .with_context(|| format!("write the page of {name}"))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    print(&format!("wrote {} pages to {shown}\n", pages.len()))?;
    Ok(ExitCode::SUCCESS)
}
