//! The command line: one command a file, each with its arguments, its work and its exit code.

pub mod absent;
pub mod apply;
pub mod change;
pub mod completion;
pub mod daemon;
pub mod describe;
pub mod doctor;
pub mod ecosystem;
mod exit;
mod file;
pub mod follow;
pub mod ids;
pub mod import;
mod inherited;
pub mod jlist;
pub mod kill;
pub mod list;
pub mod logs;
pub mod man;
pub mod options;
mod outcome;
pub mod ports;
pub mod report;
pub mod run;
pub mod save;
pub mod scale;
pub mod send;
pub mod serve;
mod session;
pub mod show;
pub mod start;
pub mod startup;
pub mod stop;
mod table;
mod targets;
pub mod trigger;
pub mod update;
pub mod upkeep;
mod values;
pub mod versions;
pub mod words;

use std::{ffi::OsString, io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{render::Screen, spec::Action};

pub use exit::exit_code;

/// In place of clap's list, which would have no order but that of the code.
const COMMANDS: &str = "\
Apps:
  start        start scripts, command lines or files of apps; known apps start anew
  stop         stop apps, with their connections finished
  restart      stop, then start
  reload       start new workers before old ones stop, one by one
  rollback     go back to what ran before the last change
  promote      let the version leave that a reload has kept
  scale        change how many workers an app has
  delete       stop apps and forget them
  apply        make the list of apps what a file says

What is there:
  ls           every worker: status, restarts, memory, ports
  logs         the last lines of apps, and what they write from now on
  describe     everything about an app
  ports        who listens where, and how busy they are
  env, pid, id, jlist, prettylist

Words for workers:
  attach, sendSignal, send, trigger, reset, flush, reloadLogs

The manager:
  save         write the list of apps to disk
  resurrect    start the saved apps again
  startup      have them started when the machine starts; unstartup ends that
  update       another version of tine takes over, and workers run on
  cleardump, kill, ping, report, daemon

And:
  run          an app in the foreground, without a manager
  doctor       what this machine lacks
  serve        a directory of files over HTTP
  init         a file to begin with
  import       the apps that pm2 has saved
  completion   for bash, zsh, fish; man: manual pages
  startOrRestart, startOrReload, startOrGracefulReload

Begin with:
  tine start -i 3 server.js    three processes of it share the port it listens on
  tine ls
  tine reload server           new ones before old ones; no request is lost

`tine help COMMAND` has examples of each. Apps, logs and the manager's socket are in ~/.tine, or
in the directory that the variable TINE_HOME names: each has a manager of its own.";

/// Any server program, N processes, one port.
#[derive(Debug, Parser)]
#[command(
    name = "tine",
    version,
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = COMMANDS,
    help_template = "{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}\n"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// No colours, as with the variable `NO_COLOR`
    #[arg(long, global = true)]
    no_color: bool,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// The commands of `tine`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the list of apps what a file says
    Apply(Box<apply::Args>),
    /// Show what a worker writes, and write to it what is typed
    Attach(follow::AttachArgs),
    /// Forget the saved list of apps
    #[command(alias = "clear-dump")]
    Cleardump(save::ClearArgs),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Start the manager that runs apps in the background, if it does not run yet
    Daemon(daemon::Args),
    /// Stop apps and forget them
    #[command(visible_alias = "del", after_help = stop::DELETE)]
    Delete(stop::Args),
    /// Tell everything about apps
    #[command(visible_aliases = ["desc", "info", "show"])]
    Describe(describe::Args),
    /// Say what this host and this user have, and how to get what is missing
    Doctor(doctor::Args),
    /// Print a worker's variables
    Env(ids::EnvArgs),
    /// Empty log files
    Flush(upkeep::FlushArgs),
    /// Print the ids of an app's workers
    Id(ids::IdArgs),
    /// Take over the apps that pm2 has saved
    Import(import::Args),
    /// Write a file of apps to begin with
    #[command(name = "init", visible_alias = "ecosystem")]
    Init(ecosystem::Args),
    /// Print all workers as pm2's JSON, on one line
    Jlist(jlist::Args),
    /// Stop all apps, and the manager
    Kill(kill::KillArgs),
    /// Show every worker of every app
    #[command(name = "ls", visible_aliases = ["list", "l", "ps", "status"])]
    List(list::Args),
    /// Show the last lines of apps, and what they write from now on
    #[command(visible_alias = "log", after_help = follow::LOGS)]
    Logs(logs::Args),
    /// Write the pages of the manual
    Man(man::Args),
    /// Print the pids of an app's workers, or the manager's
    Pid(ids::PidArgs),
    /// Ask whether the manager answers
    Ping(kill::PingArgs),
    /// Show every listening port: workers, queues and connections, or who else holds it
    Ports(ports::Args),
    /// Let the version leave that a reload has kept beside the new one
    #[command(after_help = versions::PROMOTE)]
    Promote(versions::Args),
    /// Print all workers as Node's `util.inspect` shows pm2's list
    Prettylist(jlist::Args),
    /// Start new workers before old ones stop, one by one
    #[command(after_help = change::RELOAD)]
    Reload(Box<change::Args>),
    /// Open log files anew, after they were moved
    #[command(name = "reloadLogs", alias = "reload-logs")]
    ReloadLogs(upkeep::ReopenArgs),
    /// Collect what a report of a fault needs
    Report(report::Args),
    /// Count restarts from zero again
    Reset(upkeep::ResetArgs),
    /// Stop apps, then start them
    #[command(after_help = change::RESTART, mut_args(change::hide_reloads_own))]
    Restart(Box<change::Args>),
    /// Start the saved apps that are not there
    Resurrect(save::ResurrectArgs),
    /// Go back to what ran before the last change
    #[command(after_help = versions::ROLLBACK)]
    Rollback(versions::Args),
    /// Run a program N times on one port, in the foreground
    Run(Box<run::Args>),
    /// Write the list of apps to disk
    #[command(visible_alias = "dump")]
    Save(save::SaveArgs),
    /// Change how many workers an app has
    Scale(scale::Args),
    /// Write a line to a worker's standard input
    Send(send::SendArgs),
    /// Send a signal to workers
    #[command(name = "sendSignal", visible_alias = "signal", alias = "send-signal")]
    SendSignal(send::SignalArgs),
    /// Serve a directory of files over HTTP
    #[command(alias = "expose")]
    Serve(Box<serve::Args>),
    /// Start scripts, command lines, files of apps, or known apps anew
    Start(Box<start::Args>),
    /// Start what a file says; reload what runs
    #[command(name = "startOrGracefulReload", after_help = change::START_OR)]
    StartOrGracefulReload(Box<change::Args>),
    /// Start what a file says; reload what runs
    #[command(name = "startOrReload", after_help = change::START_OR)]
    StartOrReload(Box<change::Args>),
    /// Start what a file says; restart what runs
    #[command(name = "startOrRestart", after_help = change::START_OR, mut_args(change::hide_reloads_own))]
    StartOrRestart(Box<change::Args>),
    /// Stop apps, with their connections finished
    #[command(after_help = stop::STOP)]
    Stop(stop::Args),
    /// Have the saved apps started when the machine starts
    Startup(startup::Args),
    /// Have programs carry out an action that they offer by `@pm2/io`
    Trigger(trigger::Args),
    /// Have nothing started any more when the machine starts
    Unstartup(startup::Args),
    /// Have another version of tine take the manager's place; workers run on
    #[command(aliases = ["updatePM2", "deepUpdate"])]
    Update(update::Args),
}

/// `tine run` and nothing else.
#[derive(Debug, Parser)]
#[command(name = "tine")]
struct RunAlone {
    #[command(subcommand)]
    command: RunCommand,
    /// No colours, as with the variable `NO_COLOR`
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    /// Run a program N times on one port, in the foreground
    Run(Box<run::Args>),
}

impl Cli {
    /// Reads a command line. The forty other commands are not made for `tine run`: that would take as
    /// long as all else it does before it starts a program.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or the help that it asks for.
    pub fn read(words: Vec<OsString>) -> Result<Self, clap::Error> {
        if words.get(1).is_none_or(|word| word != "run") {
            return last_counts(words);
        }
        let RunAlone { command: RunCommand::Run(args), no_color } = last_counts(words)?;
        Ok(Self { command: Command::Run(args), no_color, version: None })
    }
}

/// Of an option that is given twice the last one counts, as in pm2: scripts add theirs to what there is.
fn last_counts<T: Parser>(words: Vec<OsString>) -> Result<T, clap::Error> {
    let command = T::command().mut_subcommands(|command| command.args_override_self(true));
    let matches = command.try_get_matches_from(words)?;
    T::from_arg_matches(&matches)
}

/// Carries out the command; its exit code is 0, or 1 for a user's trouble told on the way.
///
/// # Errors
///
/// For the caller to print as one sentence, with [`exit_code`].
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let of_stdout = Screen::of_stdout();
    let screen = Screen { colour: of_stdout.colour && !cli.no_color, ..of_stdout };
    match cli.command {
        Command::Apply(args) => apply::run(&args, screen),
        Command::Attach(args) => follow::attach(&args, screen),
        Command::Cleardump(args) => save::clear(&args, screen),
        Command::Completion(args) => completion::run(&args),
        Command::Daemon(args) => daemon::run(&args),
        Command::Delete(args) => stop::delete(&args, screen),
        Command::Describe(args) => describe::run(&args, screen),
        Command::Doctor(args) => doctor::run(&args, screen),
        Command::Env(args) => ids::env(&args, screen),
        Command::Flush(args) => upkeep::flush(args, screen),
        Command::Id(args) => ids::id(&args, screen),
        Command::Import(args) => import::run(&args, screen),
        Command::Init(args) => ecosystem::run(&args),
        Command::Jlist(args) => jlist::jlist(&args, screen),
        Command::Kill(args) => kill::kill(&args, screen),
        Command::List(args) => list::run(&args, screen),
        Command::Logs(args) => follow::logs(&args, screen),
        Command::Man(args) => man::run(&args),
        Command::Pid(args) => ids::pid(&args, screen),
        Command::Ping(args) => kill::ping(&args, screen),
        Command::Ports(args) => ports::run(&args, screen),
        Command::Prettylist(args) => jlist::prettylist(&args, screen),
        Command::Promote(args) => versions::promote(&args, screen),
        Command::Rollback(args) => versions::rollback(&args, screen),
        Command::Reload(args)
        | Command::StartOrReload(args)
        | Command::StartOrGracefulReload(args) => change::run(*args, Action::Reload, screen),
        Command::ReloadLogs(args) => upkeep::reopen(&args, screen),
        Command::Report(args) => report::run(&args, screen),
        Command::Reset(args) => upkeep::reset(args, screen),
        Command::Restart(args) | Command::StartOrRestart(args) => {
            change::run(*args, Action::Restart, screen)
        }
        Command::Resurrect(args) => save::resurrect(&args, screen),
        Command::Run(args) => run::run(*args),
        Command::Save(args) => save::save(&args, screen),
        Command::Scale(args) => scale::run(args, screen),
        Command::Send(args) => send::send(&args, screen),
        Command::SendSignal(args) => send::signal(args, screen),
        Command::Serve(args) => serve::run(&args, screen),
        Command::Start(args) => start::run(*args, screen),
        Command::Stop(args) => stop::stop(&args, screen),
        Command::Startup(args) => startup::run(&args),
        Command::Trigger(args) => trigger::run(args, screen),
        Command::Unstartup(args) => startup::undo(&args),
        Command::Update(args) => update::run(&args),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_overview_has_every_command_and_each_has_examples() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(COMMANDS.contains(name), "the overview lacks {name}");
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{name} has no examples");
        }
    }

    /// What pm2's users type.
    const PM2: &str = "start stop restart reload delete del scale list ls l ps status jlist prettylist \
        describe desc info show env pid id logs log attach flush reloadLogs reset sendSignal send trigger save dump cleardump \
        resurrect startOrRestart startOrReload startOrGracefulReload kill ping report ecosystem init \
        completion update updatePM2";

    #[test]
    fn every_name_of_pm2s_is_a_command() {
        let all = Cli::command();
        let known = |name: &str| all.find_subcommand(name).is_some();
        let missing: Vec<&str> = PM2.split_whitespace().filter(|name| !known(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn of_an_option_that_is_given_twice_the_last_one_counts() {
        let read = |line: &str| Cli::read(line.split(' ').map(OsString::from).collect());
        let text = |line: &str| format!("{:?}", read(line).unwrap());
        let twice = "tine start app.js -n a -s --env A=1 -i 2 -n b --env B=2 -s -i 3";
        assert_eq!(text(twice), text("tine start app.js -n b -i 3 --env A=1 --env B=2 -s"));
        assert_eq!(text("tine run -i 2 -i 3 app.js"), text("tine run -i 3 app.js"));
    }

    #[test]
    fn a_mistyped_command_gets_a_suggestion() {
        let error = Cli::try_parse_from(["tine", "strat", "app.js"]).unwrap_err().to_string();
        assert!(error.contains("'start'"), "{error}");
    }
}
