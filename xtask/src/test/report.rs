//! What came out: cases as they are counted, and how a person sees them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// One thing that can pass: a test, or a step that is a single check.
pub(crate) struct Case {
    /// Unique, and what a filter is matched with.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped { reason: String },
}

impl Case {
    pub(crate) fn passed(name: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Passed }
    }

    /// A failed case; shows its output at once, in full, and indented: what it says is not what
    /// the run says.
    pub(crate) fn failed(name: impl Into<String>, output: impl AsRef<str>) -> Self {
        let name = name.into();
        let indented = output.as_ref().lines().flat_map(|line| ["    ", line, "\n"]);
        print!("{name} failed:\n{}", indented.collect::<String>());
        Self { name, outcome: Outcome::Failed }
    }

    pub(crate) fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Skipped { reason: reason.into() } }
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    fn of(cases: &[Case]) -> Self {
        let mut tally = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed => tally.failed += 1,
                Outcome::Skipped { .. } => tally.skipped += 1,
            }
        }
        tally
    }
}

/// Says how long a finished step took, and how it went.
pub(crate) fn show_step(name: &str, cases: &[Case], time: Duration) {
    let Tally { passed, failed, skipped } = Tally::of(cases);
    let verdict = match (passed, failed, skipped) {
        (0, 0, 0) => "nothing to run here".to_owned(),
        (1, 0, 0) => "ok".to_owned(),
        _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    };
    println!("{:>6.1} s  {name:<9} {verdict}", time.as_secs_f64());
}

/// Everything that ran, in order.
pub(crate) struct Report {
    cases: Vec<Case>,
    time: Duration,
}

impl Report {
    pub(crate) fn new(cases: Vec<Case>, time: Duration) -> Self {
        Self { cases, time }
    }

    /// Prints the lists and the totals; the code is 0 when nothing failed and, with `no_skips`,
    /// nothing was skipped.
    pub(crate) fn finish(&self, no_skips: bool) -> ExitCode {
        print!("{}{}", self.failures(), self.skips());
        println!("{:>6.1} s  in all", self.time.as_secs_f64());
        let Tally { passed, failed, skipped } = Tally::of(&self.cases);
        if no_skips && skipped > 0 {
            println!("skips are failures here (--no-skips)");
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        let good = failed == 0 && !(no_skips && skipped > 0);
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn failures(&self) -> String {
        let mut text = String::new();
        for case in self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed)) {
            writeln!(text, "  {}", case.name).expect("writing to a String succeeds");
        }
        if text.is_empty() { text } else { format!("Failed:\n{text}") }
    }

    /// The skipped cases under their reasons, a line for each module: one missing language skips
    /// many tests.
    fn skips(&self) -> String {
        let mut reasons: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for case in &self.cases {
            if let Outcome::Skipped { reason } = &case.outcome {
                let (module, name) = case.name.rsplit_once("::").unwrap_or(("", &case.name));
                reasons.entry(reason).or_default().entry(module).or_default().push(name);
            }
        }
        let mut text = String::new();
        for (reason, modules) in reasons {
            let lines = modules.iter().flat_map(|(module, names)| skipped_in(module, names));
            writeln!(text, "Skipped, {reason}:\n{}", lines.collect::<String>().trim_end())
                .expect("writing to a String succeeds");
        }
        text
    }
}

/// The lines for one module's tests: each by its name, or their number where they are many.
fn skipped_in(module: &str, names: &[&str]) -> Vec<String> {
    if names.len() > 3 {
        return vec![format!("  {module}: {} tests\n", names.len())];
    }
    let separator = if module.is_empty() { "" } else { "::" };
    names.iter().map(|name| format!("  {module}{separator}{name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(cases: Vec<Case>, no_skips: bool) -> bool {
        Report::new(cases, Duration::ZERO).finish(no_skips) == ExitCode::SUCCESS
    }

    #[test]
    fn a_skip_fails_only_where_that_is_asked_for() {
        let cases = || vec![Case::passed("a"), Case::skipped("b", "no go here")];
        assert!(code(cases(), false));
        assert!(!code(cases(), true));
    }

    #[test]
    fn a_failure_always_fails() {
        assert!(!code(vec![Case::passed("a"), Case::failed("b", "why\n")], false));
    }

    #[test]
    fn skips_are_listed_under_their_reason() {
        let cases = vec![
            Case::skipped("m go::a", "no go here"),
            Case::skipped("b", "not root"),
            Case::skipped("m go::c", "no go here"),
        ];
        let report = Report::new(cases, Duration::ZERO);
        let text = "Skipped, no go here:\n  m go::a\n  m go::c\nSkipped, not root:\n  b\n";
        assert_eq!(report.skips(), text);
    }

    #[test]
    fn many_skips_of_one_module_are_counted() {
        let skip = |name| Case::skipped(format!("m go::{name}"), "no go here");
        let report = Report::new(["a", "b", "c", "d"].map(skip).into(), Duration::ZERO);
        assert_eq!(report.skips(), "Skipped, no go here:\n  m go: 4 tests\n");
    }
}
