//! `tine serve`: static files over HTTP, as an app.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use super::{inherited::inherited, session::Session, show::Show, values};
use crate::{
    api::apps::{AppRequest, Known, Start},
    render::Screen,
    serve::{self, DEFAULT_PORT, Site},
    spec::{Env, Instances, Patch},
};

const EXAMPLES: &str = "\
Examples:
  tine serve                       this directory on port 8080
  tine serve dist 3000 --spa       one page that knows what to show for every path
  tine serve /srv/www -i 2 --name site --basic-auth-username ann --basic-auth-password secret
  tine serve --foreground dist     here and now, until Ctrl-C";

/// The arguments of `tine serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory [default: this one]
    path: Option<PathBuf>,
    /// The port [default: 8080]
    #[arg(value_name = "PORT")]
    port_word: Option<u16>,
    /// The same
    #[arg(long, conflicts_with = "port_word")]
    port: Option<u16>,
    /// The app's name [default: static-page-server-PORT]
    #[arg(short, long)]
    name: Option<String>,
    /// index.html answers for every path that is no file
    #[arg(long)]
    spa: bool,
    /// Ask for this name
    #[arg(long, value_name = "NAME", requires = "basic_auth_password")]
    basic_auth_username: Option<String>,
    /// And this password
    #[arg(long, value_name = "PASSWORD", requires = "basic_auth_username")]
    basic_auth_password: Option<String>,
    /// How many workers: a number, `max` (or 0) for one per CPU, or -N for all CPUs but N
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = values::instances)]
    instances: Option<Instances>,
    #[command(flatten)]
    show: Show,
    /// In this process, and not as an app
    #[arg(long)]
    foreground: bool,
}

/// Starts the app, or serves.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(args: &Args, screen: Screen) -> anyhow::Result<ExitCode> {
    if args.foreground {
        let mut site = Site::from_env()?;
        args.overrule(&mut site);
        serve::run(&site)?;
        return Ok(ExitCode::SUCCESS);
    }
    let here = env::current_dir().context("find out where this is")?;
    let start = Start {
        apps: vec![args.patch(&here)?],
        inherited: inherited(),
        known: Known::Refuse,
        update_env: false,
        whole: false,
        idle: BTreeSet::new(),
    };
    Session::open(&args.show, screen)?.carry_out(&AppRequest::Start(start))
}

impl Args {
    fn port(&self) -> Option<u16> {
        self.port.or(self.port_word)
    }

    /// What was typed goes before what the environment says.
    fn overrule(&self, site: &mut Site) {
        if let Some(path) = &self.path {
            site.directory.clone_from(path);
        }
        if let Some(port) = self.port() {
            site.address.set_port(port);
        }
        site.spa |= self.spa;
        if let (Some(name), Some(password)) = (&self.basic_auth_username, &self.basic_auth_password)
        {
            site.login = Some(serve::Login { name: name.clone(), password: password.clone() });
        }
    }

    /// The app: this command itself, told by its environment what to serve.
    fn patch(&self, cwd: &Path) -> anyhow::Result<Patch> {
        let port = self.port().unwrap_or(DEFAULT_PORT);
        let directory = cwd.join(self.path.as_deref().unwrap_or(Path::new(".")));
        let mut env: Env = [
            ("PM2_SERVE_PATH".to_owned(), directory.to_string_lossy().into_owned()),
            ("PM2_SERVE_PORT".to_owned(), port.to_string()),
        ]
        .into();
        if self.spa {
            env.insert("PM2_SERVE_SPA".to_owned(), "true".to_owned());
        }
        if let (Some(name), Some(password)) = (&self.basic_auth_username, &self.basic_auth_password)
        {
            env.insert("PM2_SERVE_BASIC_AUTH_USERNAME".to_owned(), name.clone());
            env.insert("PM2_SERVE_BASIC_AUTH_PASSWORD".to_owned(), password.clone());
        }
        let tine = env::current_exe().context("find out where this command is")?;
        let mut patch = Patch::new();
        let name = self.name.clone().unwrap_or_else(|| format!("static-page-server-{port}"));
        patch.set("name", name);
        patch.set("script", tine.to_string_lossy());
        patch.set("args", ["serve", "--foreground"]);
        patch.set("interpreter", "none");
        patch.set("cwd", cwd);
        patch.set("env", env);
        if let Some(instances) = self.instances {
            patch.set("instances", instances);
        }
        Ok(patch)
    }
}
