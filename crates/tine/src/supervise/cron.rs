//! When an app is restarted by the calendar.
//!
//! A [`Schedule`] says when; an [`Alarm`] goes through time with it. Neither reads a clock.
//!
//! Daylight saving time: an hour that the clock leaves out has its restarts when it goes on, an hour that
//! comes twice has those at a fixed time once. The clock itself may be set: see [`Alarm`].

mod words;
mod zone;

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Local};
use croner::{
    Cron, CronDateTime,
    parser::{CronParser, Year},
};
use jiff::{Timestamp, tz::TimeZone};
use thiserror::Error;

/// A pattern in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Zone {
    /// As `TZ` or `/etc/localtime` say.
    Local,
    Named(TimeZone),
}

/// A pattern or a time zone that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CronError {
    /// Too few or too many fields.
    #[error(
        "`{0}` is no schedule: it needs 5 fields (minute hour day month weekday), or 6 with the second \
         first; `0 3 * * *` is every day at 03:00"
    )]
    Fields(String),
    /// One field.
    #[error("`{pattern}` is no schedule: `{field}` is no {name} ({range})")]
    Field {
        /// The whole.
        pattern: String,
        /// What is wrong.
        field: String,
        /// What it should be.
        name: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// Each field is right, the whole is not.
    #[error("`{0}` is no schedule")]
    Whole(String),
    /// A day that no year has.
    #[error("`{0}` never comes: there is no such day")]
    Never(String),
    /// No time zone has this name.
    #[error("`{0}` is no time zone; write a name like Europe/Berlin, or UTC")]
    Zone(String),
}

/// The fields, from the second on.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31, or L for the last"),
    ("month", "1-12 or JAN-DEC"),
    ("weekday", "0-7 or SUN-SAT; 0 and 7 are Sunday"),
];

impl Schedule {
    /// Reads 5 fields, or 6 with seconds first, or `@daily` and the like; `zone` is a name like
    /// `Europe/Berlin`, and the machine's own where there is none.
    ///
    /// # Errors
    ///
    /// With the field that is wrong.
    pub fn parse(pattern: &str, zone: Option<&str>) -> Result<Self, CronError> {
        let zone = match zone {
            Some(name) => {
                Zone::Named(zone::named(name).ok_or_else(|| CronError::Zone(name.to_owned()))?)
            }
            None => Zone::Local,
        };
        let cron = read(pattern).map_err(|_| explain(pattern))?;
        let schedule = Self { cron, zone };
        match schedule.after(SystemTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(CronError::Never(pattern.to_owned())),
        }
    }

    /// The first time that comes after this instant; `None` if none ever does.
    #[must_use]
    pub fn after(&self, instant: SystemTime) -> Option<SystemTime> {
        match &self.zone {
            Zone::Local => self.next(&DateTime::<Local>::from(instant)).map(SystemTime::from),
            Zone::Named(zone) => {
                let instant = Timestamp::try_from(instant).ok()?.to_zoned(zone.clone());
                self.next(&instant).map(SystemTime::from)
            }
        }
    }

    fn next<T: CronDateTime>(&self, instant: &T) -> Option<T> {
        self.cron.find_next_occurrence(instant, false).ok()
    }

    /// In words, for people: `every day at 03:00`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let when = words::of(&self.cron);
        match &self.zone {
            Zone::Local => when,
            Zone::Named(zone) => format!("{when} ({})", zone.iana_name().unwrap_or("UTC")),
        }
    }
}

fn read(pattern: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder().year(Year::Disallowed).build().parse(pattern)
}

/// Finds the field that is at fault: each is tried among others that are right.
fn explain(pattern: &str) -> CronError {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let first = match fields.len() {
        5 => 1,
        6 => 0,
        _ => return CronError::Fields(pattern.to_owned()),
    };
    for (index, (field, (name, range))) in fields.iter().zip(&FIELDS[first..]).enumerate() {
        let mut alone = ["*"; 6];
        alone[first + index] = field;
        if read(&alone.join(" ")).is_err() {
            let (pattern, field) = (pattern.to_owned(), (*field).to_owned());
            return CronError::Field { pattern, field, name, range };
        }
    }
    CronError::Whole(pattern.to_owned())
}

/// Goes through time with a schedule.
///
/// Whoever holds it looks when [`Alarm::wait`] is over, which is never long, so that a clock that was
/// set is noticed. Set forward past several times, the alarm goes off once. Set back by a little, it
/// does not go off again for what was; set back by more than [`Alarm::BACK`], it begins anew from there.
#[derive(Clone, Debug)]
pub struct Alarm {
    schedule: Schedule,
    next: Option<SystemTime>,
    looked: SystemTime,
}

impl Alarm {
    /// A clock that goes back by more was set on purpose.
    pub const BACK: Duration = Duration::from_mins(5);
    /// Nobody needs to look more seldom.
    const LONGEST: Duration = Duration::from_mins(1);

    /// Begins now.
    #[must_use]
    pub fn new(schedule: Schedule, now: SystemTime) -> Self {
        Self { next: schedule.after(now), schedule, looked: now }
    }

    /// When it goes off next, as far as is known.
    #[must_use]
    pub const fn next(&self) -> Option<SystemTime> {
        self.next
    }

    /// [`Schedule::in_words`].
    #[must_use]
    pub fn in_words(&self) -> String {
        self.schedule.in_words()
    }

    /// Whether it goes off now.
    pub fn look(&mut self, now: SystemTime) -> bool {
        let back = self.looked.duration_since(now).unwrap_or_default();
        self.looked = now;
        if back > Self::BACK {
            self.next = self.schedule.after(now);
            return false;
        }
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = self.schedule.after(now);
        }
        due
    }

    /// How long to wait before the next look.
    #[must_use]
    pub fn wait(&self, now: SystemTime) -> Duration {
        let left = self.next.and_then(|next| next.duration_since(now).ok());
        left.unwrap_or(if self.next.is_some() { Duration::ZERO } else { Self::LONGEST })
            .min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn at(text: &str) -> SystemTime {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    fn shown(time: Option<SystemTime>) -> String {
        time.map(|time| DateTime::<Utc>::from(time).to_rfc3339()).unwrap_or_default()
    }

    fn in_berlin(pattern: &str) -> Schedule {
        Schedule::parse(pattern, Some("Europe/Berlin")).unwrap()
    }

    /// The next times after one.
    fn times(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
        let mut now = at(after);
        let mut found = Vec::new();
        for _ in 0..count {
            now = schedule.after(now).unwrap();
            found.push(shown(Some(now)).replace("+00:00", "Z"));
        }
        found
    }

    #[test]
    fn the_time_is_that_of_the_zone() {
        let summer = times(&in_berlin("0 3 * * *"), "2026-07-01T00:30:00Z", 2);
        assert_eq!(summer, ["2026-07-01T01:00:00Z", "2026-07-02T01:00:00Z"]);
        let winter = times(&in_berlin("0 3 * * *"), "2026-11-22T00:30:00Z", 1);
        assert_eq!(winter, ["2026-11-22T02:00:00Z"]);
        let utc = Schedule::parse("0 3 * * *", Some("UTC")).unwrap();
        assert_eq!(times(&utc, "2026-07-01T03:00:00Z", 1), ["2026-07-02T03:00:00Z"]);
    }

    #[test]
    fn a_sixth_field_in_front_is_the_second() {
        let schedule = in_berlin("*/20 * * * * *");
        let found = times(&schedule, "2026-07-01T00:00:30.500Z", 2);
        assert_eq!(found, ["2026-07-01T00:00:40Z", "2026-07-01T00:01:00Z"]);
    }

    #[test]
    fn an_hour_that_is_left_out_does_not_leave_out_its_restart() {
        // On 29 March 2026 in Berlin, 02:00 is 03:00.
        let found = times(&in_berlin("30 2 * * *"), "2026-03-28T12:00:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn an_hour_that_comes_twice_has_a_restart_at_a_fixed_time_once() {
        // On 25 October 2026 in Berlin, 03:00 is 02:00.
        let found = times(&in_berlin("30 2 * * *"), "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let found = times(&in_berlin("*/30 * * * *"), "2026-10-25T00:00:00Z", 4);
        assert_eq!(
            found,
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let error = |pattern| Schedule::parse(pattern, None).unwrap_err().to_string();
        assert_eq!(error("61 * * * *"), "`61 * * * *` is no schedule: `61` is no minute (0-59)");
        assert!(error("0 0 * * * MOX").contains("`MOX` is no weekday"));
        assert!(error("0 25 * * *").contains("`25` is no hour (0-23)"));
        assert!(error("99 * * * * *").contains("`99` is no second"));
        assert!(error("every day").contains("5 fields"));
        assert!(error("* * * * * * 2026").contains("5 fields"));
        assert!(error("").contains("5 fields"));
        assert_eq!(error("0 0 30 2 *"), "`0 0 30 2 *` never comes: there is no such day");
        let error = Schedule::parse("0 3 * * *", Some("Mars/Phobos")).unwrap_err();
        assert!(error.to_string().starts_with("`Mars/Phobos` is no time zone"));
    }

    fn alarm(pattern: &str, now: &str) -> Alarm {
        Alarm::new(Schedule::parse(pattern, Some("UTC")).unwrap(), at(now))
    }

    #[test]
    fn the_alarm_goes_off_once_for_each_time() {
        let mut alarm = alarm("0 3 * * *", "2026-11-22T02:59:00Z");
        assert_eq!(alarm.wait(at("2026-11-22T02:59:50Z")), Duration::from_secs(10));
        assert!(!alarm.look(at("2026-11-22T02:59:59Z")));
        assert!(alarm.look(at("2026-11-22T03:00:00Z")));
        assert!(!alarm.look(at("2026-11-22T03:00:00Z")));
        assert_eq!(shown(alarm.next()), "2026-11-23T03:00:00+00:00");
        assert_eq!(alarm.wait(at("2026-11-22T03:00:00Z")), Duration::from_mins(1));
    }

    #[test]
    fn a_clock_set_forward_past_several_times_makes_one_alarm() {
        let mut alarm = alarm("0 * * * *", "2026-11-22T02:30:00Z");
        assert!(alarm.look(at("2026-11-22T09:10:00Z")));
        assert!(!alarm.look(at("2026-11-22T09:11:00Z")));
        assert_eq!(shown(alarm.next()), "2026-11-22T10:00:00+00:00");
    }

    #[test]
    fn a_clock_set_back_by_a_little_repeats_no_alarm_and_by_much_begins_anew() {
        let mut alarm = alarm("0 3 * * *", "2026-11-22T02:59:00Z");
        assert!(alarm.look(at("2026-11-22T03:00:01Z")));
        assert!(!alarm.look(at("2026-11-22T02:59:30Z")));
        assert!(!alarm.look(at("2026-11-22T03:00:30Z")));
        assert!(!alarm.look(at("2026-11-20T12:00:00Z")));
        assert_eq!(shown(alarm.next()), "2026-11-21T03:00:00+00:00");
    }

    /// Looks as whoever holds the alarm does, for so long; gives how often it went off.
    fn live(alarm: &mut Alarm, now: &mut SystemTime, time: Duration) -> u32 {
        let (until, mut count) = (*now + time, 0);
        while *now < until {
            // Never at once again and again.
            *now += alarm.wait(*now).max(Duration::from_millis(1));
            count += u32::from(alarm.look(*now));
        }
        count
    }

    #[test]
    fn however_the_clock_is_set_the_alarm_goes_off_as_often_as_time_goes_by_and_goes_on() {
        let minutes = [360, -360, 4, -4, -4, -4, 61, -61, 43_200, -43_200, 5, -5, -6, 1440];
        for pattern in ["*/10 * * * *", "30 * * * *", "*/5 * * * * *"] {
            let mut now = at("2026-11-22T02:29:50Z");
            let mut alarm = Alarm::new(Schedule::parse(pattern, Some("UTC")).unwrap(), now);
            let usual = live(&mut alarm.clone(), &mut now.clone(), Duration::from_hours(2));
            for minutes in minutes {
                let by = Duration::from_mins(i64::unsigned_abs(minutes));
                now = if minutes > 0 { now + by } else { now - by };
                let count = live(&mut alarm, &mut now, Duration::from_hours(2));
                // Once for what was passed over. None while the clock comes to where it was, or until it is
                // looked at.
                let lost = 2 + usual / 8;
                assert!(count <= usual + 2, "{pattern} {minutes}: {count} of {usual}");
                assert!(count + lost >= usual, "{pattern} {minutes}: {count} of {usual}");
            }
        }
    }
}
