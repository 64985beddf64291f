//! `tine scale`.

use std::process::ExitCode;

use super::{
    session::Session,
    show::{Forced, Show},
    values,
};
use crate::{api::apps::AppRequest, render::Screen, spec::Millis};

const EXAMPLES: &str = "\
Examples:
  tine scale api 5    five workers
  tine scale api +2   two more
  tine scale api -1   one less; its connections finish first";

/// The arguments of `tine scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which app: its name
    #[arg(value_name = "APP")]
    target: String,
    /// How many workers: 5, +2, -1, or max for one per CPU
    #[arg(value_name = "N", allow_hyphen_values = true, value_parser = number)]
    to: String,
    /// Connections have so long to finish this time, such as 5s or 2m; then they are cut [default: the app's]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    drain_timeout: Option<Millis>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    forced: Forced,
}

fn number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text == "max" {
        return Ok(text.to_owned());
    }
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("`{text}` is no number; write 5, +2, -1 or max"));
    }
    Ok(text.to_owned())
}

/// Changes how many workers an app has.
///
/// # Errors
///
/// As the manager says.
pub fn run(args: Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let session = Session::find(&args.show, screen)?;
    session.carry_out(&AppRequest::Scale {
        target: args.target,
        to: args.to,
        drain_timeout: args.drain_timeout,
    })
}
