//! `tine restart`, `tine reload` and pm2's `startOr…`: new workers for apps.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    file::{self, Choice},
    inherited::inherited,
    options::{AppOptions, Place},
    session::{Session, need},
    show::Show,
    targets, values,
};
use crate::{
    api::{
        apps::{AppRequest, AppView, Change, Detail, Known, Outcome, Target},
        reload::Rolling,
    },
    home::Home,
    render::Screen,
    spec::{Action, Millis, Patch},
};

pub(super) const RESTART: &str = "\
Examples:
  tine restart api                      stop, then start; connections finish first
  tine restart all --update-env         with the environment of this shell
  tine restart api web -i 4             with four workers each
  tine restart api --watch              begins to watch files, or ends it
  tine restart ecosystem.config.js      what the file says now; what is missing is started";

pub(super) const RELOAD: &str = "\
Examples:
  tine reload api                       new workers before old ones, one by one, no request lost
  tine reload 2                         one worker, by its id
  tine reload all --parallel 2          two at a time
  tine reload api --force               gives up a reload of it that runs
  tine reload api --keep-old 10m        `tine rollback api` goes back at once, for ten minutes
  tine reload api --canary 5            5 % of the connections, until `tine promote api` or `tine rollback api`
  tine reload api --verify              asks it all the while; tells what was lost, how long who waited
  tine reload tine.toml                 what the file says now; what is missing is started
The first new worker is tried alone: if it fails, the old ones serve on and the command fails.";

pub(super) const START_OR: &str = "\
Examples:
  tine startOrReload ecosystem.config.js --env production
  tine startOrRestart tine.toml --only api";

/// The arguments of `tine restart` and `tine reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, ids, namespaces, `all`, `/expressions/`, scripts, or files of apps
    #[arg(value_name = "APP")]
    words: Vec<String>,
    #[command(flatten)]
    options: AppOptions,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    show: Show,
    /// The program's new arguments
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// How a reload goes.
#[derive(Debug, clap::Args)]
struct How {
    /// Reload so many workers at a time: --parallel 2
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    parallel: Option<u32>,
    /// Give up a reload that runs, or a canary that is tried, for this one: reload api --force
    #[arg(short, long)]
    force: bool,
    /// Keep the old workers for so long, without connections, for `tine rollback`: --keep-old 10m
    #[arg(long, value_name = "DURATION", value_parser = long_enough, conflicts_with = "canary")]
    keep_old: Option<Millis>,
    /// Give the new version this part of the connections, until `tine promote` or `tine rollback`:
    /// --canary 5
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<u8>,
    /// Ask the app meanwhile, as a client does, and tell what was lost; 1 if anything was: reload api --verify
    #[arg(long)]
    verify: bool,
}

/// With its sign or without.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse();
    let number = number.ok().filter(|number| (1..100).contains(number));
    number.ok_or_else(|| "write a whole number of percent, from 1 to 99: 5 or 5%".to_owned())
}

/// In the help of a restart, which refuses these: it stops the old workers first.
pub(super) fn hide_reloads_own(option: clap::Arg) -> clap::Arg {
    let is_reloads = ["keep_old", "canary", "verify"].contains(&option.get_id().as_str());
    if is_reloads { option.hide(true) } else { option }
}

fn long_enough(text: &str) -> Result<Millis, String> {
    let time = values::millis(text)?;
    if time < Millis::from_secs(1) {
        return Err("nobody goes back in less than a second; write 30s, 10m or 1h".to_owned());
    }
    Ok(time)
}

impl How {
    const fn rolling(&self) -> Rolling {
        let Self { parallel, force, keep_old, canary, verify } = *self;
        Rolling { parallel, force, verify, keep_old, canary }
    }

    /// Workers that stop before others start cannot be kept beside them.
    fn check(&self, how: Action) -> anyhow::Result<()> {
        let kept = self.keep_old.is_some() || self.canary.is_some();
        if how == Action::Restart && kept {
            anyhow::bail!(
                "--keep-old and --canary are for `tine reload`: a restart stops the old workers first"
            );
        }
        Ok(())
    }
}

/// Gives the apps new workers, shows what became of it; 1 if anything failed.
///
/// # Errors
///
/// When there is no such app or file, or the manager does not work.
pub fn run(mut args: Args, how: Action, screen: Screen) -> anyhow::Result<ExitCode> {
    args.how.check(how)?;
    args.options.settle(&mut args.words);
    need(&args.words, "say which app: a name, an id, a namespace, a file, or `all`")?;
    let place = Place::here(&Home::from_env()?)?;
    let (files, words): (Vec<String>, Vec<String>) =
        args.words.iter().cloned().partition(|word| file::is_source(word));
    if args.how.verify && (how == Action::Restart || !files.is_empty()) {
        bail!("--verify is for `tine reload` with the names of apps");
    }
    let mut requests = Vec::new();
    for file in &files {
        requests.push(of_file(file, &args, how, &place)?);
    }
    let mut session = Session::find(&args.show, screen)?;
    if !files.is_empty() {
        session.start_manager()?;
    }
    if !words.is_empty() {
        let targets = targets::resolve(&words, &mut session)?;
        requests.extend(of_apps(&mut session, targets, &args, how, &place)?);
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for request in &requests {
        outcomes.extend(session.act(request)?);
    }
    session.finish(&outcomes)
}

fn of_file(file: &str, args: &Args, how: Action, place: &Place) -> anyhow::Result<AppRequest> {
    let mut start = file::start(Some(file), &args.choice, &args.options, place)?;
    start.inherited = inherited();
    start.rolling = args.how.rolling();
    start.known = match how {
        Action::Restart => Known::Restart,
        Action::Reload => Known::Reload,
    };
    Ok(AppRequest::Start(start))
}

/// A bare `--watch` means something else for each app.
fn of_apps(
    session: &mut Session,
    targets: Vec<Target>,
    args: &Args,
    how: Action,
    place: &Place,
) -> anyhow::Result<Vec<AppRequest>> {
    let mut patch = args.options.patch(place, None);
    if !args.arguments.is_empty() {
        patch.set("args", &args.arguments);
    }
    let inherited = args.choice.update_env.then(inherited);
    let change = Change { targets, patch, inherited, rolling: args.how.rolling() };
    let changes = if args.options.toggles_watch() {
        let apps = session.apps(Detail::Spec, &change.targets)?;
        apps.iter().map(|app| toggled(&change, app)).collect()
    } else {
        vec![change]
    };
    let request = match how {
        Action::Restart => AppRequest::Restart,
        Action::Reload => AppRequest::Reload,
    };
    Ok(changes.into_iter().map(request).collect())
}

/// Watches the app's own directory, or nothing any more.
fn toggled(change: &Change, app: &AppView) -> Change {
    if !app.watching {
        return watched(change, app);
    }
    let mut patch = change.patch.clone();
    patch.unset("watch");
    Change { targets: vec![app.name.clone()], patch, ..change.clone() }
}

/// Watches the app's own directory.
pub(super) fn watched(change: &Change, app: &AppView) -> Change {
    let mut patch = change.patch.clone();
    if let Some(spec) = &app.spec {
        patch.merge(watching(&patch, &spec.cwd));
    }
    Change { targets: vec![app.name.clone()], patch, ..change.clone() }
}

fn watching(patch: &Patch, directory: &std::path::Path) -> Patch {
    let mut watch = patch.get("watch").cloned().unwrap_or_default();
    watch["paths"] = serde_json::json!([directory]);
    let mut over = Patch::new();
    over.set("watch", watch);
    over
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_part_is_a_number_of_percent_with_its_sign_or_without() {
        assert_eq!((percent("5"), percent("5%"), percent("99 %")), (Ok(5), Ok(5), Ok(99)));
        for wrong in ["0", "100", "5.5%", "%", "many", "-1"] {
            assert!(percent(wrong).is_err_and(|text| text.contains("5%")), "{wrong}");
        }
    }
}
