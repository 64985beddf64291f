//! How a line is written into its file.

use std::borrow::Cow;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{DateFormat, LogSettings, Stream};
use crate::spec::LogType;

/// What is put around lines.
#[derive(Debug)]
pub(super) enum Style {
    /// Nothing: the bytes of the pipe are the bytes of the file.
    Raw,
    Stamped(DateFormat),
    Json {
        app: String,
        form: Option<DateFormat>,
    },
}

impl Style {
    pub(super) fn of(settings: &LogSettings) -> Self {
        let form = settings.date_format.as_deref().filter(|form| !form.is_empty());
        let form = form.map(DateFormat::new);
        match (settings.kind, form) {
            (LogType::Json, form) => Self::Json { app: settings.app.clone(), form },
            (LogType::Raw, Some(form)) => Self::Stamped(form),
            (LogType::Raw, None) => Self::Raw,
        }
    }

    /// Whole lines as they are to be written. They came together, so they have one time.
    pub(super) fn dress<'a>(
        &self,
        lines: &'a [u8],
        (stream, id): (Stream, u32),
        now: SystemTime,
        room: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        room.clear();
        match self {
            Self::Raw => return lines,
            Self::Stamped(form) => {
                let stamp = form.local(now) + ": ";
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    room.extend_from_slice(stamp.as_bytes());
                    room.extend_from_slice(line);
                }
            }
            Self::Json { app, form } => {
                let stamp = form.as_ref().map_or_else(|| rfc3339(now), |form| form.local(now));
                let tail = format!(
                    ",\"timestamp\":{},\"type\":\"{}\",\"process_id\":{id},\"app_name\":{}}}\n",
                    quoted(&stamp),
                    stream.word(),
                    quoted(app)
                );
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    room.extend_from_slice(b"{\"message\":");
                    room.extend_from_slice(quoted(&String::from_utf8_lossy(line)).as_bytes());
                    room.extend_from_slice(tail.as_bytes());
                }
            }
        }
        room
    }
}

/// Milliseconds, in UTC, as JavaScript writes a date into JSON.
pub(super) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A string as JSON has it.
pub(super) fn quoted(text: &str) -> Cow<'static, str> {
    serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn dressed(style: &Style, lines: &[u8]) -> String {
        let now = UNIX_EPOCH + Duration::from_millis(1_772_357_645_067);
        let mut room = Vec::new();
        let dressed = style.dress(lines, (Stream::Error, 3), now, &mut room);
        String::from_utf8(dressed.to_vec()).expect("text")
    }

    #[test]
    fn raw_lines_are_not_touched() {
        assert_eq!(dressed(&Style::Raw, b"a\nb\n"), "a\nb\n");
    }

    #[test]
    fn every_line_gets_its_stamp() {
        let style = Style::Stamped(DateFormat::new("X"));
        assert_eq!(dressed(&style, b"a\n\nb\n"), "1772357645: a\n1772357645: \n1772357645: b\n");
    }

    #[test]
    fn a_line_of_json_is_compact_and_keeps_its_newline() {
        let style = Style::Json { app: "x \"y\"".into(), form: None };
        let line = r#"{"message":"say \"hi\"\t\n","timestamp":"2026-03-01T09:34:05.067Z","#
            .to_owned()
            + r#""type":"err","process_id":3,"app_name":"x \"y\""}"#;
        assert_eq!(dressed(&style, b"say \"hi\"\t\n"), line + "\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such_in_json() {
        let style = Style::Json { app: "x".into(), form: None };
        let line = dressed(&style, b"\xff\x00\n");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["message"], "\u{fffd}\u{0}\n");
    }
}
