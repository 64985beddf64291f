//! What workers did, in words that are the same whatever ports and pids they had.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// All that was seen of the workers of one primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    workers: BTreeMap<u32, Seen>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Events but for `fork` and `output`, in order.
    events: Vec<String>,
    stdout: String,
    stderr: String,
}

impl Transcript {
    /// Adds an event of the control protocol.
    pub(crate) fn add(&mut self, event: &Value) {
        let Some(worker) = event["worker"].as_u64().and_then(|id| u32::try_from(id).ok()) else {
            return;
        };
        let seen = self.workers.entry(worker).or_default();
        let text = event["text"].as_str().unwrap_or_default();
        match (event["event"].as_str(), event["stream"].as_str()) {
            (Some("fork" | "done"), _) => {}
            (Some("output"), Some("stdout")) => seen.stdout += text,
            (Some("output"), _) => seen.stderr += text,
            (Some(kind), _) => seen.events.push(words(kind, event)),
            (None, _) => panic!("an event without a name: {event}"),
        }
    }

    /// What this worker wrote to its standard output so far.
    pub(crate) fn stdout(&self, worker: u32) -> &str {
        self.workers.get(&worker).map_or("", |seen| &seen.stdout)
    }

    /// The same with each worker's `listening` before all else, in the order of addresses.
    pub(crate) fn listening_first(&self) -> Self {
        let mut other = self.clone();
        for seen in other.workers.values_mut() {
            let (mut first, rest): (Vec<String>, Vec<String>) =
                seen.events.drain(..).partition(|event| event.starts_with("listening "));
            first.sort();
            seen.events = first.into_iter().chain(rest).collect();
        }
        other
    }

    /// The same with other words for what differs from run to run.
    pub(crate) fn normal(mut self, names: &Names) -> Self {
        for seen in self.workers.values_mut() {
            seen.stdout = names.apply(&seen.stdout);
            seen.stderr = names.apply(&seen.stderr);
            for event in &mut seen.events {
                *event = names.apply(event);
            }
            sort_ends(&mut seen.events);
        }
        self
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (worker, seen) in &self.workers {
            for event in &seen.events {
                writeln!(f, "worker {worker}: {event}")?;
            }
            for (stream, text) in [("stdout", &seen.stdout), ("stderr", &seen.stderr)] {
                for line in text.lines() {
                    writeln!(f, "worker {worker} {stream}: {line}")?;
                }
            }
        }
        Ok(())
    }
}

/// A process may be seen to end before the last of what it said, in Node as here. When it is killed with a
/// connection under way to it, Node does not tell that its channel ended.
fn sort_ends(events: &mut Vec<String>) {
    let Some(place) = events.iter().position(|event| event.starts_with("exit ")) else { return };
    let exit = events.remove(place);
    if exit.starts_with("exit null") {
        events.retain(|event| event != "disconnect");
    }
    events.push(exit);
}

fn words(kind: &str, event: &Value) -> String {
    let fields: &[&str] = match kind {
        "listening" => &["address", "addressType", "port"],
        "message" => &["message", "handle"],
        "exit" => &["code", "signal", "exitedAfterDisconnect"],
        _ => &[],
    };
    let fields = fields.iter().map(|field| shortened(&event[*field]));
    [kind.to_owned()].into_iter().chain(fields).collect::<Vec<_>>().join(" ")
}

/// A megabyte in a failed comparison helps nobody.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.len() < 2000 {
        return text;
    }
    let sum = text.bytes().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    format!("{} bytes, sum {sum:08x}", text.len())
}

/// Words for numbers and paths that differ from run to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    numbers: BTreeMap<u64, String>,
    paths: Vec<(String, String)>,
}

impl Names {
    /// Calls this number so from now on; the first name stays.
    pub(crate) fn number(&mut self, number: u64, name: String) {
        self.numbers.entry(number).or_insert(name);
    }

    /// Calls this path so.
    pub(crate) fn path(&mut self, path: String, name: &str) {
        self.paths.push((path, name.to_owned()));
    }

    fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, name) in &self.paths {
            text = text.replace(path, name);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let (digits, after) = from.split_at(end);
            let name = digits.parse().ok().and_then(|number: u64| self.numbers.get(&number));
            out.extend([before, name.map_or(digits, String::as_str)]);
            rest = after;
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_paths_get_their_names_and_others_stay() {
        let mut names = Names::default();
        names.number(4711, "PORT".to_owned());
        names.path("/tmp/x".to_owned(), "DIR");
        assert_eq!(names.apply("/tmp/x/a 4711 47110 [4711]"), "DIR/a PORT 47110 [PORT]");
    }

    fn normal(events: &[Value]) -> Transcript {
        let mut transcript = Transcript::default();
        for event in events {
            transcript.add(event);
        }
        transcript.normal(&Names::default())
    }

    #[test]
    fn the_order_of_the_two_ends_does_not_matter_and_that_of_all_else_does() {
        let online = json!({ "event": "online", "worker": 1 });
        let message = json!({ "event": "message", "worker": 1, "message": 1 });
        let disconnect = json!({ "event": "disconnect", "worker": 1 });
        let exit = json!({ "event": "exit", "worker": 1, "code": 0 });
        let [one, other] = [[&disconnect, &exit], [&exit, &disconnect]];
        assert_eq!(normal(&one.map(Clone::clone)), normal(&other.map(Clone::clone)));
        assert_ne!(normal(&[online.clone(), message.clone()]), normal(&[message, online]));
    }
}
