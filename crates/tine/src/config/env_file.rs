//! `.env` files: `NAME=value` lines.

use std::{fs, io, path::Path, path::PathBuf};

use thiserror::Error;

use crate::spec::Env;

/// A file of variables that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvFileError {
    /// The file.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line is no assignment.
    #[error("{path}:{line}: {what}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads a file of variables.
///
/// Blank lines and those that begin with `#` are skipped, `export ` before a name is too. A value within
/// single quotes is taken as it is; within double quotes `\n`, `\t`, `\r`, `\"`, `\\` and `\$` are read, and it
/// may go on over several lines; without quotes it ends at ` #`. Nothing is put in for `$NAME`.
///
/// # Errors
///
/// With the file and the line.
pub fn env_file(path: &Path) -> Result<Env, EnvFileError> {
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| EnvFileError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|(line, what)| EnvFileError::Line { path: path.to_owned(), line, what })
}

/// What is wrong, and on which line.
type Wrong = (usize, &'static str);

fn parse(text: &str) -> Result<Env, Wrong> {
    let mut env = Env::new();
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let assignment = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = assignment.split_once('=').ok_or((at + 1, "expected NAME=value"))?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err((at + 1, "expected a name without blanks before `=`"));
        }
        let value = read_value(value.trim_start(), &mut lines).map_err(|what| (at + 1, what))?;
        env.insert(name.to_owned(), value);
    }
    Ok(env)
}

type Lines<'a> = std::iter::Enumerate<std::str::Lines<'a>>;

fn read_value(start: &str, more: &mut Lines<'_>) -> Result<String, &'static str> {
    let quote = start.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let Some(quote) = quote else {
        let end = if start.starts_with('#') { Some(0) } else { start.find(" #") };
        return Ok(start[..end.unwrap_or(start.len())].trim_end().to_owned());
    };
    let mut text = start[1..].to_owned();
    loop {
        if let Some(value) = closed(&text, quote) {
            return value;
        }
        let (_, line) = more.next().ok_or("this value has no closing quote")?;
        text.push('\n');
        text.push_str(line);
    }
}

/// The text up to the closing quote; `None` if there is none yet.
fn closed(text: &str, quote: char) -> Option<Result<String, &'static str>> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let rest = chars.as_str().trim_start();
                let clean = rest.is_empty() || rest.starts_with('#');
                return Some(clean.then_some(value).ok_or("something follows the closing quote"));
            }
            '\\' if quote == '"' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_and_without_quotes() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words # why\nC='a # $B \\n'\nD=\"x\\ny\\\"z \\$A \\d\"\n\
                    E=\nF=a#b\nG=\"one\ntwo\" # end\nH=`it's`\nURL=postgres://u:p=q@h/db?x=1\nI=#none\r\n";
        let env = parse(text).unwrap();
        let wanted = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # $B \\n"),
            ("D", "x\ny\"z $A \\d"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "one\ntwo"),
            ("H", "it's"),
            ("I", ""),
            ("URL", "postgres://u:p=q@h/db?x=1"),
        ];
        assert_eq!(env, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_line_that_is_no_assignment_is_named() {
        assert_eq!(parse("A=1\nB"), Err((2, "expected NAME=value")));
        assert_eq!(parse("A B=1"), Err((1, "expected a name without blanks before `=`")));
        assert_eq!(parse("\nA='x\ny"), Err((2, "this value has no closing quote")));
        assert_eq!(parse("A='x' y"), Err((1, "something follows the closing quote")));
        let error = env_file(Path::new("/no/such/.env")).unwrap_err();
        assert_eq!(error.to_string(), "read /no/such/.env");
    }
}
