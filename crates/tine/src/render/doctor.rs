//! `tine doctor`.

use tine_cluster::policy::{Mechanism, Policy};

use super::{Screen, harmless};
use crate::api::doctor::{Check, CheckState, Choice, DoctorReport, Given, Program};

/// Things with their state, what is missing with its remedy, and what each policy would get.
#[must_use]
pub fn doctor(report: &DoctorReport, screen: Screen) -> String {
    let mut parts = vec![overview(report, screen)];
    let lacking: Vec<&Check> =
        report.checks.iter().filter(|check| check.state != CheckState::Ok).collect();
    if !lacking.is_empty() {
        parts.push(remedies(&lacking, screen));
    }
    parts.push(mechanisms(report, screen));
    parts.push(verdict(report, screen));
    parts.join("\n")
}

fn overview(report: &DoctorReport, screen: Screen) -> String {
    let mut table = screen.table(&["THING", "STATE", "FOUND"]);
    for check in &report.checks {
        table.add_row([check.name.title(), check.state.word(), &harmless(&check.found)]);
    }
    screen.lines(&mut table)
}

/// A command that helps in several ways is shown where it does first.
fn remedies(lacking: &[&Check], screen: Screen) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let mut paragraphs = Vec::new();
    for check in lacking {
        let mut text = reason(check, screen);
        for command in &check.commands {
            if shown.contains(&command.as_str()) {
                text += "    (the same command as above)\n";
                continue;
            }
            shown.push(command);
            text.extend(["    ", &harmless(command), "\n"]);
        }
        paragraphs.push(text);
    }
    paragraphs.join("\n")
}

fn reason(check: &Check, screen: Screen) -> String {
    let colour = match check.state {
        CheckState::Ok => "32",
        CheckState::Limited => "33",
        CheckState::Missing => "31",
    };
    let title = screen.paint(colour, check.name.title());
    let why = check.why.as_deref().unwrap_or_default();
    let mut text = wrapped(&format!("{}: {why}", check.name.title()), screen.width);
    // Painted after wrapping, so that the codes do not count as letters.
    text.replace_range(..check.name.title().len(), &title);
    text
}

fn mechanisms(report: &DoctorReport, screen: Screen) -> String {
    let mut table = screen.table(&["POLICY", "NODE, TINE-CLUSTER", "ANY OTHER PROGRAM"]);
    for policy in [Policy::Rr, Policy::Random, Policy::Sticky, Policy::Shared] {
        let gets = |program| {
            let row = report.mechanisms.iter().find(|g| g.policy == policy && g.program == program);
            given(row.and_then(|row| row.gets), report.queue_aware)
        };
        table.add_row([policy.word(), &gets(Program::Channel), &gets(Program::Other)]);
    }
    let mut text = screen.lines(&mut table);
    if report.mechanisms.iter().any(leavers_accept) {
        text += &wrapped(LEAVERS_ACCEPT, screen.width);
    }
    text
}

const LEAVERS_ACCEPT: &str = "one-queue: another program's worker that is to leave goes on accepting \
    until it is told to stop; nobody can keep new connections from it";

fn leavers_accept(given: &Given) -> bool {
    let queue = given.gets.is_some_and(|choice| choice.mechanism == Mechanism::OneQueue);
    queue && given.program == Program::Other
}

fn given(choice: Option<Choice>, queue_aware: bool) -> String {
    let Some(Choice { policy, mechanism, degraded }) = choice else {
        return "not to be had".into();
    };
    if degraded {
        return format!("{policy} instead, {mechanism}");
    }
    let strict = mechanism == Mechanism::KernelEbpf && policy == Policy::Rr && !queue_aware;
    format!("{mechanism}{}", if strict { ", strictly in turn" } else { "" })
}

fn verdict(report: &DoctorReport, screen: Screen) -> String {
    let sentence = if report.any_program {
        screen.paint("32", "tine can run any program N times on one port here")
    } else {
        screen.paint("31", "tine cannot share a port between unmodified programs here")
    };
    let mut text = format!("{sentence}; what works:\n");
    for what in &report.works {
        text.extend(["  - ", what, "\n"]);
    }
    text
}

/// Wider than any title, so that no title is broken.
const NARROWEST: usize = 30;

/// Breaks at spaces; continued lines are set in by two.
fn wrapped(text: &str, width: Option<u16>) -> String {
    let width = width.map_or(usize::MAX, |width| usize::from(width).max(NARROWEST));
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length + word.chars().count() + 1 > width {
            lines.push(format!("  {word}"));
            continue;
        }
        if let Some(line) = lines.last_mut() {
            line.extend([if line.is_empty() { "" } else { " " }, word]);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::doctor::CheckName, cli::doctor::report};

    fn sample() -> DoctorReport {
        let mut report = report(&tine_linux::host::Host::probe(), "/usr/bin/tine");
        report.checks = vec![
            Check {
                name: CheckName::Kernel,
                state: CheckState::Ok,
                found: "6.18".into(),
                why: None,
                commands: vec![],
            },
            Check {
                name: CheckName::Somaxconn,
                state: CheckState::Limited,
                found: "128".into(),
                why: Some("every accept queue is cut to it".into()),
                commands: vec!["sudo sysctl -w net.core.somaxconn=4096".into()],
            },
        ];
        let rr = Choice { policy: Policy::Rr, mechanism: Mechanism::HandOver, degraded: false };
        let random =
            Choice { policy: Policy::Random, mechanism: Mechanism::KernelCbpf, degraded: true };
        for given in &mut report.mechanisms {
            given.gets = match (given.policy, given.program) {
                (Policy::Rr, Program::Channel) => Some(rr),
                (Policy::Rr, Program::Other) => Some(random),
                (Policy::Random | Policy::Sticky | Policy::Shared, _) => None,
            };
        }
        report.any_program = true;
        report.works = vec!["any program".into()];
        report
    }

    #[test]
    fn the_report_reads_from_facts_over_remedies_to_what_follows() {
        let expected = "\
THING      STATE    FOUND
kernel     ok       6.18
somaxconn  limited  128

somaxconn: every accept queue is cut to it
    sudo sysctl -w net.core.somaxconn=4096

POLICY  NODE, TINE-CLUSTER  ANY OTHER PROGRAM
rr      hand-over           random instead, kernel-cbpf
random  not to be had       not to be had
sticky  not to be had       not to be had
shared  not to be had       not to be had

tine can run any program N times on one port here; what works:
  - any program
";
        assert_eq!(doctor(&sample(), Screen { width: None, colour: false }), expected);
    }

    #[test]
    fn sentences_are_wrapped_to_the_terminal_and_commands_are_not() {
        let text = doctor(&sample(), Screen { width: Some(30), colour: true });
        assert!(text.contains("    sudo sysctl -w net.core.somaxconn=4096\n"));
        assert!(text.contains("\x1b[33msomaxconn\x1b[0m: every accept queue\n  is cut to it\n"));
    }
}
