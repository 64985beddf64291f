//! What became of a request, as sentences.

use crate::{api::apps::Outcome, render::harmless};

/// A line for each app that got what was asked for.
pub(super) fn successes(outcomes: &[Outcome]) -> String {
    outcomes.iter().filter(|outcome| outcome.error.is_none()).map(success).collect()
}

fn success(outcome: &Outcome) -> String {
    let ids: Vec<String> = outcome.ids.iter().map(ToString::to_string).collect();
    let ids = if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) };
    format!("{}{ids}: {}\n", harmless(&outcome.app), harmless(&outcome.done))
}

/// What went wrong, with the last words of the program and what can be done.
pub(super) fn failures(outcomes: &[Outcome]) -> String {
    outcomes.iter().filter_map(failure).collect()
}

fn failure(outcome: &Outcome) -> Option<String> {
    let error = outcome.error.as_ref()?;
    let app = harmless(&outcome.app);
    let mut text = format!("tine: {app}: {}\n", harmless(error));
    for line in &outcome.last_lines {
        text.extend(["    ", &harmless(line), "\n"]);
    }
    if !outcome.last_lines.is_empty() {
        text.extend(["  more of it: tine logs ", &app, " --nostream\n"]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let good = Outcome {
            app: "api".into(),
            ids: vec![0, 1],
            done: "started".into(),
            error: None,
            last_lines: Vec::new(),
        };
        let bad = Outcome {
            app: "db".into(),
            ids: vec![2],
            done: "started".into(),
            error: Some("it ended with code 1 before it listened".into()),
            last_lines: vec!["Error: \x1b[31mno disk".into()],
        };
        vec![good, bad]
    }

    #[test]
    fn a_success_is_one_line() {
        assert_eq!(successes(&outcomes()), "api (0, 1): started\n");
    }

    #[test]
    fn a_failure_shows_what_the_program_said_last() {
        let expected = "\
tine: db: it ended with code 1 before it listened
    Error: \u{fffd}[31mno disk
  more of it: tine logs db --nostream
";
        assert_eq!(failures(&outcomes()), expected);
    }
}
