//! `tine run`: a manager in the foreground, for one app.

use std::{
    collections::BTreeSet, ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::builder::NonEmptyStringValueParser;
use rustix::process::Signal;
use tine_cluster::{
    core::{backoff::Limits, worker::Patience},
    policy::Policy,
    primary::Settings,
};

use super::values;
use crate::{
    foreground::{self, App},
    program::{self, Wanted},
    supervise::ground::Ground,
    units::{self, Instances},
    watchdog,
};

const EXAMPLES: &str = "\
Examples:
  tine run -i 3 server.js                 three workers share the port server.js listens on
  tine run -i max -- python3 app.py       one worker for each CPU; any program, unchanged
  tine run -i 4 --policy sticky ./server  the same client goes to the same worker
  tine run --listen 127.0.0.1:8080 ./srv  bound beforehand, passed as systemd passes sockets";

/// The arguments of `tine run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many workers: a number, `max` (or 0) for one per CPU, or -N for all CPUs but N
    #[arg(short, long, default_value = "1", allow_hyphen_values = true, value_parser = units::instances)]
    instances: Instances,
    /// Who gets the next connection: rr, random, sticky or shared
    #[arg(long, default_value = "rr")]
    policy: Policy,
    /// How that is done: auto, kernel-ebpf, kernel-cbpf, one-queue or hand-over
    #[arg(long, default_value = "auto", value_parser = values::mechanism)]
    mechanism: values::Wish,
    /// The app's name [default: the script's]
    #[arg(short, long, value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Run in this directory
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,
    /// A variable for the workers; may be given again
    #[arg(long, value_name = "K=V", value_parser = variable)]
    env: Vec<(OsString, OsString)>,
    /// What runs the script, instead of what its extension means; `none` for nothing
    #[arg(long, value_name = "PROGRAM")]
    interpreter: Option<OsString>,
    /// A port that each worker has for itself, not shared; may be given again
    #[arg(long, value_name = "PORT")]
    private_port: Vec<u16>,
    /// Bind this address before the start and pass it as systemd does; may be given again
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = values::address)]
    listen: Vec<SocketAddr>,
    /// How long a worker has between the stop signal and SIGKILL
    #[arg(short, long, default_value = "1600ms", value_name = "TIME", value_parser = units::duration)]
    kill_timeout: Duration,
    /// What tells a worker to stop, after its connections have finished
    #[arg(long, default_value = "SIGINT", value_name = "SIGNAL", value_parser = values::signal)]
    kill_signal: Signal,
    /// How long open connections may take to finish
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = units::duration)]
    drain_timeout: Duration,
    /// Give a worker up that ends so often in a row before --min-uptime
    #[arg(long, default_value = "8", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_restarts: u32,
    /// A worker that ends sooner ended too early
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = units::duration)]
    min_uptime: Duration,
    /// The wait after the first early end; it grows by one half each time, up to 15 s
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = units::duration)]
    restart_delay: Duration,
    /// The script, or the command after `--`, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        Some(_) | None => Err(format!("`{text}` is no NAME=VALUE")),
    }
}

/// Runs the app to its end.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    check_outside()?;
    let note = args.instances.note.clone();
    let app = app(args)?;
    if let Some(note) = note {
        eprintln!("tine: {note}");
    }
    match watchdog::split()? {
        watchdog::Side::Watchdog(dog) => dog.watch(),
        watchdog::Side::Manager(signals) => foreground::run(app, signals),
    }
}

/// The kernel allows one supervisor of system calls for a tree of processes.
pub(super) fn check_outside() -> anyhow::Result<()> {
    if std::env::var_os("TINE_WORKER_ID").is_some() {
        bail!(
            "this is a worker of tine already (TINE_WORKER_ID is set), and the kernel allows one \
             supervisor for each tree of processes: start this one outside of the other"
        );
    }
    Ok(())
}

fn app(args: Args) -> anyhow::Result<App> {
    let wanted = Wanted {
        words: args.command,
        interpreter: args.interpreter,
        interpreter_args: Vec::new(),
        directory: args.cwd,
        env: program::own_environment(args.env),
    };
    let name = args.name.unwrap_or_else(|| program::name(&wanted));
    let ground = Ground::prepare();
    let mut settings = Settings::new(program::find(&wanted)?.program, args.instances.count);
    settings.policy = args.policy;
    settings.mechanism = args.mechanism.0;
    settings.abilities = ground.abilities;
    settings.private_ports = args.private_port.into_iter().collect::<BTreeSet<_>>();
    settings.listen = args.listen;
    settings.stop_signal = args.kill_signal;
    settings.patience = Patience { drain: args.drain_timeout, kill: args.kill_timeout };
    settings.limits = Limits {
        first: args.restart_delay,
        min_uptime: args.min_uptime,
        max_restarts: args.max_restarts,
        ..Limits::default()
    };
    ground.check(&settings)?;
    settings.file_limit = ground.file_limit;
    settings.workers_die_with_manager = true;
    settings.owns_all_children = true;
    Ok(App { name, settings })
}
