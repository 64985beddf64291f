//! What became of a request, as sentences.

use crate::{
    api::apps::Outcome,
    render::{self, harmless},
};

/// A line for each app that got what was asked for.
pub(super) fn successes(outcomes: &[Outcome]) -> String {
    outcomes.iter().filter(|outcome| outcome.error.is_none()).map(success).collect()
}

fn success(outcome: &Outcome) -> String {
    let ids: Vec<String> = outcome.ids.iter().map(ToString::to_string).collect();
    let ids = if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) };
    let cut = match outcome.cut {
        0 => String::new(),
        1 => ", 1 connection cut".to_owned(),
        more => format!(", {more} connections cut"),
    };
    let said = format!("{}{ids}: {}{cut}\n", harmless(&outcome.app), harmless(&outcome.done));
    said + &verified(outcome)
}

/// What was counted meanwhile, if anything was.
fn verified(outcome: &Outcome) -> String {
    let lines = outcome.verified.as_deref().map(render::verified).unwrap_or_default();
    lines.iter().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// Whether the command is to end with 1: also if something was lost while it was looked at.
pub(super) fn has_failed(outcome: &Outcome) -> bool {
    outcome.error.is_some() || outcome.verified.as_ref().is_some_and(|verified| verified.lost > 0)
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
    Some(text + &verified(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::verify::Verified;

    fn outcomes() -> Vec<Outcome> {
        let good = Outcome {
            app: "api".into(),
            ids: vec![0, 1],
            done: "started".into(),
            ..Outcome::default()
        };
        let bad = Outcome {
            app: "db".into(),
            ids: vec![2],
            done: "started".into(),
            error: Some("it ended with code 1 before it listened".into()),
            last_lines: vec!["Error: \x1b[31mno disk".into()],
            ..Outcome::default()
        };
        vec![good, bad]
    }

    #[test]
    fn a_success_is_one_line() {
        assert_eq!(successes(&outcomes()), "api (0, 1): started\n");
    }

    #[test]
    fn a_failure_shows_what_was_counted_meanwhile() {
        let address = "127.0.0.1:80".to_owned();
        let counted = Verified { address, sent: 3, failed: true, ..Verified::default() };
        let outcome = Outcome { verified: Some(Box::new(counted)), ..outcomes().remove(1) };
        let text = failures(&[outcome]);
        assert!(
            text.contains("\n  verified: connections to 127.0.0.1:80: 3 sent, 0 lost\n"),
            "{text}"
        );
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
