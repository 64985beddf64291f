//! `tine startup` and `tine unstartup`: the saved apps come back when the machine does.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use rustix::process::{geteuid, getuid};
use serde_json::{Value, json};
use tine_linux::account::{Account, account_of_name, account_of_uid};

use super::{print, print_json};
use crate::{
    boot::{Init, Service, Step},
    home::Home,
};

const EXAMPLES: &str = "\
Examples:
  tine startup                    as root: a service of the system; otherwise one of the user
  sudo tine startup -u deploy     the apps of another user
  tine startup --dry-run          only shows what would be written and run
  tine save                       the apps that run now are those that come back
  tine unstartup                  takes the service away again; apps that run go on";

/// The arguments of `tine startup` and `tine unstartup`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// systemd, systemd-user or openrc [default: what this machine has]
    #[arg(value_name = "PLATFORM")]
    init: Option<Init>,
    /// Whose apps [default: those of whoever asks, also through sudo]
    #[arg(short, long)]
    user: Option<String>,
    /// That user's home directory [default: as the system has it]
    #[arg(long, value_name = "DIRECTORY")]
    hp: Option<PathBuf>,
    /// What the service is called [default: tine-USER, or tine as a service of the user]
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    service_name: Option<String>,
    /// Start only when the machine has an address
    #[arg(long)]
    wait_ip: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: the service's file, and the steps
    #[arg(long)]
    json: bool,
}

/// It becomes the name of a file.
fn service_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c);
    if !text.is_empty() && !text.starts_with('.') && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name for a service: write letters, digits, `-`, `_`, `.`, `:` or `@`"
    ))
}

/// Installs the service.
///
/// # Errors
///
/// When this machine or this user cannot have one; what was done until then is said.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (init, service) = find(args)?;
    let steps = service.install(init);
    if args.dry_run {
        return show(args, (init, &service), &steps);
    }
    if needs_root(init) {
        return Ok(tell_root("startup", args, &service));
    }
    carry_out(&steps)?;
    if args.json {
        return show(args, (init, &service), &steps);
    }
    print(&format!(
        "installed {} ({init}): it starts the apps of {} at boot\n\
         Now `tine save` whenever the apps that run are those that shall come back.\n",
        service.file(init).display(),
        service.user
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the service away.
///
/// # Errors
///
/// When there is none, or it cannot be removed.
pub fn undo(args: &Args) -> anyhow::Result<ExitCode> {
    let (init, service) = find(args)?;
    let file = service.file(init);
    if !file.exists() {
        bail!("there is no {}: nothing is started at boot for {}", file.display(), service.user);
    }
    let steps = service.remove(init);
    if args.dry_run {
        return show(args, (init, &service), &steps);
    }
    if needs_root(init) {
        return Ok(tell_root("unstartup", args, &service));
    }
    carry_out(&steps)?;
    if args.json {
        return show(args, (init, &service), &steps);
    }
    print(&format!("removed {}; apps that run go on\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn find(args: &Args) -> anyhow::Result<(Init, Service)> {
    let account = account(args)?;
    let init = match args.init {
        Some(init) => init,
        None => detect()?,
    };
    let default_name = match init {
        Init::SystemdUser => "tine".to_owned(),
        Init::Systemd | Init::OpenRc => format!("tine-{}", account.name.to_string_lossy()),
    };
    let home = args.hp.clone().unwrap_or_else(|| account.home.clone());
    let own = account.uid == getuid();
    // Of another user nothing is known but where tine keeps things by default.
    let tine_home = if own && args.hp.is_none() {
        Home::from_env()?.path().to_owned()
    } else {
        home.join(".tine")
    };
    let service = Service {
        name: args.service_name.clone().unwrap_or(default_name),
        user: account.name.to_string_lossy().into_owned(),
        home,
        tine_home,
        tine: env::current_exe().context("find out where this command is")?,
        path: env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
        wait_ip: args.wait_ip,
    };
    Ok((init, service))
}

/// Through sudo it is the user who asks, not root.
fn account(args: &Args) -> anyhow::Result<Account> {
    let asked = args.user.clone().or_else(|| {
        env::var("SUDO_USER").ok().filter(|_| geteuid().is_root() && args.user.is_none())
    });
    match asked {
        Some(name) => account_of_name(&name)
            .with_context(|| format!("look up the user {name}"))?
            .with_context(|| format!("there is no user {name} on this machine")),
        None => account_of_uid(getuid())
            .context("look up this user")?
            .context("this user has no entry in the system's list: name one with -u"),
    }
}

fn detect() -> anyhow::Result<Init> {
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(if geteuid().is_root() { Init::Systemd } else { Init::SystemdUser });
    }
    if Path::new("/run/openrc").exists() {
        return Ok(Init::OpenRc);
    }
    bail!(
        "neither systemd nor OpenRC runs here, so nothing can be started at boot; name one (`tine startup \
         systemd --dry-run`) to see its service file. In a container, let `tine run` or `tine daemon \
         --foreground --resurrect` be its command"
    )
}

fn needs_root(init: Init) -> bool {
    match init {
        Init::Systemd | Init::OpenRc => !geteuid().is_root(),
        Init::SystemdUser => false,
    }
}

/// What to type instead, with all that root would not know.
fn tell_root(command: &str, args: &Args, service: &Service) -> ExitCode {
    let platform = match args.init {
        Some(Init::OpenRc) => " openrc",
        Some(Init::Systemd | Init::SystemdUser) | None => " systemd",
    };
    eprintln!(
        "tine: a service of the system is installed by root. Type:\n  sudo env PATH=\"$PATH\" {} \
         {command}{platform} -u {} --hp {}",
        service.tine.display(),
        service.user,
        service.home.display()
    );
    if command == "startup" {
        eprintln!("or, without root, a service of your own: tine startup systemd-user");
    }
    ExitCode::FAILURE
}

fn show(
    args: &Args,
    (init, service): (Init, &Service),
    steps: &[Step],
) -> anyhow::Result<ExitCode> {
    if args.json {
        print_json(&json!({
            "init": init.to_string(), "file": service.file(init), "user": service.user,
            "done": !args.dry_run, "steps": steps.iter().map(step).collect::<Vec<_>>(),
        }))?;
    } else {
        let text: String = steps.iter().map(Step::to_string).collect();
        print(&format!("would\n{text}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn step(step: &Step) -> Value {
    match step {
        Step::Write { path, text, mode } => {
            json!({ "write": path, "text": text, "mode": format!("{mode:04o}") })
        }
        Step::Remove(path) => json!({ "remove": path }),
        Step::Run(words, may_fail) => json!({ "run": words, "may_fail": may_fail }),
    }
}

fn carry_out(steps: &[Step]) -> anyhow::Result<()> {
    for step in steps {
        match step {
            Step::Write { path, text, mode } => {
                write(path, text, *mode).with_context(|| format!("write {}", path.display()))?;
            }
            Step::Remove(path) => {
                remove(path).with_context(|| format!("remove {}", path.display()))?;
            }
            Step::Run(words, may_fail) => command(words, *may_fail)?,
        }
    }
    Ok(())
}

/// Whole, or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("tine-new");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn command(words: &[String], may_fail: bool) -> anyhow::Result<()> {
    let line = words.join(" ");
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let output =
        Command::new(program).args(args).output().with_context(|| format!("run `{line}`"))?;
    if output.status.success() || may_fail {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("`{line}` failed ({}): {}", output.status, said.trim())
}
