//! Options that say how an app runs. pm2's have pm2's names and meanings; each becomes a key of a
//! [`Patch`].

mod ignored;
mod output;
mod program;
mod sharing;
mod supervision;
mod watch;

use std::path::{Path, PathBuf};

use crate::{home::Home, spec::Patch};

/// All of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AppOptions {
    #[command(flatten)]
    program: program::Program,
    #[command(flatten)]
    sharing: sharing::Sharing,
    #[command(flatten)]
    supervision: supervision::Supervision,
    #[command(flatten)]
    watch: watch::Watching,
    #[command(flatten)]
    output: output::Output,
    #[command(flatten)]
    ignored: ignored::Ignored,
}

/// What relative paths are relative to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of whoever types; absolute.
    pub here: PathBuf,
    /// Where log files are that nobody named.
    pub logs: PathBuf,
}

impl AppOptions {
    /// The keys that were named, and no other. `name` is what the app is called if `--name` does not say.
    #[must_use]
    pub fn patch(&self, place: &Place, name: Option<&str>) -> Patch {
        let mut patch = Patch::new();
        self.program.lay(place, &mut patch);
        self.sharing.lay(&mut patch);
        self.supervision.lay(&mut patch);
        self.watch.lay(&self.program.directory(place), &mut patch);
        self.output.lay(self.name().or(name), place, &mut patch);
        patch
    }

    /// Some options may have a value and may have none (`--watch app.js`, `--stop-exit-codes 0 app.js`):
    /// what they took from the targets is given back.
    pub fn settle(&mut self, targets: &mut Vec<String>) {
        let taken = self.supervision.give_back();
        targets.splice(0..0, taken);
        if targets.is_empty() {
            targets.extend(self.watch.give_back().or_else(|| self.output.give_back()));
        }
        if let Some(option) = self.watch.unheard() {
            eprintln!("tine: {option} changes nothing without --watch");
        }
    }

    /// `--name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.program.name.as_deref()
    }

    /// `--interpreter`.
    #[must_use]
    pub fn interpreter(&self) -> Option<&str> {
        self.program.interpreter.as_deref()
    }

    /// Where the app is to run; absolute.
    #[must_use]
    pub fn directory(&self, place: &Place) -> PathBuf {
        self.program.directory(place)
    }

    /// `--env NAME`: the environment that is chosen from a file.
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        self.program.environment()
    }

    /// Whether how many was said, and nothing of `-x`.
    #[must_use]
    pub fn wants_cluster(&self) -> bool {
        self.program.wants_cluster()
    }

    /// A bare `--watch`, which turns watching off where it was on.
    #[must_use]
    pub fn toggles_watch(&self) -> bool {
        self.watch.is_bare()
    }
}

impl Place {
    /// Of this process, with the log files of this home.
    ///
    /// # Errors
    ///
    /// When the working directory is gone.
    pub fn here(home: &Home) -> std::io::Result<Self> {
        Ok(Self { here: std::env::current_dir()?, logs: home.root().join("logs") })
    }

    /// The path from here, without `.` and `..` being looked up.
    fn absolute(&self, path: &Path) -> PathBuf {
        let joined = self.here.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    /// The same for a log file: pm2's `NULL` is nowhere.
    fn log(&self, path: &Path) -> PathBuf {
        if path == "NULL" { "/dev/null".into() } else { self.absolute(path) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::spec::AppSpec;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        targets: Vec<String>,
        #[command(flatten)]
        options: AppOptions,
    }

    pub(super) fn place() -> Place {
        Place { here: "/work".into(), logs: "/home/.tine/logs".into() }
    }

    /// The app that this line makes, and its targets.
    pub(super) fn parsed(line: &[&str]) -> Result<(AppSpec, Vec<String>), clap::Error> {
        let mut line = Line::try_parse_from(line)?;
        line.options.settle(&mut line.targets);
        let patch = line.options.patch(&place(), None);
        Ok((patch.apply_to_default().expect("every key is known"), line.targets))
    }

    pub(super) fn spec(line: &[&str]) -> AppSpec {
        parsed(line).expect("a line without mistakes").0
    }

    pub(super) fn patch(line: &[&str]) -> Patch {
        Line::try_parse_from(line).expect("a line without mistakes").options.patch(&place(), None)
    }

    #[test]
    fn what_is_not_named_is_not_touched() {
        assert!(patch(&["app.js"]).is_empty());
        assert_eq!(spec(&["app.js"]), AppSpec::default());
    }

    #[test]
    fn options_stand_before_and_after_targets_and_with_an_equals_sign() {
        for line in
            [&["-n", "a", "app.js"][..], &["app.js", "--name", "a"], &["app.js", "--name=a"]]
        {
            let (spec, targets) = parsed(line).unwrap();
            assert_eq!((spec.name.as_str(), targets), ("a", vec!["app.js".to_owned()]));
        }
    }

    #[test]
    fn what_pm2_ignores_says_nothing_and_does_nothing() {
        let line = [
            "--no-vizion",
            "--no-pmx",
            "--no-automation",
            "--source-map-support",
            "--disable-source-map-support",
            "--trace",
            "--disable-trace",
            "--v8",
            "--write",
            "--event-loop-inspector",
            "--deep-monitoring",
            "--ext",
            "js",
            "--hp",
            "/x",
            "--wait-ip",
            "--service-name",
            "x",
            "-w",
        ];
        // `-w` is `--write`; given once by each name.
        let line: Vec<&str> = line.into_iter().filter(|word| *word != "-w").collect();
        assert!(patch(&line).is_empty());
        assert!(patch(&["-w"]).is_empty());
    }

    #[test]
    fn a_mistyped_option_gets_a_suggestion() {
        let error = parsed(&["--instence", "3"]).unwrap_err().to_string();
        assert!(error.contains("--instances"), "{error}");
    }
}
