//! What a benchmark found: figures, and claims held against their targets.

use std::fmt::Write;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// One benchmark's findings, as they are printed and as `--json` gives them.
#[derive(Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    command: String,
    date: String,
    machine: String,
    figures: Vec<Figure>,
    claims: Vec<Claim>,
}

#[derive(Serialize)]
struct Figure {
    subject: String,
    /// `None` when it could not be measured; the detail says why.
    value: Option<f64>,
    unit: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct Claim {
    what: String,
    value: Option<f64>,
    target: Target,
    met: bool,
}

/// What a figure is held against.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::Below(bound) => value < bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Above(bound) => value > bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::Below(bound) => format!("< {bound}"),
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::Above(bound) => format!("> {bound}"),
        }
    }
}

impl Report {
    /// An empty report, dated now, of the command that is running.
    pub(crate) fn new(bench: &'static str) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            bench,
            command: format!("cargo xtask {}", arguments.join(" ")),
            date: now(),
            machine: machine(),
            figures: Vec::new(),
            claims: Vec::new(),
        }
    }

    pub(crate) fn figure(
        &mut self,
        subject: impl Into<String>,
        value: Option<f64>,
        unit: &'static str,
        detail: impl Into<String>,
    ) {
        self.figures.push(Figure { subject: subject.into(), value, unit, detail: detail.into() });
    }

    /// Something that could not be measured here, and why.
    pub(crate) fn not_run(&mut self, subject: impl Into<String>, why: &anyhow::Error) {
        self.figure(subject, None, "", format!("not run: {why:#}"));
    }

    /// A claim about a value; one that could not be measured does not meet its target.
    pub(crate) fn claim(&mut self, what: impl Into<String>, value: Option<f64>, target: Target) {
        let met = value.is_some_and(|value| target.is_met_by(value));
        self.claims.push(Claim { what: what.into(), value, target, met });
    }

    /// How many claims there are, and how many of them hold.
    pub(crate) fn score(&self) -> (usize, usize) {
        (self.claims.len(), self.claims.iter().filter(|claim| claim.met).count())
    }

    /// Two tables for a terminal or for a page of documentation.
    pub(crate) fn text(&self) -> String {
        let head = format!("{}: {} · {} · {}", self.bench, self.date, self.command, self.machine);
        let figures = self.figures.iter().map(Figure::cells).collect();
        let claims = self.claims.iter().map(Claim::cells).collect();
        let figures = table(["measured", "value", "", "detail"], figures);
        let claims = table(["claim", "value", "target", "met"], claims);
        format!("{head}\n\n{figures}\n{claims}")
    }
}

impl Figure {
    fn cells(&self) -> [String; 4] {
        [self.subject.clone(), number(self.value), self.unit.into(), self.detail.clone()]
    }
}

impl Claim {
    fn cells(&self) -> [String; 4] {
        let met = if self.met { "yes" } else { "NO" };
        [self.what.clone(), number(self.value), self.target.text(), met.into()]
    }
}

/// Three digits that count, or all of them before the point.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.fract() == 0.0 || value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// Columns in the manner of Markdown; the second one to the right.
fn table(head: [&str; 4], rows: Vec<[String; 4]>) -> String {
    let rows: Vec<[String; 4]> = std::iter::once(head.map(String::from)).chain(rows).collect();
    let width = |column: usize| {
        // The last line of an error may be long; it ends a row, so it sets no width.
        if column == 3 {
            6
        } else {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        }
    };
    let [a, b, c, d] = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for (at, [one, two, three, four]) in rows.iter().enumerate() {
        let four = four.replace('\n', " ");
        writeln!(text, "| {one:a$} | {two:>b$} | {three:c$} | {four:d$} |")
            .expect("a string takes all that is written to it");
        if at == 0 {
            writeln!(text, "|{:-<a$}--|{:->b$}-:|{:-<c$}--|{:-<d$}--|", "", "", "", "")
                .expect("a string takes all that is written to it");
        }
    }
    text
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = named.map_or("unknown processor", |(_, model)| model.trim());
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

fn now() -> String {
    // A clock before 1970 is not worth an error.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    utc(now.as_secs())
}

/// Seconds since 1970 as `2026-11-22 15:04 UTC`; days to civil date after Howard Hinnant.
fn utc(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_a_date() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_360_740), "2026-11-22 15:19 UTC");
    }

    #[test]
    fn a_bound_belongs_to_at_most_and_not_to_below() {
        assert!(Target::AtMost(8.0).is_met_by(8.0));
        assert!(!Target::Below(8.0).is_met_by(8.0));
        assert!(Target::AtLeast(0.95).is_met_by(0.95));
        assert!(!Target::Above(1.5).is_met_by(1.5));
    }

    #[test]
    fn what_could_not_be_measured_is_not_met() {
        let mut report = Report::new("fair");
        report.claim("even", None, Target::AtMost(1.0));
        report.claim("even", Some(1.0), Target::AtMost(1.0));
        assert_eq!(report.score(), (2, 1));
        assert!(report.text().contains("| even  |     - | <= 1   | NO     |"));
    }

    #[test]
    fn a_reason_of_several_lines_stays_in_its_row() {
        let mut report = Report::new("fair");
        report.not_run("pm2", &anyhow::anyhow!("ended\n    no network"));
        let row = "| pm2      |     - |  | not run: ended     no network |";
        assert!(report.text().lines().any(|line| line == row), "{}", report.text());
    }

    #[test]
    fn numbers_keep_three_digits() {
        let printed = [1.0, 0.954, 12.34, 12_345.6].map(|value| number(Some(value)));
        assert_eq!(printed, ["1", "0.95", "12.3", "12346"]);
    }
}
