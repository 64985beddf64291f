//! A line as a person, or a program, sees it.

use std::time::SystemTime;

use super::style::{quoted, rfc3339};
use super::{DateFormat, Stream};

/// Where a line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The app.
    pub app: String,
    /// The worker's id (`pm_id`); `None` in a file that several workers write to.
    pub id: Option<u32>,
    /// `None` in a file that both streams go to.
    pub stream: Option<Stream>,
}

/// How lines are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The form.
    pub form: Form,
    /// The line's time, in front of it.
    pub timestamp: Option<DateFormat>,
    /// What is to catch the eye.
    pub highlight: Option<String>,
    /// The terminal has colours, and they are wanted.
    pub colour: bool,
    /// The widest label: the others are filled up to it.
    pub width: usize,
}

/// The form of a line that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `0|api  | text`.
    #[default]
    Labelled,
    /// The line alone.
    Raw,
    /// An object a line, as with `log_type: json`.
    Json,
    /// `timestamp=… app=api id=0 type=out message=text`.
    Pairs,
}

const RESET: &str = "\x1b[0m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const BLUE: &str = "\x1b[34m";
const INVERSE: &str = "\x1b[7m";
const UPRIGHT: &str = "\x1b[27m";

impl Origin {
    /// `0|api`.
    #[must_use]
    pub fn label(&self) -> String {
        self.id.map_or_else(|| self.app.clone(), |id| format!("{id}|{}", self.app))
    }

    fn word(&self) -> &'static str {
        self.stream.map_or("log", Stream::word)
    }

    fn colour(&self) -> &'static str {
        match self.stream {
            Some(Stream::Out) => GREEN,
            Some(Stream::Error) => RED,
            None => BLUE,
        }
    }
}

impl Look {
    /// Puts a line (without its newline) into `out`, with a newline. A time that is not known is not made up.
    pub fn put(&self, origin: &Origin, line: &[u8], time: Option<SystemTime>, out: &mut Vec<u8>) {
        match self.form {
            Form::Labelled => self.labelled(origin, line, time, out),
            Form::Raw => {
                self.stamp(time, out);
                self.text(line, out);
            }
            Form::Json => json(origin, line, time, out),
            Form::Pairs => self.pairs(origin, line, time, out),
        }
        out.push(b'\n');
    }

    fn labelled(&self, origin: &Origin, line: &[u8], time: Option<SystemTime>, out: &mut Vec<u8>) {
        let label = format!("{:1$} | ", origin.label(), self.width);
        if self.colour {
            out.extend_from_slice(format!("{}{label}{RESET}", origin.colour()).as_bytes());
        } else {
            out.extend_from_slice(label.as_bytes());
        }
        self.stamp(time, out);
        self.text(line, out);
        // A program that left a colour on shall not colour the next one's lines.
        if self.colour && line.contains(&0x1b) {
            out.extend_from_slice(RESET.as_bytes());
        }
    }

    fn stamp(&self, time: Option<SystemTime>, out: &mut Vec<u8>) {
        if let (Some(form), Some(time)) = (&self.timestamp, time) {
            out.extend_from_slice(form.local(time).as_bytes());
            out.extend_from_slice(b": ");
        }
    }

    /// The line, with what was to be highlighted turned over. Where there are no colours there is no
    /// other way to show it, so there it is shown, too.
    fn text(&self, line: &[u8], out: &mut Vec<u8>) {
        let wanted = self.highlight.as_deref().unwrap_or_default().as_bytes();
        if wanted.is_empty() {
            return out.extend_from_slice(line);
        }
        let mut rest = line;
        while let Some(at) = rest.windows(wanted.len()).position(|part| part == wanted) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(INVERSE.as_bytes());
            out.extend_from_slice(wanted);
            out.extend_from_slice(UPRIGHT.as_bytes());
            rest = &rest[at + wanted.len()..];
        }
        out.extend_from_slice(rest);
    }

    fn pairs(&self, origin: &Origin, line: &[u8], time: Option<SystemTime>, out: &mut Vec<u8>) {
        let form =
            |time| self.timestamp.as_ref().map_or_else(|| rfc3339(time), |form| form.local(time));
        let time = time.map_or_else(|| "-".to_owned(), form);
        let id = origin.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let (app, word) = (&origin.app, origin.word());
        let head = format!("timestamp={time} app={app} id={id} type={word} message=");
        out.extend_from_slice(head.as_bytes());
        self.text(line, out);
    }
}

/// A line that is such an object already stays what it is.
fn json(origin: &Origin, line: &[u8], time: Option<SystemTime>, out: &mut Vec<u8>) {
    let is_object = line.starts_with(b"{")
        && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line)
            .is_ok_and(|object| object.contains_key("message") && object.contains_key("timestamp"));
    if is_object {
        return out.extend_from_slice(line);
    }
    let text = format!(
        "{{\"message\":{},\"timestamp\":{},\"type\":\"{}\",\"process_id\":{},\"app_name\":{}}}",
        quoted(&String::from_utf8_lossy(line)),
        time.map_or("null".into(), |time| quoted(&rfc3339(time))),
        origin.word(),
        origin.id.map_or_else(|| "null".to_owned(), |id| id.to_string()),
        quoted(&origin.app)
    );
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn shown(look: &Look, stream: Option<Stream>, line: &str) -> String {
        let origin = Origin { app: "api".into(), id: Some(2), stream };
        let now = UNIX_EPOCH + Duration::from_millis(1_772_357_645_067);
        let mut out = Vec::new();
        look.put(&origin, line.as_bytes(), Some(now), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_have_one_width_and_the_colour_of_their_stream() {
        let plain = Look { width: 7, ..Look::default() };
        assert_eq!(shown(&plain, Some(Stream::Out), "hello"), "2|api   | hello\n");
        let colour = Look { colour: true, ..Look::default() };
        assert_eq!(shown(&colour, Some(Stream::Error), "oh"), "\x1b[31m2|api | \x1b[0moh\n");
        let left_on = shown(&colour, Some(Stream::Out), "\x1b[1mbold");
        assert!(left_on.ends_with("bold\x1b[0m\n"));
    }

    #[test]
    fn raw_lines_are_as_they_were_written_but_for_a_stamp_that_was_asked_for() {
        let mut look = Look { form: Form::Raw, ..Look::default() };
        assert_eq!(shown(&look, None, "hello"), "hello\n");
        look.timestamp = Some(DateFormat::new("X"));
        assert_eq!(shown(&look, None, "hello"), "1772357645: hello\n");
    }

    #[test]
    fn json_is_made_unless_it_is_there_already() {
        let look = Look { form: Form::Json, ..Look::default() };
        let made = shown(&look, Some(Stream::Error), "a \"b\"");
        let value: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(value["message"], "a \"b\"");
        assert_eq!(value["timestamp"], "2026-03-01T09:34:05.067Z");
        assert_eq!((&value["type"], &value["process_id"]), (&"err".into(), &2.into()));
        let there = r#"{"message":"x\n","timestamp":"y","type":"out"}"#;
        assert_eq!(shown(&look, None, there), there.to_owned() + "\n");
    }

    #[test]
    fn pairs_name_what_they_hold() {
        let look = Look { form: Form::Pairs, ..Look::default() };
        let wanted = "timestamp=2026-03-01T09:34:05.067Z app=api id=2 type=out message=hi there\n";
        assert_eq!(shown(&look, Some(Stream::Out), "hi there"), wanted);
    }

    #[test]
    fn what_is_to_catch_the_eye_is_turned_over_wherever_it_is() {
        let highlight = Some("err".to_owned());
        let look = Look { form: Form::Raw, highlight, ..Look::default() };
        let wanted = "an \x1b[7merr\x1b[27mor, \x1b[7merr\x1b[27m\n";
        assert_eq!(shown(&look, None, "an error, err"), wanted);
        assert_eq!(shown(&look, None, "nothing"), "nothing\n");
    }
}
