//! What is shown of what was done.

use std::env;

use crate::render::Sort;

/// Options of every command that shows apps.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "What is shown")]
pub struct Show {
    /// Nothing but errors
    #[arg(short, long)]
    silent: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// A table of few columns
    #[arg(short, long)]
    pub(super) mini_list: bool,
    /// The order of the table: a column, with `:asc` or `:desc` after it
    #[arg(long, value_name = "COLUMN[:desc]")]
    pub(super) sort: Option<Sort>,
}

/// pm2 takes it everywhere; here nothing of this command could be forced.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Forced {
    #[arg(short, long, hide = true)]
    force: bool,
}

impl Show {
    /// `--silent`, or a variable that says so.
    pub(super) fn is_silent(&self) -> bool {
        self.silent || ["TINE_SILENT", "PM2_SILENT"].into_iter().any(is_set)
    }
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false")
}
