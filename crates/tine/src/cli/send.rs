//! `tine sendSignal` and `tine send`: words for workers.

use std::process::ExitCode;

use super::{session::Session, show::Show, values};
use crate::{api::apps::AppRequest, render::Screen};

const SIGNAL: &str = "\
Examples:
  tine sendSignal SIGUSR2 api   to every worker of api
  tine sendSignal hup 0 1       to two workers";

const SEND: &str = "\
Examples:
  tine send 0 reload-templates            worker 0 reads the line on its standard input
  tine send --message 0 '{\"level\": 3}'   process.on('message') of worker 0 gets an object";

/// The arguments of `tine sendSignal`.
#[derive(Debug, clap::Args)]
#[command(after_help = SIGNAL)]
pub struct SignalArgs {
    /// SIGUSR2, USR2 or 12
    #[arg(value_name = "SIGNAL", value_parser = values::signal_word)]
    signal: String,
    /// Names, ids, namespaces, `all` or `/expressions/`
    #[arg(required = true, value_name = "APP")]
    targets: Vec<String>,
    #[command(flatten)]
    show: Show,
}

/// The arguments of `tine send`.
#[derive(Debug, clap::Args)]
#[command(after_help = SEND)]
pub struct SendArgs {
    /// A worker's id
    #[arg(value_name = "ID")]
    id: u32,
    /// What it is told
    #[arg(
        required = true,
        value_name = "WORDS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
    /// A message in place of a line, for node and programs with tine-cluster: a string, or JSON
    #[arg(long)]
    message: bool,
    #[command(flatten)]
    show: Show,
}

/// Sends a signal to the first process of each worker.
///
/// # Errors
///
/// As the manager says.
pub fn signal(args: SignalArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let request = AppRequest::Signal { targets: args.targets, signal: args.signal };
    let outcomes = session.act(&request)?;
    session.tell(&outcomes)
}

/// Writes a line to a worker, or sends it a message.
///
/// # Errors
///
/// As the manager says.
pub fn send(args: &SendArgs, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let (id, line, message) = (args.id, args.words.join(" "), args.message);
    let outcomes = session.act(&AppRequest::Send { id, line, message })?;
    session.tell(&outcomes)
}
