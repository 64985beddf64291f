//! The types of keys: how a value of a file is read as one, and how one is called.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{
    parts,
    tree::{Data, Tree},
    words,
};
use crate::{
    spec::{LogType, Millis, Mode},
    supervise::cron::{CronError, Schedule},
    units,
};

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text; a number is one too.
    Text,
    /// Yes or no.
    Bool,
    /// A number from the first to the second.
    Number(i64, i64),
    /// Words: a list, or a line that is split as a shell does.
    Words,
    /// Texts: a list, or one.
    Texts,
    /// A file or directory; relative to the app's `cwd`.
    Path,
    /// Several of them.
    Paths,
    /// A file for output; `false`, `NULL` and `/dev/null` for nowhere.
    LogFile,
    /// Milliseconds, or a number with a unit.
    Duration,
    /// Bytes, or a number with a unit.
    Size,
    /// A number of workers.
    Instances,
    /// `fork` or `cluster`.
    Mode,
    /// Exit codes.
    Codes,
    /// Variables.
    Env,
    /// What of the environment is kept back.
    Filter,
    /// Who gets the next connection.
    Policy,
    /// How that is done.
    Mechanism,
    /// Addresses with ports.
    Addresses,
    /// Ports.
    Ports,
    /// A health check.
    Health,
    /// A signal.
    Signal,
    /// A cron expression.
    Cron,
    /// A time zone.
    Zone,
    /// What is watched.
    Watch,
    /// `restart` or `reload`.
    Action,
    /// Octal digits.
    Umask,
    /// Limits of setrlimit(2).
    Rlimits,
    /// Limits of cgroup v2.
    Limits,
    /// When log files are set aside.
    Rotation,
    /// `raw` or `json`.
    LogType,
    /// Anything: it is not looked at.
    Any,
}

/// A value that is not of its key's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: Option<u32>,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn expected(what: &str, tree: &Tree) -> Self {
        Self { line: tree.line, text: format!("expected {what}, found {}", tree.kind()) }
    }

    /// What a parser of the text says.
    pub(crate) fn of(tree: &Tree, error: &(impl ToString + ?Sized)) -> Self {
        Self { line: tree.line, text: error.to_string() }
    }
}

pub(crate) type Read<T> = Result<T, Fault>;

impl Kind {
    /// What is expected, for messages and for the table of keys.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Number(..) => "a number",
            Self::Words => "a list of words, or a line of them",
            Self::Texts => "a text or a list of texts",
            Self::Path => "a path",
            Self::Paths => "a path or a list of paths",
            Self::LogFile => "a path, or false for nowhere",
            Self::Duration => "a duration such as 1600, 5s, 2m or 1h",
            Self::Size => "a size such as 1048576, 512K, 300M or 1.5G",
            Self::Instances => "a number, `max`, or -N for all CPUs but N",
            Self::Mode => "`fork` or `cluster`",
            Self::Codes => "an exit code or a list of them",
            Self::Env => "a table of variables",
            Self::Filter => "true, or the beginnings of names",
            Self::Policy => "`rr`, `random`, `sticky` or `shared`",
            Self::Mechanism => "`auto`, `kernel-ebpf`, `kernel-cbpf`, `one-queue` or `hand-over`",
            Self::Addresses => "an address such as 127.0.0.1:8080, or a list of them",
            Self::Ports => "a port or a list of ports",
            Self::Health => "a URL, `tcp`, `exec:COMMAND`, or a table with `http`, `tcp` or `exec`",
            Self::Signal => "a signal such as SIGTERM",
            Self::Cron => "a cron expression such as `0 3 * * *`",
            Self::Zone => "a time zone such as Europe/Berlin",
            Self::Watch => "true, paths, or a table",
            Self::Action => "`restart` or `reload`",
            Self::Umask => "octal digits in quotes such as \"022\"",
            Self::Rlimits => "a table such as { nofile = 65536 }",
            Self::Limits => "a table with `memory`, `cpu` or `pids`",
            Self::Rotation => "false, or a table with `size`, `age`, `keep`, `compress` or `total`",
            Self::LogType => "`raw` or `json`",
            Self::Any => "anything",
        }
    }

    /// Reads a value to what the spec's key serializes to; `null` where it means the default. Paths are
    /// taken relative to `cwd`.
    pub(crate) fn read(self, tree: &Tree, cwd: &Path) -> Read<Value> {
        let expected = || Fault::expected(self.words(), tree);
        if tree.data == Data::Null {
            return Ok(Value::Null);
        }
        match self {
            Self::Text => Ok(value(text(tree).ok_or_else(expected)?)),
            Self::Bool => Ok(value(boolean(tree).ok_or_else(expected)?)),
            Self::Number(least, most) => number(tree, least, most).map(value),
            Self::Words => word_list(tree).map(value).ok_or_else(expected),
            Self::Texts => texts(tree).map(value).ok_or_else(expected),
            Self::Path => text(tree).map(|path| value(at(cwd, &path))).ok_or_else(expected),
            Self::Paths => {
                let paths = texts(tree).ok_or_else(expected)?;
                Ok(value(paths.iter().map(|path| at(cwd, path)).collect::<Vec<_>>()))
            }
            Self::LogFile => log_file(tree, cwd).map(value).ok_or_else(expected),
            Self::Duration => duration(tree).map(value),
            // As under pm2, 0 is no limit.
            Self::Size => size(tree).map(|bytes| value(Some(bytes).filter(|bytes| *bytes > 0))),
            Self::Instances => parsed(tree, self, units::wanted_instances),
            Self::Mode => mode(tree).map(value).ok_or_else(expected),
            Self::Codes => parts::codes(tree).map(value),
            Self::Env => parts::variables(tree).map(value),
            Self::Filter => parts::filter(tree).map(value),
            Self::Policy => parsed(tree, self, str::parse::<tine_cluster::policy::Policy>),
            Self::Mechanism => parts::mechanism(tree),
            Self::Addresses => parts::addresses(tree).map(value),
            Self::Ports => parts::ports(tree).map(value),
            Self::Health => parts::health(tree),
            Self::Signal => parsed(tree, self, units::signal),
            Self::Cron => parts::cron(tree),
            Self::Zone => parsed(tree, self, zone),
            // Read together with its other keys.
            Self::Watch | Self::Any => Ok(tree.json()),
            Self::Action => parts::action(tree).map(value),
            Self::Umask => parts::umask(tree).map(value),
            Self::Rlimits => parts::rlimits(tree).map(value),
            Self::Limits => parts::limits(tree).map(value),
            Self::Rotation => parts::rotation(tree).map(value),
            Self::LogType => log_type(tree).map(value).ok_or_else(expected),
        }
    }
}

pub(crate) fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).expect("a part of a spec is plain data")
}

fn parsed<T: Serialize, E: ToString>(
    tree: &Tree,
    kind: Kind,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Read<Value> {
    let text = text(tree).ok_or_else(|| Fault::expected(kind.words(), tree))?;
    parse(&text).map(value).map_err(|error| Fault::of(tree, &error))
}

/// A text; of numbers their digits.
pub(crate) fn text(tree: &Tree) -> Option<String> {
    match &tree.data {
        Data::Text(_) | Data::Number(_) => tree.variable(),
        Data::Null | Data::Bool(_) | Data::List(_) | Data::Map(_) => None,
    }
}

pub(crate) fn texts(tree: &Tree) -> Option<Vec<String>> {
    match &tree.data {
        Data::List(items) => items.iter().map(text).collect(),
        Data::Text(text) if text.is_empty() => Some(Vec::new()),
        Data::Text(_) | Data::Number(_) => Some(vec![text(tree)?]),
        Data::Null | Data::Bool(_) | Data::Map(_) => None,
    }
}

/// Arguments: in a list also `true` is a word.
fn word_list(tree: &Tree) -> Option<Vec<String>> {
    match &tree.data {
        Data::List(items) => items.iter().map(Tree::variable).collect(),
        Data::Text(line) => Some(words::split(line)),
        Data::Number(_) => Some(vec![tree.variable()?]),
        Data::Null | Data::Bool(_) | Data::Map(_) => None,
    }
}

pub(crate) fn boolean(tree: &Tree) -> Option<bool> {
    match &tree.data {
        Data::Bool(value) => Some(*value),
        Data::Text(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        },
        Data::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            Some(_) | None => None,
        },
        Data::Null | Data::List(_) | Data::Map(_) => None,
    }
}

pub(crate) fn number(tree: &Tree, least: i64, most: i64) -> Read<i64> {
    let number = text(tree).and_then(|text| text.trim().parse().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let range = if most == i64::MAX {
            format!("a whole number, {least} or more")
        } else {
            format!("a whole number from {least} to {most}")
        };
        Fault::expected(&range, tree)
    })
}

pub(crate) fn duration(tree: &Tree) -> Read<Millis> {
    let text = text(tree).ok_or_else(|| Fault::expected(Kind::Duration.words(), tree))?;
    let duration = units::duration(text.trim()).map_err(|error| Fault::of(tree, &error))?;
    // At most a year, as the parser has it.
    Ok(Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

pub(crate) fn size(tree: &Tree) -> Read<u64> {
    let text = text(tree).ok_or_else(|| Fault::expected(Kind::Size.words(), tree))?;
    units::bytes(text.trim()).map_err(|error| Fault::of(tree, &error))
}

/// An absolute path; `~` is the home of whoever reads the file.
pub(crate) fn at(directory: &Path, path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let below_home = match path.strip_prefix('~') {
        Some("") => home(),
        Some(rest) => rest.strip_prefix('/').and_then(|rest| Some(home()?.join(rest))),
        None => None,
    };
    let whole = below_home.unwrap_or_else(|| directory.join(path));
    std::path::absolute(&whole).unwrap_or(whole)
}

/// `true` is for the caller, who knows the app's name.
fn log_file(tree: &Tree, cwd: &Path) -> Option<PathBuf> {
    if boolean(tree) == Some(false) {
        return Some("/dev/null".into());
    }
    let path = text(tree).filter(|path| !path.is_empty())?;
    Some(if path == "NULL" { "/dev/null".into() } else { at(cwd, &path) })
}

fn zone(name: &str) -> Result<String, CronError> {
    Schedule::parse("@daily", Some(name)).map(|_| name.to_owned())
}

fn mode(tree: &Tree) -> Option<Mode> {
    match text(tree)?.as_str() {
        "fork" | "fork_mode" => Some(Mode::Fork),
        "cluster" | "cluster_mode" => Some(Mode::Cluster),
        _ => None,
    }
}

fn log_type(tree: &Tree) -> Option<LogType> {
    match text(tree)?.as_str() {
        "raw" | "" => Some(LogType::Raw),
        "json" => Some(LogType::Json),
        _ => None,
    }
}
