//! When a line was written, if it says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime};
use serde::Deserialize;

use crate::units;

/// Forms of a time without a zone, which is that of this machine then.
const FORMS: [&str; 6] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d-%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S%.f",
];

const DAY: Duration = Duration::from_hours(24);

#[derive(Deserialize)]
struct Stamped<'a> {
    #[serde(borrow)]
    timestamp: std::borrow::Cow<'a, str>,
}

/// The time at the beginning of a line (`2026-11-22T22:11:05`, with or without fraction and zone), or
/// under `timestamp` in a line of JSON.
#[must_use]
pub fn time_of(line: &[u8]) -> Option<SystemTime> {
    match line.first()? {
        b'{' => moment(&serde_json::from_slice::<Stamped<'_>>(line).ok()?.timestamp),
        b'0'..=b'9' => stamp_at_start(line),
        _ => None,
    }
}

/// What people say for a beginning: `10m` (ago), `14:30` (today), `2026-11-22`, `2026-11-22 14:30`.
///
/// # Errors
///
/// The sentence says what can be written.
pub fn since(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let ago = days.map(|days| DAY * days).or_else(|| units::duration(text).ok());
    let ago = ago.and_then(|ago| now.checked_sub(ago));
    let at_day = |day: NaiveDate, time: NaiveTime| local(day.and_time(time));
    let today = DateTime::<Local>::from(now).date_naive();
    let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|f| NaiveTime::parse_from_str(text, f).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    ago.or_else(|| time.and_then(|time| at_day(today, time)))
        .or_else(|| day().and_then(|day| at_day(day, NaiveTime::MIN)))
        .or_else(|| moment(text))
        .ok_or_else(|| "say 10m, 2h, 3d, 14:30, 2026-11-22 or \"2026-11-22 14:30\"".to_owned())
}

fn stamp_at_start(line: &[u8]) -> Option<SystemTime> {
    // A date has a dash or a slash as its fifth byte: most lines are told apart by that.
    if !matches!(line.get(4)?, b'-' | b'/') {
        return None;
    }
    let belongs = |byte: &u8| byte.is_ascii_digit() || b"-+:/.TZ ".contains(byte);
    let length = line.iter().take(40).take_while(|byte| belongs(byte)).count();
    let text = std::str::from_utf8(&line[..length]).ok()?.trim_end_matches([':', ' ']);
    // What follows the stamp may look like a part of it: the longest beginning that is a time.
    (10..=text.len()).rev().find_map(|end| moment(text[..end].trim_end()))
}

fn moment(text: &str) -> Option<SystemTime> {
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"];
    let zoned = zoned.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    let zoned = DateTime::parse_from_rfc3339(text).ok().or(zoned);
    if let Some(time) = zoned {
        return from_millis(time.timestamp_millis());
    }
    FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).and_then(local)
}

fn local(time: NaiveDateTime) -> Option<SystemTime> {
    // Of an hour that comes twice the first one; an hour that is left out is no time.
    from_millis(time.and_local_timezone(Local).earliest()?.timestamp_millis())
}

fn from_millis(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(time: Option<SystemTime>) -> Option<u64> {
        Some(time?.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    fn here(text: &str) -> Option<u64> {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
        seconds(local(time))
    }

    #[test]
    fn a_line_says_when_it_was_written() {
        for line in [
            "2026-11-22T22:11:05Z",
            "2026-11-22T22:11:05.123Z: text",
            "2026-11-22T23:11:05+01:00 5 of 7",
            "2026-11-22 22:11:05.1 +00:00: text",
            r#"{"message":"2020-01-01T00:00:00Z\n","timestamp":"2026-11-22T22:11:05.067Z"}"#,
        ] {
            assert_eq!(seconds(time_of(line.as_bytes())), Some(1_795_385_465), "{line}");
        }
        for line in
            ["2026-11-22T22:11:05: text", "2026-11-22 22:11:05 2 + 2", "2026-11-22-22:11:05"]
        {
            assert_eq!(seconds(time_of(line.as_bytes())), here("2026-11-22 22:11:05"), "{line}");
        }
    }

    #[test]
    fn a_line_that_says_nothing_has_no_time() {
        for line in
            ["", "text", "2026", "12345 bytes", "{\"a\":1}", "{", "9999-99-99T99:99:99", "{}"]
        {
            assert_eq!(time_of(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_beginning_is_a_duration_a_time_or_a_day() {
        let now = from_millis(1_795_385_465_000).unwrap();
        assert_eq!(since("10m", now), Ok(now - Duration::from_mins(10)));
        assert_eq!(since("2d", now), Ok(now - 2 * DAY));
        assert_eq!(seconds(since("2026-11-20", now).ok()), here("2026-11-20 00:00:00"));
        assert_eq!(seconds(since("2026-11-20 14:30", now).ok()), here("2026-11-20 14:30:00"));
        assert!(since("14:30", now).is_ok() && since("yesterday", now).is_err());
    }
}
