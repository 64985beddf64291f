//! What is done when files change.

use std::path::{Path, PathBuf};

use crate::{
    cli::values,
    spec::{Action, Millis, Patch, Watch},
};

/// What is watched.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Watching files")]
pub(super) struct Watching {
    /// Restart when a file below PATH changes [bare: below the app's directory]; may be given again
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    watch: Option<Vec<String>>,
    /// Files that do not count: globs or parts of a path; may be given again
    #[arg(long, value_name = "PATTERN")]
    ignore_watch: Vec<String>,
    /// Quiet for so long before the restart [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    watch_delay: Option<Millis>,
    /// Reload instead: new before old, one by one
    #[arg(long)]
    watch_reload: bool,
}

impl Watching {
    /// `directory` is what a bare `--watch` means.
    pub(super) fn lay(&self, directory: &Path, patch: &mut Patch) {
        let Some(paths) = &self.watch else { return };
        let mut watch = Watch { paths: paths_below(directory, paths), ..Watch::default() };
        let ignored = self.ignore_watch.iter().flat_map(|list| list.split_whitespace());
        watch.ignore.extend(ignored.map(str::to_owned));
        watch.delay = self.watch_delay.unwrap_or(watch.delay);
        if self.watch_reload {
            watch.action = Action::Reload;
        }
        patch.set("watch", watch);
    }

    /// An option that says how to watch, where nobody says that files are to be watched.
    pub(super) fn unheard(&self) -> Option<&'static str> {
        let given = [
            (!self.ignore_watch.is_empty(), "--ignore-watch"),
            (self.watch_delay.is_some(), "--watch-delay"),
            (self.watch_reload, "--watch-reload"),
        ];
        let first = given.into_iter().find(|(given, _)| *given).map(|(_, name)| name);
        first.filter(|_| self.watch.is_none())
    }

    pub(super) fn is_bare(&self) -> bool {
        self.watch.as_ref().is_some_and(Vec::is_empty)
    }

    pub(super) fn give_back(&mut self) -> Option<String> {
        self.watch.as_mut().and_then(|paths| if paths.len() == 1 { paths.pop() } else { None })
    }
}

fn paths_below(directory: &Path, paths: &[String]) -> Vec<PathBuf> {
    let each = paths.iter().flat_map(|list| list.split_whitespace());
    let paths: Vec<PathBuf> = each.map(|path| directory.join(path)).collect();
    if paths.is_empty() { vec![directory.to_owned()] } else { paths }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, spec};
    use super::*;

    #[test]
    fn a_bare_watch_is_the_directory_of_the_app() {
        let watch = spec(&["app.js", "--watch"]).watch.unwrap();
        assert_eq!(watch, Watch { paths: vec!["/work".into()], ..Watch::default() });
        let watch = spec(&["app.js", "--cwd", "sub", "--watch"]).watch.unwrap();
        assert_eq!(watch.paths, [PathBuf::from("/work/sub")]);
    }

    #[test]
    fn a_watch_that_took_the_only_target_gives_it_back() {
        let (spec, targets) = parsed(&["--watch", "app.js"]).unwrap();
        assert_eq!(
            (spec.watch.unwrap().paths, targets),
            (vec!["/work".into()], vec!["app.js".to_owned()])
        );
        let (spec, targets) = parsed(&["app.js", "--watch", "lib", "--watch=/etc"]).unwrap();
        let paths: Vec<PathBuf> = vec!["/work/lib".into(), "/etc".into()];
        assert_eq!((spec.watch.unwrap().paths, targets), (paths, vec!["app.js".to_owned()]));
    }

    #[test]
    fn what_does_not_count_is_added_to_what_never_does() {
        let line =
            ["a", "--watch", "--ignore-watch", "tmp *.log", "--watch-delay=1s", "--watch-reload"];
        let watch = spec(&line).watch.unwrap();
        assert_eq!(watch.ignore[2..], ["tmp", "*.log"]);
        assert_eq!((watch.delay, watch.action), (Millis(1000), Action::Reload));
    }
}
