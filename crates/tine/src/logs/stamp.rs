//! Times as people want to see them: the tokens of moment.js, which pm2's users write.

use std::fmt::Write;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, Local, Timelike};

/// Two-letter and longer tokens come before their beginnings.
const TOKENS: [&str; 36] = [
    "YYYY", "YY", "MMMM", "MMM", "MM", "Mo", "M", "DDDD", "DDD", "DD", "Do", "D", "dddd", "ddd",
    "d", "HH", "H", "hh", "h", "kk", "k", "A", "a", "mm", "m", "ss", "s", "SSS", "SS", "S", "ZZ",
    "Z", "X", "x", "E", "Q",
];

/// A form for times: `YYYY-MM-DD HH:mm:ss.SSS Z`.
///
/// What is no token stands for itself, and so does what stands in brackets; so there is no wrong form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Token(&'static str),
    Text(String),
}

impl DateFormat {
    /// What `time: true` means, as under pm2.
    pub const DEFAULT: &str = "YYYY-MM-DDTHH:mm:ss";

    /// Reads a form.
    #[must_use]
    pub fn new(form: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = form;
        while let Some(first) = rest.chars().next() {
            let (part, length) = next_part(rest, first);
            rest = &rest[length..];
            match (parts.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, part) => parts.push(part),
            }
        }
        Self { parts }
    }

    /// The time in this form, where this machine is.
    #[must_use]
    pub fn local(&self, time: SystemTime) -> String {
        self.at(&DateTime::<Local>::from(time))
    }

    /// The time in this form, where it is said to be.
    pub(super) fn at<Z: chrono::TimeZone>(&self, time: &DateTime<Z>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Token(token) => put(&mut text, token, time),
                Part::Text(plain) => text.push_str(plain),
            }
        }
        text
    }
}

fn next_part(rest: &str, first: char) -> (Part, usize) {
    if let Some(end) = rest.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return (Part::Text(rest[1..=end].to_owned()), end + 2);
    }
    match TOKENS.iter().find(|token| rest.starts_with(**token)) {
        Some(token) => (Part::Token(token), token.len()),
        None => (Part::Text(first.to_string()), first.len_utf8()),
    }
}

fn put<Z: chrono::TimeZone>(text: &mut String, token: &str, time: &DateTime<Z>) {
    let written = write_token(text, token, time);
    written.expect("a string takes all that is written to it");
}

fn write_token<Z: chrono::TimeZone>(
    text: &mut String,
    token: &str,
    time: &DateTime<Z>,
) -> std::fmt::Result {
    let (hour, milli) = (time.hour(), time.timestamp_subsec_millis().min(999));
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let naive = time.naive_local();
    match token {
        "YYYY" => write!(text, "{:04}", time.year()),
        "YY" => write!(text, "{:02}", time.year().rem_euclid(100)),
        "MMMM" => write!(text, "{}", naive.format("%B")),
        "MMM" => write!(text, "{}", naive.format("%b")),
        "MM" => write!(text, "{:02}", time.month()),
        "Mo" => write!(text, "{}", ordinal(time.month())),
        "M" => write!(text, "{}", time.month()),
        "DDDD" => write!(text, "{:03}", time.ordinal()),
        "DDD" => write!(text, "{}", time.ordinal()),
        "DD" => write!(text, "{:02}", time.day()),
        "Do" => write!(text, "{}", ordinal(time.day())),
        "D" => write!(text, "{}", time.day()),
        "dddd" => write!(text, "{}", naive.format("%A")),
        "ddd" => write!(text, "{}", naive.format("%a")),
        "d" => write!(text, "{}", time.weekday().num_days_from_sunday()),
        "E" => write!(text, "{}", time.weekday().number_from_monday()),
        "Q" => write!(text, "{}", time.month0() / 3 + 1),
        "HH" => write!(text, "{hour:02}"),
        "H" => write!(text, "{hour}"),
        "hh" => write!(text, "{half:02}"),
        "h" => write!(text, "{half}"),
        "kk" => write!(text, "{:02}", if hour == 0 { 24 } else { hour }),
        "k" => write!(text, "{}", if hour == 0 { 24 } else { hour }),
        "A" => text.write_str(if hour < 12 { "AM" } else { "PM" }),
        "a" => text.write_str(if hour < 12 { "am" } else { "pm" }),
        "mm" => write!(text, "{:02}", time.minute()),
        "m" => write!(text, "{}", time.minute()),
        "ss" => write!(text, "{:02}", time.second()),
        "s" => write!(text, "{}", time.second()),
        "SSS" => write!(text, "{milli:03}"),
        "SS" => write!(text, "{:02}", milli / 10),
        "S" => write!(text, "{}", milli / 100),
        "Z" | "ZZ" => text.write_str(&zone(time, token == "Z")),
        "X" => write!(text, "{}", time.timestamp()),
        "x" => write!(text, "{}", time.timestamp_millis()),
        unknown => text.write_str(unknown),
    }
}

fn zone<Z: chrono::TimeZone>(time: &DateTime<Z>, colon: bool) -> String {
    use chrono::Offset;
    let minutes = time.offset().fix().local_minus_utc() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{sign}{hours:02}{}{minutes:02}", if colon { ":" } else { "" })
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        (_, _) => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, TimeZone};

    use super::*;

    fn formed(form: &str) -> String {
        let east = FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
        let time = east.with_ymd_and_hms(2026, 3, 1, 15, 4, 5).unwrap();
        DateFormat::new(form).at(&(time + chrono::Duration::milliseconds(67)))
    }

    #[test]
    fn the_forms_that_people_write() {
        for (form, wanted) in [
            (DateFormat::DEFAULT, "2026-03-01T15:04:05"),
            ("YYYY-MM-DD HH:mm:ss.SSS Z", "2026-03-01 15:04:05.067 +05:30"),
            ("YYYY-MM-DD-HH:mm:ss ZZ", "2026-03-01-15:04:05 +0530"),
            ("ddd, Do MMM YY h:mm A", "Sun, 1st Mar 26 3:04 PM"),
            ("[day] D [of] MMMM, H[h]", "day 1 of March, 15h"),
            ("X", "1772357645"),
        ] {
            assert_eq!(formed(form), wanted);
        }
    }

    #[test]
    fn nonsense_stands_for_itself() {
        for (form, wanted) in
            [("", ""), ("%Y %Q!", "%Y %1!"), ("[open", "[open"), ("ü[]é", "üé"), ("%%-%", "%%-%")]
        {
            assert_eq!(formed(form), wanted);
        }
    }

    #[test]
    fn every_token_has_a_meaning() {
        for token in TOKENS {
            assert_ne!(formed(token), token);
        }
    }
}
