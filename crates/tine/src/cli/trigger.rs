//! `tine trigger`: has programs carry out an action that they offer by `@pm2/io`.

use std::{fmt::Write as _, process::ExitCode};

use super::{
    print, print_json,
    session::{Session, unexpected},
    show::Show,
    values,
};
use crate::{
    api::{
        apps::{AppRequest, AppResponse},
        told::ActionReply,
    },
    render::{Screen, harmless},
    spec::Millis,
};

const TRIGGER: &str = "\
Examples:
  tine trigger api clear-cache         each worker of api does it, and its answer is shown
  tine trigger 0 log-level debug       worker 0 gets `debug` as well
  tine trigger api report --wait 1m    the answer may take a minute
`tine describe api` names the actions of a program. It offers them by @pm2/io: io.action(name, function).";

/// The arguments of `tine trigger`.
#[derive(Debug, clap::Args)]
#[command(after_help = TRIGGER)]
pub struct Args {
    /// A name, an id, a namespace, `all` or an /expression/
    #[arg(value_name = "APP")]
    target: String,
    /// As the program calls it
    #[arg(value_name = "ACTION")]
    action: String,
    /// What the action gets, as a string
    #[arg(value_name = "PARAMS")]
    parameters: Option<String>,
    /// How long an answer is waited for
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::millis)]
    wait: Millis,
    #[command(flatten)]
    show: Show,
}

/// Shows each worker's answer; fails if one has none.
///
/// # Errors
///
/// As the manager says.
pub fn run(args: Args, screen: Screen) -> anyhow::Result<ExitCode> {
    let mut session = Session::find(&args.show, screen)?;
    let replies = match session.ask(&AppRequest::Trigger {
        target: args.target,
        action: args.action,
        parameters: args.parameters,
        wait: args.wait,
    })? {
        AppResponse::Replies(replies) => replies,
        other => return Err(unexpected(&other)),
    };
    if args.show.json {
        print_json(&replies)?;
    } else {
        if !args.show.is_silent() {
            print(&answers(&replies))?;
        }
        eprint!("{}", failures(&replies));
    }
    let failed = replies.iter().any(|reply| reply.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn answers(replies: &[ActionReply]) -> String {
    let mut text = String::new();
    for ActionReply { app, id, reply, .. } in replies {
        if let Some(reply) = reply {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} ({id}): {}", harmless(app), harmless(&reply.to_string()));
        }
    }
    text
}

fn failures(replies: &[ActionReply]) -> String {
    let mut text = String::new();
    for ActionReply { app, id, error, .. } in replies {
        if let Some(error) = error {
            let _ = writeln!(text, "tine: {}: worker {id} {}", harmless(app), harmless(error));
        }
    }
    text
}
