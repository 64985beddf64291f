//! What can be wrong with a configuration, as sentences.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::tree::Syntax;

/// A configuration that cannot be had or cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name of the file says nothing.
    #[error(
        "`{0}` is no configuration that is known by its name; there are .toml, .json, .yaml, .yml, .js, .cjs, \
         .mjs and Procfile"
    )]
    Format(PathBuf),
    /// It is not of its format.
    #[error("{file}{}: {what}", place(*line, *column))]
    Syntax {
        /// The file as it was named.
        file: String,
        /// From 1.
        line: Option<u32>,
        /// From 1.
        column: Option<u32>,
        /// What the parser says.
        what: String,
    },
    /// There is nobody to run JavaScript.
    #[error(
        "{0} is JavaScript, and neither node, bun nor deno is in PATH to run it: install one, or write the same \
         as tine.toml or JSON"
    )]
    NoRuntime(String),
    /// The program of the file failed.
    #[error("{file} could not be run by {runtime}:\n{printed}")]
    Script {
        /// The file as it was named.
        file: String,
        /// `node`, `bun` or `deno`.
        runtime: String,
        /// Its standard error.
        printed: String,
    },
    /// The program of the file does not come to its end.
    #[error("{file} was run by {runtime} for {seconds} seconds and gave no configuration")]
    Slow {
        /// The file as it was named.
        file: String,
        /// `node`, `bun` or `deno`.
        runtime: String,
        /// That was the time it had.
        seconds: u64,
    },
    /// Keys or values.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// Nothing in it.
    #[error("{0} has no apps")]
    Empty(String),
    /// None of the apps is called so.
    #[error("{file} has no app `{name}`; there are {known}{}", hint(meant.as_deref()))]
    Only {
        /// The file as it was named.
        file: String,
        /// What was asked for.
        name: String,
        /// What was likely meant.
        meant: Option<String>,
        /// All names.
        known: String,
    },
}

/// One thing that is wrong, or worth a word, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// From 1, where the format tells.
    pub line: Option<u32>,
    /// Whose.
    pub app: Option<String>,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: ", self.file, place(self.line, None))?;
        if let Some(app) = &self.app {
            write!(f, "app `{app}`: ")?;
        }
        f.write_str(&self.text)
    }
}

impl ConfigError {
    pub(crate) fn syntax(file: &str, syntax: Syntax) -> Self {
        let Syntax { line, column, what } = syntax;
        Self::Syntax { file: file.to_owned(), line, column, what }
    }
}

fn place(line: Option<u32>, column: Option<u32>) -> String {
    let number = |number: Option<u32>| number.map(|at| format!(":{at}")).unwrap_or_default();
    format!("{}{}", number(line), number(column))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub(crate) fn hint(meant: Option<&str>) -> String {
    meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}
