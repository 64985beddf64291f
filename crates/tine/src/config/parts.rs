//! The types that have keys of their own, or several forms.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde_json::{Value, json};
use tine_cluster::policy::Mechanism;

use super::{
    kind::{Fault, Kind, Read, boolean, duration, number, size, text, texts, value},
    suggest::nearest,
    tree::{Data, Entry, Tree},
    words,
};
use crate::{
    spec::{Action, Env, Filter, HealthProbe, Limits, Rlimit, Rotation},
    supervise::cron::Schedule,
    units,
};

fn expected(kind: Kind, tree: &Tree) -> Fault {
    Fault::expected(kind.words(), tree)
}

/// The items of a list, or the one thing that stands in its place.
fn items(tree: &Tree) -> Vec<&Tree> {
    match &tree.data {
        Data::List(items) => items.iter().collect(),
        Data::Null => Vec::new(),
        Data::Bool(_) | Data::Number(_) | Data::Text(_) | Data::Map(_) => vec![tree],
    }
}

/// Numbers, or texts that hold numbers with commas or blanks between them.
fn numbers(tree: &Tree, kind: Kind, most: i64) -> Read<Vec<i64>> {
    let mut all = Vec::new();
    for item in items(tree) {
        let line = text(item).ok_or_else(|| expected(kind, item))?;
        for word in line.split([',', ' ']).filter(|word| !word.is_empty()) {
            all.push(number(&Tree::new(item.line, Data::Text(word.to_owned())), 0, most)?);
        }
    }
    Ok(all)
}

pub(super) fn codes(tree: &Tree) -> Read<Vec<i64>> {
    numbers(tree, Kind::Codes, 255)
}

pub(super) fn ports(tree: &Tree) -> Read<Vec<i64>> {
    numbers(tree, Kind::Ports, 65535)
}

/// Texts as they are, everything else as JSON has it; a text is a line of `NAME=value` words.
pub(super) fn variables(tree: &Tree) -> Read<Env> {
    let pair = |word: String| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    match &tree.data {
        Data::Map(entries) => entries.iter().filter_map(variable).collect(),
        Data::Text(line) => words::split(line)
            .into_iter()
            .map(|word| pair(word).ok_or_else(|| expected(Kind::Env, tree)))
            .collect(),
        Data::Null => Ok(Env::new()),
        Data::Bool(_) | Data::Number(_) | Data::List(_) => Err(expected(Kind::Env, tree)),
    }
}

fn variable(entry: &Entry) -> Option<Read<(String, String)>> {
    let value = entry.value.variable()?;
    let bad = entry.name.is_empty() || entry.name.contains(['=', '\0']) || value.contains('\0');
    Some(if bad {
        let text = format!("`{}` cannot be the name of a variable", entry.name.escape_debug());
        Err(Fault { line: entry.line, text })
    } else {
        Ok((entry.name.clone(), value))
    })
}

pub(super) fn filter(tree: &Tree) -> Read<Filter> {
    match boolean(tree) {
        Some(true) => Ok(Filter::All),
        Some(false) => Ok(Filter::Nothing),
        None => match texts(tree) {
            Some(names) if names.is_empty() => Ok(Filter::Nothing),
            Some(names) => Ok(Filter::Prefixes(names)),
            None => Err(expected(Kind::Filter, tree)),
        },
    }
}

pub(super) fn mechanism(tree: &Tree) -> Read<Value> {
    let word = text(tree).ok_or_else(|| expected(Kind::Mechanism, tree))?;
    match word.parse() {
        _ if word == "auto" => Ok(Value::Null),
        Ok(Mechanism::KernelHash) | Err(_) => Err(expected(Kind::Mechanism, tree)),
        Ok(mechanism) => Ok(value(mechanism)),
    }
}

/// A port alone is one of all addresses.
pub(super) fn addresses(tree: &Tree) -> Read<Vec<SocketAddr>> {
    let one = |item: &Tree| {
        let text = text(item)?;
        let port = || Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), text.parse().ok()?));
        text.parse().ok().or_else(port).filter(|address| address.port() != 0)
    };
    let read = |item| one(item).ok_or_else(|| expected(Kind::Addresses, item));
    items(tree).into_iter().map(read).collect()
}

/// `0`, `false` and an empty text switch it off.
pub(super) fn cron(tree: &Tree) -> Read<Value> {
    if boolean(tree) == Some(false) {
        return Ok(Value::Null);
    }
    let pattern = text(tree).ok_or_else(|| expected(Kind::Cron, tree))?;
    if pattern.is_empty() || pattern == "0" {
        return Ok(Value::Null);
    }
    Schedule::parse(&pattern, None).map_err(|error| Fault::of(tree, &error))?;
    Ok(value(pattern))
}

pub(super) fn action(tree: &Tree) -> Read<Action> {
    match text(tree).as_deref() {
        Some("restart") => Ok(Action::Restart),
        Some("reload") => Ok(Action::Reload),
        Some(_) | None => Err(expected(Kind::Action, tree)),
    }
}

/// Digits are octal; a number is refused, for nobody could say which it is.
pub(super) fn umask(tree: &Tree) -> Read<u32> {
    let Data::Text(text) = &tree.data else { return Err(expected(Kind::Umask, tree)) };
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mask = u32::from_str_radix(digits, 8).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| expected(Kind::Umask, tree))
}

/// Calls `take` for each key of a table; it answers `None` to those that it does not know.
fn table(
    tree: &Tree,
    kind: Kind,
    known: &[&str],
    mut take: impl FnMut(&str, &Tree) -> Option<Read<()>>,
) -> Read<()> {
    if !tree.is_map() {
        return Err(expected(kind, tree));
    }
    for Entry { name, line, value } in tree.entries() {
        let key = super::keys::snake(name);
        let unknown = || {
            let meant = nearest(&key, known.iter().copied());
            let hint = meant.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            Fault { line: *line, text: format!("unknown key `{name}`{hint}") }
        };
        take(&key, value)
            .ok_or_else(unknown)?
            .map_err(|fault| Fault { text: format!("`{name}`: {}", fault.text), ..fault })?;
    }
    Ok(())
}

/// A text as on the command line, or a table that says more.
pub(super) fn health(tree: &Tree) -> Read<Value> {
    if let Data::Text(text) = &tree.data {
        let probe: HealthProbe = text.parse().map_err(|error| Fault::of(tree, &error))?;
        return Ok(json!({ "probe": probe }));
    }
    if boolean(tree) == Some(false) {
        return Ok(Value::Null);
    }
    health_table(tree)
}

fn health_table(tree: &Tree) -> Read<Value> {
    const KNOWN: [&str; 7] = ["http", "tcp", "exec", "interval", "timeout", "threshold", "grace"];
    let mut probes = Vec::new();
    let mut health = json!({});
    table(tree, Kind::Health, &KNOWN, |key, tree| {
        Some(match key {
            "http" | "tcp" | "exec" => match &tree.data {
                Data::Text(text) => {
                    probes.push(json!({ key: text }));
                    Ok(())
                }
                // The first port that the app listens on.
                Data::Bool(true) if key == "tcp" => {
                    probes.push(json!({ "tcp": "" }));
                    Ok(())
                }
                Data::Null | Data::Bool(_) | Data::Number(_) | Data::List(_) | Data::Map(_) => {
                    Err(expected(Kind::Text, tree))
                }
            },
            "threshold" => number(tree, 1, 1000).map(|count| health[key] = count.into()),
            "interval" | "timeout" | "grace" => {
                duration(tree).map(|time| health[key] = value(time))
            }
            _ => return None,
        })
    })?;
    let [probe] = probes.as_slice() else {
        let text = "exactly one of `http`, `tcp` and `exec` says what is tried";
        return Err(Fault::of(tree, text));
    };
    health["probe"] = probe.clone();
    Ok(health)
}

/// The names of setrlimit(2), without `RLIMIT_`.
pub(super) const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

pub(super) fn rlimits(tree: &Tree) -> Read<BTreeMap<String, Rlimit>> {
    let known = RLIMITS;
    let mut all = BTreeMap::new();
    table(tree, Kind::Rlimits, &known, |key, tree| {
        let name = key.strip_prefix("rlimit_").unwrap_or(key);
        known.contains(&name).then(|| {
            all.insert(name.to_owned(), rlimit(tree)?);
            Ok(())
        })
    })?;
    Ok(all)
}

/// `65536`, `unlimited`, `1024:65536`, or a table with `soft` and `hard`.
fn rlimit(tree: &Tree) -> Read<Rlimit> {
    const WHAT: &str = "a number, `unlimited`, `SOFT:HARD`, or a table with `soft` and `hard`";
    if tree.is_map() {
        let (mut soft, mut hard) = (None, None);
        table(tree, Kind::Rlimits, &["soft", "hard"], |key, tree| {
            let bound = || bound(&text(tree)?).ok();
            let place = match key {
                "soft" => &mut soft,
                "hard" => &mut hard,
                _ => return None,
            };
            Some(
                bound()
                    .map(|bound| *place = Some(bound))
                    .ok_or_else(|| Fault::expected(WHAT, tree)),
            )
        })?;
        let hard = hard.or(soft).flatten();
        return Ok(Rlimit { soft: soft.unwrap_or(hard), hard });
    }
    let pair = || {
        let text = text(tree)?;
        let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
        Some(Rlimit { soft: bound(soft).ok()?, hard: bound(hard).ok()? })
    };
    pair().ok_or_else(|| Fault::expected(WHAT, tree))
}

/// One of the two; `None` is no limit.
fn bound(text: &str) -> Result<Option<u64>, units::UnitError> {
    match text.trim() {
        "unlimited" | "infinity" | "-1" => Ok(None),
        number => units::bytes(number).map(Some),
    }
}

pub(super) fn limits(tree: &Tree) -> Read<Limits> {
    let mut limits = Limits::default();
    table(tree, Kind::Limits, &["memory", "cpu", "pids"], |key, tree| {
        Some(match key {
            "memory" => size(tree).map(|bytes| limits.memory = Some(bytes)),
            "cpu" => percent(tree).map(|cpu| limits.cpu = Some(cpu)),
            "pids" => positive(tree).map(|pids| limits.pids = Some(pids)),
            _ => return None,
        })
    })?;
    Ok(limits)
}

fn positive(tree: &Tree) -> Read<u32> {
    number(tree, 1, i64::from(u32::MAX)).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// Of one CPU; with or without its sign.
fn percent(tree: &Tree) -> Read<u32> {
    let text = text(tree).ok_or_else(|| Fault::expected("a percentage of one CPU", tree))?;
    let digits = text.strip_suffix('%').unwrap_or(&text).to_owned();
    positive(&Tree::new(tree.line, Data::Text(digits)))
}

pub(super) fn rotation(tree: &Tree) -> Read<Rotation> {
    let mut rotation = Rotation::default();
    match boolean(tree) {
        Some(true) => return Ok(rotation),
        Some(false) => return Ok(Rotation { size: 0, age: None, total: 0, ..rotation }),
        None => {}
    }
    table(tree, Kind::Rotation, &["size", "age", "keep", "compress", "total"], |key, tree| {
        Some(match key {
            "size" | "max_size" => size(tree).map(|bytes| rotation.size = bytes),
            "age" => duration(tree).map(|age| rotation.age = Some(age)),
            "keep" | "retain" => number(tree, 0, 100_000)
                .map(|keep| rotation.keep = u32::try_from(keep).unwrap_or_default()),
            "compress" => boolean(tree)
                .map(|compress| rotation.compress = compress)
                .ok_or_else(|| expected(Kind::Bool, tree)),
            "total" => size(tree).map(|bytes| rotation.total = bytes),
            _ => return None,
        })
    })?;
    Ok(rotation)
}
