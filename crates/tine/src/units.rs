//! Numbers with units, as people write them: one place parses them, one shows them back.

use std::{thread, time::Duration};

use thiserror::Error;

/// The most workers of one app: as many as one balancing program can serve.
pub const MOST_INSTANCES: u32 = 4096;

/// A count of instances, or a duration, that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Neither a number nor `max`.
    #[error("`{0}` is no number of instances; give a number, `max`, or -N for all CPUs but N")]
    Instances(String),
    /// Too many.
    #[error("{0} instances are more than the {MOST_INSTANCES} that can share a port")]
    TooMany(String),
    /// Not a time.
    #[error("`{0}` is no duration; write 1600 or 1600ms, 5s, 2m or 1h")]
    Duration(String),
}

/// How many workers were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instances {
    /// At least one, and at most [`MOST_INSTANCES`].
    pub count: u32,
    /// What whoever asked for it may not have meant.
    pub note: Option<String>,
}

/// Reads `3`, `max` or `0` (one for each CPU), `-1` (all CPUs but one; at least 1).
///
/// # Errors
///
/// When it is something else, or more than [`MOST_INSTANCES`].
pub fn instances(text: &str) -> Result<Instances, UnitError> {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    count(text, u32::try_from(cpus).unwrap_or(u32::MAX))
}

fn count(text: &str, cpus: u32) -> Result<Instances, UnitError> {
    if text == "max" {
        return Ok(Instances { count: cpus, note: None });
    }
    let number: i64 = text.parse().map_err(|_| UnitError::Instances(text.to_owned()))?;
    let wanted = if number > 0 { number } else { i64::from(cpus).saturating_add(number) };
    let short = wanted < 1;
    let note =
        short.then(|| format!("-i {text}: of {cpus} CPU(s) none is left, so one worker runs"));
    match u32::try_from(wanted.max(1)) {
        Ok(count @ 1..=MOST_INSTANCES) => Ok(Instances { count, note }),
        Ok(_) | Err(_) => Err(UnitError::TooMany(text.to_owned())),
    }
}

/// Reads a duration: milliseconds without a unit, or `ms`, `s`, `m`, `h`.
///
/// # Errors
///
/// When it is something else, or more than a year.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let year = 366 * 24 * 3_600_000;
    let total = number.checked_mul(milliseconds).filter(|total| *total <= year);
    total.map(Duration::from_millis).ok_or_else(wrong)
}

/// Writes a duration for people: `100 ms`, `1.5 s`, `2 min`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_counted_from_the_cpus() {
        for (text, wanted) in [("3", 3), ("max", 8), ("0", 8), ("-1", 7), ("-7", 1)] {
            assert_eq!(count(text, 8), Ok(Instances { count: wanted, note: None }), "{text}");
        }
    }

    #[test]
    fn fewer_than_one_is_one_and_that_is_said() {
        for text in ["-8", "-1000", "-9223372036854775808"] {
            let found = count(text, 8).unwrap();
            let note = format!("-i {text}: of 8 CPU(s) none is left, so one worker runs");
            assert_eq!((found.count, found.note), (1, Some(note)));
        }
    }

    #[test]
    fn absurd_counts_are_refused_with_what_is_possible() {
        assert_eq!(count("1000000", 8).unwrap_err().to_string().split(' ').next(), Some("1000000"));
        assert!(matches!(count("99999999999", 8), Err(UnitError::TooMany(_))));
        assert!(matches!(count("three", 8), Err(UnitError::Instances(_))));
    }

    #[test]
    fn durations_are_read_and_shown() {
        assert_eq!(duration("1600"), Ok(Duration::from_millis(1600)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "s", "5 parsecs", "-1", "99999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(spoken(Duration::from_millis(150)), "150 ms");
        assert_eq!(spoken(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(spoken(Duration::from_mins(3)), "3 min");
    }
}
