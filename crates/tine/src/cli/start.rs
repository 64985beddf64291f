//! `tine start`: scripts, command lines, files of apps, and apps that are there already.

mod sort;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use anyhow::bail;
use tine_cluster::primary::ProgramKind;

use super::{
    file::{self, Choice},
    inherited::inherited,
    options::{AppOptions, Place},
    session::Session,
    show::Show,
};
use crate::{
    api::{
        apps::{AppRequest, AppView, Change, Detail, Known, Outcome, Start, Status},
        reload::Rolling,
    },
    home::Home,
    program::{self, Wanted},
    render::Screen,
    spec::{Env, Mode, Patch},
};
use sort::Piece;

pub(super) const EXAMPLES: &str = "\
Examples:
  tine start server.js -i 3                three workers share the port that server.js listens on
  tine start app.py --name api -- --debug  what follows -- are the program's own arguments
  tine start \"php -S 0.0.0.0:8003\"         a command line
  tine start                               what tine.toml or ecosystem.config.js of this directory says
  tine start tine.toml --only api,web      two apps of a file
  tine start api --max-memory-restart 1G   an app that is there: started anew with what was changed
  tine start server.js --health /health --policy sticky --drain-timeout 1m";

/// The arguments of `tine start`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scripts, commands, files of apps, `-` for JSON on standard input; or names, ids, namespaces
    #[arg(value_name = "WHAT")]
    words: Vec<String>,
    #[command(flatten)]
    options: AppOptions,
    #[command(flatten)]
    choice: Choice,
    /// Start it once more, although it is there already
    #[arg(short, long)]
    force: bool,
    /// Follow its output afterwards, until Ctrl-C
    #[arg(long)]
    attach: bool,
    /// Means nothing at a first start
    #[arg(long, hide = true, value_name = "N")]
    parallel: Option<u32>,
    /// That is `tine run`
    #[arg(long, hide = true)]
    no_daemon: bool,
    #[command(flatten)]
    show: Show,
    /// The program's arguments
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Starts everything, shows what became of it; 1 if anything failed.
///
/// # Errors
///
/// When there is no such script, file or app, or the manager does not work.
pub fn run(mut args: Args, screen: Screen) -> anyhow::Result<ExitCode> {
    if args.no_daemon {
        bail!("in the foreground it is `tine run` (or `tine daemon --foreground` for many apps)");
    }
    args.options.settle(&mut args.words);
    let place = Place::here(&Home::from_env()?)?;
    let mut session = Session::find(&args.show, screen)?;
    let apps = session.apps(Detail::Row, &[])?;
    let requests = Plan { args: &args, place: &place, apps: &apps }.requests()?;
    session.start_manager()?;
    let requests = at_home(requests, &args.options, &mut session)?;
    let outcomes = carry_out(&mut session, &requests)?;
    let started: Vec<String> = outcomes.iter().map(|outcome| outcome.app.clone()).collect();
    let code = session.finish(&outcomes)?;
    if args.attach && code == ExitCode::SUCCESS {
        return super::follow::apps(started, screen);
    }
    Ok(code)
}

/// A bare `--watch` means the directory of each app that is there, not that of whoever types.
fn at_home(
    requests: Vec<AppRequest>,
    options: &AppOptions,
    session: &mut Session,
) -> anyhow::Result<Vec<AppRequest>> {
    let mut all = Vec::new();
    for request in requests {
        match request {
            AppRequest::Restart(change) if options.toggles_watch() => {
                let apps = session.apps(Detail::Spec, &change.targets)?;
                let each = apps.iter().map(|app| super::change::watched(&change, app));
                all.extend(each.map(AppRequest::Restart));
            }
            request => all.push(request),
        }
    }
    Ok(all)
}

fn carry_out(session: &mut Session, requests: &[AppRequest]) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.extend(session.act(request)?);
    }
    Ok(outcomes)
}

/// From the words to the requests, before anything is done.
struct Plan<'a> {
    args: &'a Args,
    place: &'a Place,
    apps: &'a [AppView],
}

impl Plan<'_> {
    fn requests(&self) -> anyhow::Result<Vec<AppRequest>> {
        let env = inherited();
        let pieces =
            sort::sort(&self.args.words, self.apps, &|path| self.place.here.join(path).exists());
        let mut requests = Vec::new();
        let mut known = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Default => requests.push(self.of_file(None, &env)?),
                Piece::File(word) => requests.push(self.of_file(Some(&word), &env)?),
                // A second one of it is a script once more.
                Piece::Known(word) if self.args.force => {
                    requests.push(self.of_script(&word, &env)?);
                }
                Piece::Known(word) => known.push(word),
                Piece::New(word) => requests.push(self.of_script(&word, &env)?),
            }
        }
        if !known.is_empty() {
            requests.push(self.of_known(known, env));
        }
        Ok(requests)
    }

    fn of_file(&self, word: Option<&str>, env: &Env) -> anyhow::Result<AppRequest> {
        let known = if self.args.force { Known::Double } else { Known::Restart };
        let mut start = file::start(word, &self.args.choice, &self.args.options, self.place)?;
        start.known = known;
        start.inherited = env.clone();
        Ok(AppRequest::Start(start))
    }

    fn of_known(&self, targets: Vec<String>, env: Env) -> AppRequest {
        let mut patch = self.args.options.patch(self.place, None);
        if !self.args.arguments.is_empty() {
            patch.set("args", &self.args.arguments);
        }
        let inherited = self.args.choice.update_env.then_some(env);
        AppRequest::Restart(Change { targets, patch, inherited, rolling: Rolling::default() })
    }

    fn of_script(&self, word: &str, env: &Env) -> anyhow::Result<AppRequest> {
        let directory = self.args.options.directory(self.place);
        let script = self.script(word, &directory);
        let wanted = self.wanted(&script, directory.clone(), env);
        let name = self.args.options.name().map_or_else(|| program::name(&wanted), str::to_owned);
        let found = program::find(&wanted)?;
        let mut patch = courtesy(env);
        patch.merge(self.args.options.patch(self.place, Some(&name)));
        patch.set("name", &name);
        patch.set("script", &script);
        patch.set("cwd", &directory);
        patch.set("args", &self.args.arguments);
        if found.program.kind == ProgramKind::Node && self.args.options.wants_cluster() {
            patch.set("exec_mode", Mode::Cluster);
        }
        Ok(AppRequest::Start(Start {
            known: self.if_known(&name),
            apps: vec![patch],
            inherited: env.clone(),
            update_env: self.args.choice.update_env,
            whole: false,
            idle: BTreeSet::new(),
            rolling: Rolling::default(),
        }))
    }

    /// A file of whoever types is found also if the app is to run somewhere else.
    fn script(&self, word: &str, directory: &std::path::Path) -> String {
        let typed = self.place.here.join(word);
        if !directory.join(word).exists() && typed.is_file() {
            return typed.display().to_string();
        }
        word.to_owned()
    }

    fn wanted(&self, script: &str, directory: PathBuf, env: &Env) -> Wanted {
        let words = std::iter::once(script).chain(self.args.arguments.iter().map(String::as_str));
        Wanted {
            words: words.map(Into::into).collect(),
            interpreter: self.args.options.interpreter().map(Into::into),
            interpreter_args: Vec::new(),
            directory: Some(directory),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    /// One that is stopped starts; one that runs is told apart from one that was forgotten to be there.
    fn if_known(&self, name: &str) -> Known {
        if self.args.force {
            return Known::Double;
        }
        let runs = |app: &AppView| {
            app.workers.iter().any(|w| !matches!(w.status, Status::Stopped | Status::Errored))
        };
        let app = self.apps.iter().find(|app| app.name == name);
        if app.is_some_and(|app| !runs(app)) { Known::Restart } else { Known::Refuse }
    }
}

/// Variables that pm2's users set for their apps; options go before them.
fn courtesy(env: &Env) -> Patch {
    let mut patch = Patch::new();
    let said = |name: &str| {
        ["TINE_", "PM2_"].iter().find_map(|prefix| env.get(&format!("{prefix}{name}")))
    };
    if said("KILL_USE_MESSAGE").is_some_and(|value| value == "true" || value == "1") {
        patch.set("shutdown_with_message", true);
    }
    for (name, key) in
        [("KILL_TIMEOUT", "kill_timeout"), ("GRACEFUL_LISTEN_TIMEOUT", "listen_timeout")]
    {
        if let Some(millis) = said(name).and_then(|value| super::values::millis(value).ok()) {
            patch.set(key, millis);
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_pm2_are_heeded_and_tines_go_first() {
        let env = |pairs: &[(&str, &str)]| -> Env {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert!(courtesy(&env(&[("PATH", "/bin")])).is_empty());
        let patch = courtesy(&env(&[
            ("PM2_KILL_USE_MESSAGE", "true"),
            ("PM2_KILL_TIMEOUT", "500"),
            ("TINE_KILL_TIMEOUT", "2s"),
            ("PM2_GRACEFUL_LISTEN_TIMEOUT", "100"),
        ]));
        let spec = patch.apply_to_default().unwrap();
        assert!(spec.shutdown_with_message);
        assert_eq!(
            (spec.kill_timeout.0, spec.listen_timeout),
            (2000, Some(crate::spec::Millis(100)))
        );
    }
}
