//! Cron expressions: read in pm2's dialect, and said in words.

use std::{fmt, path::Path, str::FromStr};

use chrono::{DateTime, TimeZone};
use croner::parser::{CronParser, Seconds};
use thiserror::Error;

/// An expression of five fields, or six with seconds before them.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: String,
    cron: croner::Cron,
}

/// What is no cron expression, or no time zone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CronError {
    /// It cannot be read, or names a day that never comes.
    #[error(
        "`{pattern}` is no cron expression ({why}); five fields such as `0 3 * * *` are minute, hour, \
             day of the month, month and day of the week, and a sixth before them is the second"
    )]
    Pattern {
        /// As it was written.
        pattern: String,
        /// What the parser says.
        why: String,
    },
    /// The machine's table of time zones has no such file.
    #[error(
        "`{0}` is no time zone that this machine knows; write one such as Europe/Berlin or UTC"
    )]
    Zone(String),
}

/// Where time zones are, one file each.
const ZONES: &str = "/usr/share/zoneinfo";

impl Cron {
    /// Reads an expression: also names (`MON`, `JAN`), `L`, `#`, `W`, and `@daily` and its like.
    ///
    /// # Errors
    ///
    /// With what is wrong in it.
    pub fn parse(pattern: &str) -> Result<Self, CronError> {
        let pattern = pattern.trim().to_owned();
        let parsed = CronParser::builder().seconds(Seconds::Optional).build().parse(&pattern);
        match parsed {
            Ok(cron) => Ok(Self { pattern, cron }),
            Err(error) => Err(CronError::Pattern { pattern, why: error.to_string() }),
        }
    }

    /// Whether this machine knows a time zone by this name.
    ///
    /// # Errors
    ///
    /// When it does not. A machine without a table of time zones knows none but UTC.
    pub fn zone(name: &str) -> Result<(), CronError> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        let is_name = name.split('/').all(plain);
        if name == "UTC" || is_name && Path::new(ZONES).join(name).is_file() {
            return Ok(());
        }
        Err(CronError::Zone(name.to_owned()))
    }

    /// The first time after this one; `None` if it never comes again.
    #[must_use]
    pub fn next_after<Tz: TimeZone>(&self, time: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        self.cron.find_next_occurrence(time, false).ok()
    }

    /// As people say it: `every day at 03:00`. What has no short sentence is shown as it was written.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(&self.pattern)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(pattern: &str) -> Result<Self, CronError> {
        Self::parse(pattern)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

/// Says a cron expression in words; one that has no short sentence is given back as it is.
#[must_use]
pub fn in_words(pattern: &str) -> String {
    let named = match pattern.trim() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    sentence(named).unwrap_or_else(|| pattern.trim().to_owned())
}

fn sentence(pattern: &str) -> Option<String> {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let (second, fields) = match fields.as_slice() {
        [second, fields @ ..] if fields.len() == 5 => (*second, fields),
        fields => ("0", fields),
    };
    let &[minute, hour, day, month, weekday] = fields else { return None };
    let time = times(second, minute, hour)?;
    let days = days(day, month, weekday)?;
    Some(match (time, days.as_str()) {
        (Times::Often(often), "every day") => often,
        (Times::Often(often), days) => format!("{often}, {days}"),
        (Times::At(at), days) => format!("{days} at {at}"),
    })
}

/// When within a day.
enum Times {
    /// `every 5 minutes`
    Often(String),
    /// `03:00`, `03:00 and 15:00`
    At(String),
}

fn times(second: &str, minute: &str, hour: &str) -> Option<Times> {
    let often = |unit: &str, count: u32| match count {
        1 => Some(Times::Often(format!("every {unit}"))),
        count => Some(Times::Often(format!("every {count} {unit}s"))),
    };
    match (second, minute, hour) {
        (second, "*", "*") if step(second).is_some() => often("second", step(second)?),
        ("0", minute, "*") if step(minute).is_some() => often("minute", step(minute)?),
        ("0", "0", hour) if step(hour).is_some() => often("hour", step(hour)?),
        ("0", minute, "*") => {
            let minute = numbers(minute, 59)?;
            Some(Times::Often(format!("every hour at minute {}", list(&minute))))
        }
        (second, minute, hour) => at(second, minute, hour),
    }
}

fn at(second: &str, minute: &str, hour: &str) -> Option<Times> {
    let second: u32 = second.parse().ok().filter(|second| *second < 60)?;
    let (minutes, hours) = (numbers(minute, 59)?, numbers(hour, 23)?);
    let end = if second == 0 { String::new() } else { format!(":{second:02}") };
    let of = |hour: &u32| {
        minutes.iter().map(|minute| format!("{hour:02}:{minute:02}{end}")).collect::<Vec<_>>()
    };
    let all: Vec<String> = hours.iter().flat_map(of).collect();
    (all.len() <= 4).then(|| Times::At(list(&all)))
}

/// `*` and `*/5`: every so many.
fn step(field: &str) -> Option<u32> {
    match field.strip_prefix('*')? {
        "" => Some(1),
        rest => rest.strip_prefix('/')?.parse().ok().filter(|step| *step > 0),
    }
}

/// `3` and `3,15`.
fn numbers(field: &str, most: u32) -> Option<Vec<u32>> {
    let number = |part: &str| part.parse().ok().filter(|number| *number <= most);
    field.split(',').map(number).collect()
}

fn list(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match items.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        items => items.concat(),
    }
}

const DAYS: [&str; 8] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// On which days; `None` where both the day of the month and of the week are named, for then either counts.
fn days(day: &str, month: &str, weekday: &str) -> Option<String> {
    let months = match month {
        "*" => None,
        month => Some(list(&names(month, &MONTHS, 1)?)),
    };
    let any = |field: &str| field == "*" || field == "?";
    match (any(day), any(weekday), months) {
        (true, true, None) => Some("every day".to_owned()),
        (true, true, Some(months)) => Some(format!("every day in {months}")),
        (true, false, None) => weekdays(weekday),
        (true, false, Some(months)) => Some(format!("{} in {months}", weekdays(weekday)?)),
        (false, true, months) => {
            let of = months.unwrap_or_else(|| "every month".to_owned());
            let day = if day == "L" { "last day".to_owned() } else { ordinals(day)? };
            Some(format!("on the {day} of {of}"))
        }
        (false, false, _) => None,
    }
}

fn weekdays(field: &str) -> Option<String> {
    match field {
        "1-5" | "MON-FRI" | "mon-fri" => Some("Monday to Friday".to_owned()),
        "0,6" | "6,0" | "6,7" | "SAT,SUN" | "sat,sun" => {
            Some("every Saturday and Sunday".to_owned())
        }
        field => match field.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (name(from, &DAYS, 0)?, name(to, &DAYS, 0)?);
                Some(format!("{from} to {to}"))
            }
            None => Some(format!("every {}", list(&names(field, &DAYS, 0)?))),
        },
    }
}

fn names(field: &str, names: &'static [&'static str], first: usize) -> Option<Vec<&'static str>> {
    field.split(',').map(|part| name(part, names, first)).collect()
}

/// By number from `first`, or by the name's first three letters.
fn name(part: &str, names: &'static [&'static str], first: usize) -> Option<&'static str> {
    let by_letters = |name: &&&str| part.len() == 3 && name[..3].eq_ignore_ascii_case(part);
    match part.parse::<usize>() {
        Ok(number) => names.get(number.checked_sub(first)?).copied(),
        Err(_) => names.iter().find(by_letters).copied(),
    }
}

fn ordinals(field: &str) -> Option<String> {
    let ordinal = |number: &u32| match number {
        1 | 21 | 31 => format!("{number}st"),
        2 | 22 => format!("{number}nd"),
        3 | 23 => format!("{number}rd"),
        _ => format!("{number}th"),
    };
    let numbers = numbers(field, 31)?;
    Some(list(&numbers.iter().map(ordinal).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    #[test]
    fn the_usual_shapes_are_said_in_words() {
        for (pattern, words) in [
            ("0 3 * * *", "every day at 03:00"),
            ("30 3,15 * * *", "every day at 03:30 and 15:30"),
            ("15 0 3 * * *", "every day at 03:00:15"),
            ("* * * * *", "every minute"),
            ("*/5 * * * *", "every 5 minutes"),
            ("*/10 * * * * *", "every 10 seconds"),
            ("* * * * * *", "every second"),
            ("0 * * * *", "every hour"),
            ("0 */2 * * *", "every 2 hours"),
            ("5,35 * * * *", "every hour at minute 5 and 35"),
            ("0 4 * * 1-5", "Monday to Friday at 04:00"),
            ("0 4 * * 0", "every Sunday at 04:00"),
            ("0 4 * * MON,thu", "every Monday and Thursday at 04:00"),
            ("0 4 * * 2-4", "Tuesday to Thursday at 04:00"),
            ("0 4 * * 6,0", "every Saturday and Sunday at 04:00"),
            ("0 0 1 * *", "on the 1st of every month at 00:00"),
            ("0 0 2,23 1,JUL *", "on the 2nd and 23rd of January and July at 00:00"),
            ("0 0 L * *", "on the last day of every month at 00:00"),
            ("*/5 * * * 1-5", "every 5 minutes, Monday to Friday"),
            ("0 5 * 12 *", "every day in December at 05:00"),
            ("@daily", "every day at 00:00"),
            ("@hourly", "every hour"),
            // No short sentence.
            ("0 0 1 * 1", "0 0 1 * 1"),
            ("1-9 1-9 * * *", "1-9 1-9 * * *"),
            ("0 1,2,3,4,5 * * *", "0 1,2,3,4,5 * * *"),
        ] {
            let cron = Cron::parse(pattern).unwrap();
            assert_eq!(cron.in_words(), words, "{pattern}");
            assert_eq!(cron.to_string(), pattern);
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_fields_explained() {
        for wrong in ["", "1 2 3", "61 * * * *", "* 25 * * *", "every day", "* * * * * * * *"] {
            let error = Cron::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{wrong}` is no cron expression (")), "{error}");
            assert!(error.contains("day of the week"), "{error}");
        }
    }

    #[test]
    fn the_next_time_is_after_the_one_given() {
        let time: DateTime<Utc> = "2026-03-01T03:00:00Z".parse().unwrap();
        let next = |pattern: &str| {
            Cron::parse(pattern).unwrap().next_after(&time).map(|next| next.to_rfc3339())
        };
        assert_eq!(next("0 3 * * *").as_deref(), Some("2026-03-02T03:00:00+00:00"));
        assert_eq!(next("*/10 * * * * *").as_deref(), Some("2026-03-01T03:00:10+00:00"));
        assert_eq!(next("0 0 30 2 *"), None);
    }

    #[test]
    fn time_zones_are_those_of_the_machine() {
        assert_eq!(Cron::zone("UTC"), Ok(()));
        for wrong in ["Mars/Olympus", "", "../../../etc/passwd", "/etc/passwd"] {
            assert_eq!(Cron::zone(wrong), Err(CronError::Zone(wrong.to_owned())));
        }
    }
}
