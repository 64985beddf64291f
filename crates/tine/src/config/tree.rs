//! What a file says before anybody has asked what it means: values, with the lines they stand on.

use serde_json::{Map, Number, Value};

/// A value of any of the formats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    /// From 1; `None` where the format does not tell.
    pub(crate) line: Option<u32>,
    /// What stands there.
    pub(crate) data: Data,
}

/// What JSON can say; the other formats are brought to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    /// In the order of the file; no name twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The line of the key.
    pub(crate) line: Option<u32>,
    pub(crate) value: Tree,
}

impl Tree {
    pub(crate) fn new(line: Option<u32>, data: Data) -> Self {
        Self { line, data }
    }

    /// The entries of a map; nothing of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Data::Map(entries) = &self.data { entries } else { &[] }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.name == name).map(|entry| &entry.value)
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.data, Data::Map(_))
    }

    /// What it is, for a sentence that says it should be something else.
    pub(crate) fn kind(&self) -> String {
        match &self.data {
            Data::Null => "nothing".to_owned(),
            Data::Bool(value) => value.to_string(),
            Data::Number(number) => format!("the number {number}"),
            Data::Text(text) => format!("`{text}`"),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a table".to_owned(),
        }
    }

    /// As JSON, without the lines.
    pub(crate) fn json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => items.iter().map(Self::json).collect(),
            Data::Map(entries) => {
                let one = |entry: &Entry| (entry.name.clone(), entry.value.json());
                Value::Object(entries.iter().map(one).collect::<Map<_, _>>())
            }
        }
    }

    /// A variable's value: texts as they are, tables and lists as JSON; `None` for nothing.
    pub(crate) fn variable(&self) -> Option<String> {
        match &self.data {
            Data::Null => None,
            Data::Text(text) => Some(text.clone()),
            Data::Number(number) => Some(plain(number)),
            Data::Bool(_) | Data::List(_) | Data::Map(_) => Some(self.json().to_string()),
        }
    }
}

/// As JavaScript writes it: `1.0` is `1`.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() < 1e15 => {
            format!("{value:.0}")
        }
        Some(_) | None => number.to_string(),
    }
}

/// A file that is not of its format, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) what: String,
}

impl Syntax {
    pub(crate) fn at(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let column = u32::try_from(column).ok();
        Self { line: Some(line_of(text, offset)), column, what: what.into() }
    }
}

/// The line of a byte, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).unwrap_or(text);
    let newlines = before.matches('\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}
