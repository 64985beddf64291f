//! The examples in the documentation.

use std::time::Duration;

use super::Selection;
use super::command::{Finished, cargo, run as run_command};
use super::report::Case;

/// Each example is a program to compile and link.
const LIMIT: Duration = Duration::from_mins(15);

/// Runs the libraries' doc tests; a case for each.
pub(crate) fn run(selection: &Selection) -> anyhow::Result<Vec<Case>> {
    let mut command = cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
    command.arg("--").args(&selection.tests);
    let finished = run_command(&mut command, LIMIT)?;
    let mut cases: Vec<Case> = finished.output.lines().filter_map(passed_or_skipped).collect();
    if finished.trouble.is_some() {
        cases.extend(failures(&finished));
    }
    Ok(cases)
}

/// Reads `test crates/x/src/lib.rs - item (line 3) ... ok`.
fn passed_or_skipped(line: &str) -> Option<Case> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match verdict {
        "ok" => Some(Case::passed(name)),
        "ignored" => Some(Case::skipped(name, "marked `ignore` in the documentation")),
        _ => None,
    }
}

/// One case for each example that failed, the first with the whole output; where the run failed
/// without naming any, a case for the run.
fn failures(finished: &Finished) -> Vec<Case> {
    let failed = finished.output.lines().filter_map(|line| {
        let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        (verdict == "FAILED").then_some(name)
    });
    let mut output = finished.output.as_str();
    let mut cases: Vec<Case> = failed.map(|name| Case::failed(name, take(&mut output))).collect();
    if cases.is_empty() {
        cases.push(Case::failed("doctests", output));
    }
    cases
}

fn take<'a>(text: &mut &'a str) -> &'a str {
    std::mem::replace(text, "see above\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::report::Outcome;

    #[test]
    fn an_example_that_ran_is_a_case() {
        let case = passed_or_skipped("test crates/x/src/lib.rs - a::b (line 3) ... ok");
        let case = case.expect("a case");
        assert_eq!(case.name, "crates/x/src/lib.rs - a::b (line 3)");
        assert!(matches!(case.outcome, Outcome::Passed));
    }

    #[test]
    fn a_failed_example_is_a_case_even_among_those_that_passed() {
        let output = "test a.rs - (line 1) ... ok\ntest b.rs - (line 2) ... FAILED\n".to_owned();
        let trouble = Some("exit status: 101".to_owned());
        let cases = failures(&Finished { trouble, output });
        assert_eq!(cases.len(), 1);
        assert!(matches!(cases[0].outcome, Outcome::Failed));
        assert_eq!(cases[0].name, "b.rs - (line 2)");
    }
}
