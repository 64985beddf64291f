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

/// Reads `3`, `max` or `0` (one for each CPU), `-1` (all CPUs but one; at least 1).
///
/// # Errors
///
/// When it is something else, or more than [`MOST_INSTANCES`].
pub fn instances(text: &str) -> Result<u32, UnitError> {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    count(text, u32::try_from(cpus).unwrap_or(u32::MAX))
}

fn count(text: &str, cpus: u32) -> Result<u32, UnitError> {
    if text == "max" {
        return Ok(cpus);
    }
    let number: i64 = text.parse().map_err(|_| UnitError::Instances(text.to_owned()))?;
    let wanted = if number > 0 { number } else { (i64::from(cpus) + number).max(1) };
    match u32::try_from(wanted) {
        Ok(wanted @ 1..=MOST_INSTANCES) => Ok(wanted),
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
        assert_eq!(count("3", 8), Ok(3));
        assert_eq!(count("max", 8), Ok(8));
        assert_eq!(count("0", 8), Ok(8));
        assert_eq!(count("-1", 8), Ok(7));
        assert_eq!(count("-9", 8), Ok(1));
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
