//! `tine logs`: the last lines of workers, and what they write from now on.

mod run;

use std::path::PathBuf;
use std::time::SystemTime;

use crate::api::apps::AppView;
use crate::logs::{DateFormat, Form, since};

pub use run::run;

/// Shown of each file when nobody says how many.
const LINES: usize = 15;

/// What pm2 puts in front of lines for a bare `--timestamp`.
const TIMESTAMP: &str = "YYYY-MM-DD-HH:mm:ss";

/// The options and targets of `tine logs`.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct Args {
    /// Names, ids, namespaces or /regular expressions/; all apps if there are none
    pub targets: Vec<String>,
    /// How many lines of each file are shown first (15; all of them with --since)
    #[arg(long, value_name = "N")]
    pub lines: Option<usize>,
    /// Standard output only
    #[arg(long, conflicts_with = "err")]
    pub out: bool,
    /// Standard error only
    #[arg(long)]
    pub err: bool,
    /// The lines alone
    #[arg(long)]
    pub raw: bool,
    /// A JSON object for each line
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// `timestamp=… app=… id=… type=… message=…` for each line
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    pub format: bool,
    /// The time before each line: when it came, or of an earlier line what it says itself
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = TIMESTAMP)]
    pub timestamp: Option<String>,
    /// Turn these letters over wherever they are
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    pub highlight: Option<String>,
    /// Show what there is, and do not wait for more
    #[arg(long)]
    pub nostream: bool,
    /// From then on, also from files that were set aside: 10m, 2h, 3d, 14:30, "2026-11-22 14:30"
    #[arg(long, value_name = "TIME", value_parser = begin)]
    pub since: Option<SystemTime>,
    /// As one types it for tail(1): it follows without it
    #[arg(short, long, hide = true, conflicts_with = "nostream")]
    pub follow: bool,
}

/// The log files of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLogs {
    /// The app's name.
    pub app: String,
    /// What the worker is called by (`pm_id`).
    pub id: u32,
    /// Of its standard output; `None` for nowhere.
    pub out: Option<PathBuf>,
    /// Of its standard error.
    pub err: Option<PathBuf>,
    /// Of both, beside the two. Read only where there is no other.
    pub combined: Option<PathBuf>,
}

impl WorkerLogs {
    /// Of all workers of an app.
    #[must_use]
    pub fn of(app: &AppView) -> Vec<Self> {
        let logs = app.workers.iter().map(|worker| Self {
            app: app.name.clone(),
            id: worker.id,
            out: worker.out_log.clone(),
            err: worker.err_log.clone(),
            combined: worker.combined_log.clone(),
        });
        logs.collect()
    }
}

impl Args {
    fn form(&self) -> Form {
        match (self.raw, self.json, self.format) {
            (true, _, _) => Form::Raw,
            (_, true, _) => Form::Json,
            (_, _, true) => Form::Pairs,
            (false, false, false) => Form::Labelled,
        }
    }

    fn stamp(&self) -> Option<DateFormat> {
        self.timestamp.as_deref().map(DateFormat::new)
    }
}

fn begin(text: &str) -> Result<SystemTime, String> {
    since(text, SystemTime::now())
}
