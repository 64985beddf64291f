//! Configurations that are programs: node runs them, or bun, or deno.

use std::{
    env,
    ffi::OsStr,
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tine_linux::process::Process;

use super::{
    error::ConfigError,
    json,
    tree::{Data, Entry, Tree},
};

/// So long a configuration may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs what it gets on standard input, and answers with JSON behind the mark.
const LOADER: &str = include_str!("script.js");

/// What stands before the answer.
const MARK: &str = "--- tine: what the configuration comes to ---";

/// Who can run JavaScript, in the order in which they are looked for, and how they take it from standard
/// input.
const RUNTIMES: [(&str, &[&str]); 3] =
    [("node", &["--no-warnings", "-"]), ("bun", &["run", "-"]), ("deno", &["run", "-A", "-"])];

/// What is run.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// As it was named, for messages.
    pub(super) shown: &'a str,
    /// Absolute; what a text without a file is relative to.
    pub(super) file: &'a Path,
    /// An expression, instead of what is in the file.
    pub(super) text: Option<&'a str>,
    /// Where it runs: pm2's configurations run where the command was called.
    pub(super) directory: &'a Path,
}

/// What came of it.
pub(super) struct Answer {
    pub(super) tree: Tree,
    /// Whatever is worth a word, and what it printed.
    pub(super) notes: Vec<String>,
}

/// Runs it with the first runtime that is there.
pub(super) fn run(job: Job<'_>) -> Result<Answer, ConfigError> {
    let (runtime, args) = runtime(&env::var_os("PATH").unwrap_or_default(), job.shown)?;
    let printed = run_by(job, runtime, args, PATIENCE)?;
    let failed = |printed: String| ConfigError::Script {
        file: job.shown.to_owned(),
        runtime: runtime.to_owned(),
        printed,
    };
    let answer = printed.out.rsplit_once(MARK).and_then(|(_, text)| json::parse(text).ok());
    match answer {
        Some(answer) if printed.success => Ok(read(job.shown, &answer, &printed.err)),
        Some(_) | None => Err(failed(of_interest(&printed.err))),
    }
}

/// The first one that is in this path, with its arguments.
fn runtime(
    path: &OsStr,
    shown: &str,
) -> Result<(&'static str, &'static [&'static str]), ConfigError> {
    let is_there =
        |name: &str| env::split_paths(path).any(|directory| directory.join(name).is_file());
    let found = RUNTIMES.into_iter().find(|(name, _)| is_there(name));
    found.ok_or_else(|| ConfigError::NoRuntime(shown.to_owned()))
}

/// The loader for this job: its three words are put before it as constants.
fn program(job: Job<'_>) -> String {
    let file = job.file.to_string_lossy();
    let constants = [("FILE", json!(file)), ("TEXT", json!(job.text)), ("MARK", json!(MARK))];
    let lines = constants.map(|(name, value)| format!("const {name} = {value};\n"));
    lines.concat() + LOADER
}

/// What a runtime printed, and whether it ended well.
struct Printed {
    out: String,
    err: String,
    success: bool,
}

fn run_by(
    job: Job<'_>,
    runtime: &str,
    args: &[&str],
    patience: Duration,
) -> Result<Printed, ConfigError> {
    let trouble = |error: io::Error| ConfigError::Script {
        file: job.shown.to_owned(),
        runtime: runtime.to_owned(),
        printed: error.to_string(),
    };
    let mut command = Command::new(runtime);
    command.args(args).current_dir(job.directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(trouble)?;
    feed(&mut child, program(job));
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let deadline = Instant::now() + patience;
    let next = |from: &Receiver<String>| {
        from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    };
    let Some((out, err)) = next(&out).and_then(|out| Some((out, next(&err)?))) else {
        end(child);
        return Err(ConfigError::Slow {
            file: job.shown.to_owned(),
            runtime: runtime.to_owned(),
            seconds: patience.as_secs(),
        });
    };
    let success = child.wait().map_err(trouble)?.success();
    Ok(Printed { out, err, success })
}

/// On a thread: the program may be longer than a pipe holds, and nobody may read it.
fn feed(child: &mut Child, program: String) {
    if let Some(mut input) = child.stdin.take() {
        // A runtime that does not read says by itself what is wrong.
        thread::spawn(move || drop(input.write_all(program.as_bytes())));
    }
}

/// On a thread, to the end. A program that holds the pipe open longer than we wait keeps the thread, not us.
fn collect(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.map(|mut from| from.read_to_end(&mut bytes));
        drop((read, sender.send(String::from_utf8_lossy(&bytes).into_owned())));
    });
    receiver
}

/// Kills it; a child that is not waited for yet cannot have become another process.
fn end(mut child: Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(process) = pid.and_then(|pid| Process::open(pid).ok()) {
        drop(process.signal(Signal::KILL));
        drop(child.wait());
    }
}

fn read(shown: &str, answer: &Tree, printed: &str) -> Answer {
    let tree = answer.get("config").cloned().unwrap_or(Tree::new(None, Data::Null));
    let mut notes = Vec::new();
    let names = |key: &str| match answer.get(key).map(Tree::json) {
        Some(Value::Array(names)) => names,
        Some(_) | None => Vec::new(),
    };
    for name in names("functions") {
        let name = name.as_str().filter(|name| !name.is_empty()).unwrap_or("the whole").to_owned();
        notes.push(format!("{shown}: `{name}` is a function, which cannot be a setting: left out"));
    }
    for name in names("patterns") {
        let name = name.as_str().unwrap_or_default();
        notes.push(format!("{shown}: `{name}` is a regular expression, and is taken as a text"));
    }
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    notes.extend(lines.take(20).map(|line| format!("{shown} prints: {line}")));
    Answer { tree: without_lines(tree), notes }
}

/// The lines are those of the answer, not of the file.
fn without_lines(tree: Tree) -> Tree {
    let data = match tree.data {
        Data::List(items) => Data::List(items.into_iter().map(without_lines).collect()),
        Data::Map(entries) => Data::Map(entries.into_iter().map(entry_without_lines).collect()),
        data @ (Data::Null | Data::Bool(_) | Data::Number(_) | Data::Text(_)) => data,
    };
    Tree::new(None, data)
}

fn entry_without_lines(entry: Entry) -> Entry {
    Entry { line: None, value: without_lines(entry.value), name: entry.name }
}

/// A stack trace without the runtime's own frames.
fn of_interest(printed: &str) -> String {
    let own = |line: &&str| !line.trim_start().starts_with("at ") || !line.contains("node:");
    let lines: Vec<&str> = printed.trim_end().lines().filter(own).take(20).collect();
    if lines.is_empty() { "it printed nothing".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_never_ends_is_ended() {
        let job = Job {
            shown: "x.config.js",
            file: Path::new("/tmp/x.config.js"),
            text: None,
            directory: Path::new("/"),
        };
        let patience = Duration::from_millis(50);
        let error = run_by(job, "sleep", &["1000"], patience).err().unwrap();
        assert!(matches!(error, ConfigError::Slow { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("x.config.js was run by sleep for"), "{text}");
    }

    #[test]
    fn where_nobody_can_run_it_the_way_out_is_told() {
        let error = runtime(OsStr::new("/no/where:/proc"), "x.config.js").unwrap_err().to_string();
        assert_eq!(
            error,
            "x.config.js is JavaScript, and neither node, bun nor deno is in PATH to run it: install one, \
             or write the same as tine.toml or JSON"
        );
    }

    #[test]
    fn the_frames_of_the_runtime_are_left_out() {
        let trace = "Error: no\n    at f (/srv/a.js:1:2)\n    at Module._load (node:internal:1)\n";
        assert_eq!(of_interest(trace), "Error: no\n    at f (/srv/a.js:1:2)");
        assert_eq!(of_interest("\n"), "it printed nothing");
    }
}
