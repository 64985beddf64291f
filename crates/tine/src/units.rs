//! Numbers with units, as people write them: one place parses them, one shows them back.

use std::{thread, time::Duration};

use thiserror::Error;
use tine_linux::process::{signal_from_name, signal_name};

use crate::spec;

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
    /// Not a size.
    #[error("`{0}` is no size; write 1048576, 512K, 300M or 1.5G")]
    Size(String),
    /// Not a signal.
    #[error("`{0}` is no signal; write SIGTERM, TERM or 15")]
    Signal(String),
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

/// Reads what [`instances`] reads, to be counted where and when the app starts.
///
/// # Errors
///
/// When it is something else, or more than [`MOST_INSTANCES`].
pub fn wanted_instances(text: &str) -> Result<spec::Instances, UnitError> {
    if text == "max" {
        return Ok(spec::Instances::AllBut(0));
    }
    let number: i64 = text.parse().map_err(|_| UnitError::Instances(text.to_owned()))?;
    let Ok(size) = u32::try_from(number.unsigned_abs()) else {
        return Err(UnitError::TooMany(text.to_owned()));
    };
    match size {
        0 => Ok(spec::Instances::AllBut(0)),
        _ if number < 0 => Ok(spec::Instances::AllBut(size)),
        1..=MOST_INSTANCES => Ok(spec::Instances::Count(size)),
        _ => Err(UnitError::TooMany(text.to_owned())),
    }
}

/// Reads a duration: milliseconds without a unit, or `ms`, `s`, `m`, `h`, `d`; `1.5s` is good too.
///
/// # Errors
///
/// When it is something else, or more than a year.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let milliseconds = match unit {
        "" | "ms" => 1.0,
        "s" => 1000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return Err(wrong()),
    };
    whole(number * milliseconds, YEAR).map(Duration::from_millis).ok_or_else(wrong)
}

/// In milliseconds.
const YEAR: u64 = 366 * 24 * 3_600_000;

/// Reads a size: bytes without a unit, or `K`, `M`, `G`, `T` of 1024, as `512M`, `512MB`, `512MiB` or `1.5G`.
///
/// # Errors
///
/// When it is something else, or more than there is to address.
pub fn bytes(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let unit = unit.to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let factor: u64 = match unit.strip_suffix('I').unwrap_or(unit) {
        "" if unit.is_empty() => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    if let Ok(exact) = text.parse() {
        return Ok(exact);
    }
    #[expect(clippy::cast_precision_loss, reason = "powers of two are exact")]
    let factor = factor as f64;
    whole(number * factor, 1 << 53).ok_or_else(wrong)
}

/// A number that may have a fraction, and what follows it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let digits = number.starts_with(|c: char| c.is_ascii_digit());
    Some((number.parse().ok().filter(|_| digits)?, unit.trim()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "it is between 0 and `most`, which a float holds exactly"
)]
fn whole(number: f64, most: u64) -> Option<u64> {
    (0.0..=most as f64).contains(&number).then(|| number.round() as u64)
}

/// Reads a signal by its name or number; gives its name, as `SIGTERM`.
///
/// # Errors
///
/// When there is none that is called so.
pub fn signal(text: &str) -> Result<String, UnitError> {
    let found = signal_from_name(text).ok_or_else(|| UnitError::Signal(text.to_owned()))?;
    let number = found.as_raw();
    Ok(signal_name(number).map_or_else(|| number.to_string(), str::to_owned))
}

/// Writes a size for people: `512 KiB`, `1.5 GiB`.
#[must_use]
pub fn spoken_bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

/// Writes a count of instances for people: `3`, `one for each CPU`, `one for each CPU but 1`.
#[must_use]
pub fn spoken_instances(instances: spec::Instances) -> String {
    match instances {
        spec::Instances::Count(count) => count.to_string(),
        spec::Instances::AllBut(0) => "one for each CPU".to_owned(),
        spec::Instances::AllBut(free) => format!("one for each CPU but {free}"),
    }
}

/// Writes a duration for people: `100 ms`, `1.5 s`, `2 min`, `1 h 30 min`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => two((ms / 60_000, "min"), (ms / 1000 % 60, "s")),
        3_600_000..86_400_000 => two((ms / 3_600_000, "h"), (ms / 60_000 % 60, "min")),
        _ => two((ms / 86_400_000, "d"), (ms / 3_600_000 % 24, "h")),
    }
}

fn two(large: (u128, &str), small: (u128, &str)) -> String {
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        rest => format!("{} {} {rest} {}", large.0, large.1, small.1),
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
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1d"), Ok(Duration::from_hours(24)));
        for wrong in ["", "s", "5 parsecs", "-1", "99999999999999h", ".5s", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(spoken(Duration::from_millis(150)), "150 ms");
        assert_eq!(spoken(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(spoken(Duration::from_mins(3)), "3 min");
        assert_eq!(spoken(Duration::from_secs(90)), "1 min 30 s");
        assert_eq!(spoken(Duration::from_mins(90)), "1 h 30 min");
        assert_eq!(spoken(Duration::from_hours(48)), "2 d");
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, wanted, shown) in [
            ("1048576", 1 << 20, "1 MiB"),
            ("512K", 512 << 10, "512 KiB"),
            ("300mb", 300 << 20, "300 MiB"),
            ("1.5G", 3 << 29, "1.5 GiB"),
            ("2GiB", 2 << 30, "2 GiB"),
            ("1 T", 1 << 40, "1 TiB"),
            ("999", 999, "999 B"),
            ("18446744073709551615", u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
            assert_eq!(spoken_bytes(wanted), shown);
        }
        for wrong in ["", "G", "-1", "1X", "1i", "1 giga", "99999999T"] {
            assert_eq!(bytes(wrong), Err(UnitError::Size(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn signals_get_their_names() {
        for text in ["SIGUSR2", "usr2", "12"] {
            assert_eq!(signal(text).as_deref(), Ok("SIGUSR2"), "{text}");
        }
        let error = signal("SIGNOTHING").unwrap_err().to_string();
        assert_eq!(error, "`SIGNOTHING` is no signal; write SIGTERM, TERM or 15");
    }

    #[test]
    fn wanted_instances_keep_what_was_meant() {
        use spec::Instances::{AllBut, Count};
        for (text, wanted, words) in [
            ("3", Count(3), "3"),
            ("max", AllBut(0), "one for each CPU"),
            ("0", AllBut(0), "one for each CPU"),
            ("-1", AllBut(1), "one for each CPU but 1"),
        ] {
            assert_eq!(wanted_instances(text), Ok(wanted), "{text}");
            assert_eq!(spoken_instances(wanted), words);
        }
        assert!(matches!(wanted_instances("5000"), Err(UnitError::TooMany(_))));
        assert!(matches!(wanted_instances("three"), Err(UnitError::Instances(_))));
    }
}
