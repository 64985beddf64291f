//! A schedule as people would say it.

use croner::{Cron, CronComponent};

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The usual shapes in short words; all others at length.
pub(super) fn of(cron: &Cron) -> String {
    usual(cron).unwrap_or_else(|| at_length(cron))
}

fn usual(cron: &Cron) -> Option<String> {
    let pattern = &cron.pattern;
    let fields = [&pattern.seconds, &pattern.minutes, &pattern.hours, &pattern.days];
    let plain = !fields.iter().any(|field| field.has_modifiers())
        && !pattern.days_of_week.has_modifiers()
        && all(&pattern.months)
        && pattern.seconds.values() == [0];
    if !plain {
        return None;
    }
    let days = days(&pattern.days, &pattern.days_of_week)?;
    if let Some(rhythm) = rhythm(&pattern.minutes, &pattern.hours) {
        return (days == "every day").then_some(rhythm);
    }
    let (minute, hours) = (single(&pattern.minutes)?, pattern.hours.values());
    if hours.len() > 4 {
        return None;
    }
    let times: Vec<String> = hours.iter().map(|hour| format!("{hour:02}:{minute:02}")).collect();
    Some(format!("{days} at {}", list(&times)))
}

fn days(of_month: &CronComponent, of_week: &CronComponent) -> Option<String> {
    // Sunday has two numbers.
    let mut week: Vec<usize> = of_week.values().iter().map(|day| usize::from(*day) % 7).collect();
    week.sort_unstable();
    week.dedup();
    match (all(of_month), week.len() == 7) {
        (true, true) => Some("every day".to_owned()),
        (true, false) => weekdays(&week),
        (false, true) => Some(format!("on the {} of every month", ordinal(single(of_month)?))),
        (false, false) => None,
    }
}

fn weekdays(days: &[usize]) -> Option<String> {
    match days {
        [1, 2, 3, 4, 5] => Some("every weekday".to_owned()),
        [] => None,
        days => {
            let names: Vec<String> = days.iter().map(|day| DAYS[*day].to_owned()).collect();
            Some(format!("every {}", list(&names)))
        }
    }
}

/// What comes several times a day at equal distances.
fn rhythm(minutes: &CronComponent, hours: &CronComponent) -> Option<String> {
    if all(hours) {
        let step = minutes.step;
        return match (minutes.values().as_slice(), step) {
            (_, 1) if all(minutes) => Some("every minute".to_owned()),
            ([0, ..], 2..) if 60 % step == 0 && minutes.from_wildcard => {
                Some(format!("every {step} minutes"))
            }
            ([0], _) => Some("every hour".to_owned()),
            ([minute], _) => Some(format!("every hour at :{minute:02}")),
            (_, _) => None,
        };
    }
    let step = hours.step;
    let even = step > 1 && 24 % step == 0 && hours.from_wildcard;
    (even && minutes.values() == [0]).then(|| format!("every {step} hours"))
}

fn all(field: &CronComponent) -> bool {
    field.values().len() == usize::from(field.max - field.min) + 1
}

fn single(field: &CronComponent) -> Option<u16> {
    match field.values().as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}

fn ordinal(number: u16) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        (_, _) => "th",
    };
    format!("{number}{ending}")
}

fn list(words: &[String]) -> String {
    match words {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        words => words.concat(),
    }
}

/// `On day …, at …`, to be put into a sentence.
fn at_length(cron: &Cron) -> String {
    let sentence = cron.describe();
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use crate::supervise::cron::Schedule;

    #[test]
    fn the_usual_schedules_are_said_as_people_say_them() {
        for (pattern, words) in [
            ("0 3 * * *", "every day at 03:00"),
            ("@daily", "every day at 00:00"),
            ("30 4,16 * * *", "every day at 04:30 and 16:30"),
            ("* * * * *", "every minute"),
            ("*/5 * * * *", "every 5 minutes"),
            ("0 * * * *", "every hour"),
            ("15 * * * *", "every hour at :15"),
            ("0 */6 * * *", "every 6 hours"),
            ("0 3 * * MON", "every Monday at 03:00"),
            ("0 3 * * 7", "every Sunday at 03:00"),
            ("0 3 * * 1-5", "every weekday at 03:00"),
            ("0 3 * * 0,6", "every Sunday and Saturday at 03:00"),
            ("0 0 1 * *", "on the 1st of every month at 00:00"),
            ("0 0 22 * *", "on the 22nd of every month at 00:00"),
        ] {
            let schedule = Schedule::parse(pattern, None).unwrap();
            assert_eq!(schedule.in_words(), words, "{pattern}");
        }
        let schedule = Schedule::parse("0 3 * * *", Some("Europe/Berlin")).unwrap();
        assert_eq!(schedule.in_words(), "every day at 03:00 (Europe/Berlin)");
    }

    #[test]
    fn unusual_schedules_are_said_at_length() {
        for pattern in ["*/10 * * * * *", "0 0 L * *", "0 3 1 1 *", "*/7 3 * * FRI"] {
            let words = Schedule::parse(pattern, None).unwrap().in_words();
            assert!(words.len() > 8 && !words.ends_with('.'), "{pattern}: {words}");
            assert!(words.starts_with(|c: char| c.is_ascii_lowercase()), "{pattern}: {words}");
        }
    }
}
