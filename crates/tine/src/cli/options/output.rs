//! Where the output of the workers goes.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::Place;
use crate::spec::{LogType, Patch};

/// pm2's format of the time for `--time`.
const TIME: &str = "YYYY-MM-DDTHH:mm:ss";

/// Where the output goes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Its output")]
pub(super) struct Output {
    /// The file for standard output; NULL for nowhere
    #[arg(id = "output", short = 'o', long = "output", value_name = "FILE")]
    out: Option<PathBuf>,
    /// The file for standard error
    #[arg(short, long, value_name = "FILE")]
    error: Option<PathBuf>,
    /// A file for both, beside the two
    #[arg(short, long, value_name = "FILE", num_args = 0..=1)]
    log: Option<Vec<PathBuf>>,
    /// One file for all workers
    #[arg(long)]
    merge_logs: bool,
    /// Lines as they come, or as JSON objects
    #[arg(long, value_enum, value_name = "TYPE")]
    log_type: Option<Kind>,
    /// The time before each line, as "YYYY-MM-DD HH:mm:ss"
    #[arg(long, value_name = "FORMAT")]
    log_date_format: Option<String>,
    /// The time before each line, as 2026-11-22T21:30:00
    #[arg(long)]
    time: bool,
    /// Write no files
    #[arg(long)]
    disable_logs: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Raw,
    Json,
}

impl Output {
    pub(super) fn lay(&self, name: Option<&str>, place: &Place, patch: &mut Patch) {
        let mut keys = Map::new();
        let mut set = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        for (key, path) in [("out_file", &self.out), ("error_file", &self.error)] {
            if let Some(path) = path {
                set(key, json!(place.log(path)));
            }
        }
        if let Some(path) = &self.log {
            set("combined_file", json!(combined(path.last(), name, place)));
        }
        if self.merge_logs {
            set("merge", json!(true));
        }
        if let Some(kind) = self.log_type {
            set("kind", json!(kind.of_spec()));
        }
        let time = self.time.then(|| TIME.to_owned());
        if let Some(format) = self.log_date_format.clone().or(time) {
            set("date_format", json!(format));
        }
        if self.disable_logs {
            set("disabled", json!(true));
        }
        if !keys.is_empty() {
            patch.set("logs", keys);
        }
    }

    pub(super) fn give_back(&mut self) -> Option<String> {
        let taken = self.log.as_mut()?.pop()?;
        Some(taken.to_string_lossy().into_owned())
    }
}

fn combined(path: Option<&PathBuf>, name: Option<&str>, place: &Place) -> PathBuf {
    let default = || place.logs.join(format!("{}.log", name.unwrap_or("all")));
    path.map_or_else(default, |path| place.log(path))
}

impl Kind {
    const fn of_spec(self) -> LogType {
        match self {
            Self::Raw => LogType::Raw,
            Self::Json => LogType::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, spec};
    use super::*;

    #[test]
    fn files_are_those_of_the_caller_and_null_is_nowhere() {
        let logs = spec(&["app.js", "-o", "out.log", "-e", "NULL", "-l", "/var/log/all"]).logs;
        assert_eq!(logs.out_file, Some("/work/out.log".into()));
        assert_eq!(logs.error_file, Some("/dev/null".into()));
        assert_eq!(logs.combined_file, Some("/var/log/all".into()));
    }

    #[test]
    fn a_bare_log_is_beside_the_others() {
        let (spec, targets) = parsed(&["-n", "api", "--log", "app.js"]).unwrap();
        assert_eq!(spec.logs.combined_file, Some("/home/.tine/logs/api.log".into()));
        assert_eq!(targets, ["app.js"]);
    }

    #[test]
    fn the_time_has_a_format() {
        assert_eq!(spec(&["--time"]).logs.date_format.as_deref(), Some(TIME));
        let logs = spec(&["--time", "--log-date-format", "HH:mm"]).logs;
        assert_eq!(logs.date_format.as_deref(), Some("HH:mm"));
    }

    #[test]
    fn lines_may_be_json_in_one_file_or_nowhere() {
        let logs = spec(&["--log-type", "json", "--merge-logs", "--disable-logs"]).logs;
        assert_eq!((logs.kind, logs.merge, logs.disabled), (LogType::Json, Some(true), true));
        assert_eq!(spec(&["--log-type=raw"]).logs.kind, LogType::Raw);
    }
}
