//! What a verified reload has cost.

use std::time::Duration;

use super::harmless;
use crate::api::verify::Verified;

/// In a few lines, without newlines.
#[must_use]
pub fn verified(verified: &Verified) -> Vec<String> {
    let mut lines = vec![asked(verified), waits(verified)];
    if verified.retried > 0 {
        let count = counted(verified.retried, "request");
        lines
            .push(format!("{count} sent as the kept connection was closed, answered on a new one"));
    }
    if verified.errors > 0 {
        lines.push(format!("{} with a status from 500 on", counted(verified.errors, "answer")));
    }
    lines.push(cut(verified));
    lines
}

fn asked(verified: &Verified) -> String {
    let what = match &verified.path {
        Some(path) => format!("GET {path} on {}", verified.address),
        None => format!("connections to {}", verified.address),
    };
    let causes: Vec<String> =
        verified.causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    let causes =
        if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
    format!("verified: {}: {} sent, {} lost{causes}", harmless(&what), verified.sent, verified.lost)
}

fn waits(verified: &Verified) -> String {
    let (longest, usual) = (millis(verified.longest_wait), millis(verified.usual_wait));
    let lasted = Duration::from_millis(verified.lasted).as_secs_f64();
    format!("longest wait {longest} ms, usually {usual} ms, in {lasted:.1} s")
}

fn cut(verified: &Verified) -> String {
    let total: u64 = verified.cut.values().sum();
    let each: Vec<String> =
        verified.cut.iter().map(|(id, count)| format!("worker {id}: {count}")).collect();
    let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
    format!("{} cut{each}", counted(total, "connection"))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn millis(micros: u64) -> String {
    format!("{:.1}", Duration::from_micros(micros).as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_cost_nothing_says_so_in_three_lines() {
        let all_well = Verified {
            address: "127.0.0.1:8003".into(),
            path: Some("/health".into()),
            lasted: 4200,
            sent: 300,
            longest_wait: 12_345,
            usual_wait: 800,
            ..Verified::default()
        };
        let expected = [
            "verified: GET /health on 127.0.0.1:8003: 300 sent, 0 lost",
            "longest wait 12.3 ms, usually 0.8 ms, in 4.2 s",
            "0 connections cut",
        ];
        assert_eq!(verified(&all_well), expected);
    }

    #[test]
    fn what_was_lost_is_told_by_cause_and_what_was_cut_by_worker() {
        let costly = Verified {
            address: "unix:/run/a.sock".into(),
            sent: 10,
            lost: 3,
            causes: [("refused".to_owned(), 1), ("reset".to_owned(), 2)].into(),
            retried: 1,
            errors: 2,
            cut: [(0, 1), (4, 2)].into(),
            ..Verified::default()
        };
        let expected = [
            "verified: connections to unix:/run/a.sock: 10 sent, 3 lost (1 refused, 2 reset)",
            "longest wait 0.0 ms, usually 0.0 ms, in 0.0 s",
            "1 request sent as the kept connection was closed, answered on a new one",
            "2 answers with a status from 500 on",
            "3 connections cut (worker 0: 1, worker 4: 2)",
        ];
        assert_eq!(verified(&costly), expected);
    }
}
