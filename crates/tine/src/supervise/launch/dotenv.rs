//! Files of `NAME=value` lines.
//!
//! As `.env` files are written for most tools: `export` before a name, comments, values within `'…'`,
//! `"…"` or `` `…` ``, which may go over several lines. Within double quotes `\n`, `\r`, `\t`, `\"` and
//! `\\` mean what they say. Nothing is put in for `$NAME`: what such a file says does not depend on
//! where it is read.

use thiserror::Error;

/// A line that is none of this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads a whole file: its variables in their order.
///
/// # Errors
///
/// With the first line that cannot be understood.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1 };
    let mut found = Vec::new();
    while let Some(variable) = reader.variable()? {
        found.push(variable);
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn variable(&mut self) -> Result<Option<(String, String)>, Malformed> {
        self.skip_empty_lines();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.name()?;
        self.skip_blanks();
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => self.quoted(quote)?,
            Some(_) | None => self.bare(),
        };
        Ok(Some((name, value)))
    }

    /// Blank lines, and lines that only comment.
    fn skip_empty_lines(&mut self) {
        loop {
            self.skip_blanks();
            match self.rest.chars().next() {
                Some('#') => drop(self.take_line()),
                Some('\n' | '\r') => self.advance(1),
                Some(_) | None => return,
            }
        }
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let end = self.rest.find(['=', '\n']).unwrap_or(self.rest.len());
        if !self.rest[end..].starts_with('=') {
            return Err(self.wrong("no `=` after the name"));
        }
        let name = self.rest[..end].trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(self.wrong("the name may have letters, digits, `_`, `.` and `-` only"));
        }
        let name = name.to_owned();
        self.advance(end + 1);
        Ok(name)
    }

    /// Up to the line's end, or to a comment after a blank.
    fn bare(&mut self) -> String {
        let line = self.take_line();
        let comment = line.find(" #").or_else(|| line.find("\t#"));
        let value = if line.starts_with('#') { "" } else { &line[..comment.unwrap_or(line.len())] };
        value.trim().to_owned()
    }

    fn quoted(&mut self, quote: char) -> Result<String, Malformed> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        let end = loop {
            match chars.next() {
                None => return Err(self.wrong("the quotation does not end")),
                Some((at, c)) if c == quote => break at + 1,
                Some((_, '\\')) if quote == '"' => match chars.next() {
                    Some((_, c)) => escape(c, &mut value),
                    None => return Err(self.wrong("the quotation does not end")),
                },
                Some((_, c)) => value.push(c),
            }
        };
        self.advance(end);
        let after = self.rest.lines().next().unwrap_or_default().trim();
        if !after.is_empty() && !after.starts_with('#') {
            return Err(self.wrong("something follows the quotation"));
        }
        self.take_line();
        Ok(value)
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.advance(blanks);
    }

    /// The rest of the line, which is behind us then.
    fn take_line(&mut self) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest[..end].trim_end_matches('\r').to_owned();
        self.advance(end);
        line
    }

    fn advance(&mut self, bytes: usize) {
        let (behind, rest) = self.rest.split_at(bytes);
        self.line += behind.matches('\n').count();
        self.rest = rest;
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { line: self.line, what }
    }
}

fn escape(c: char, value: &mut String) {
    match c {
        'n' => value.push('\n'),
        'r' => value.push('\r'),
        't' => value.push('\t'),
        '"' | '\\' | '$' => value.push(c),
        other => value.extend(['\\', other]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_usual_file_is_read_as_it_is_meant() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words # why\n  C=a#b\nD=\nE= # nothing\n\
                    URL=http://h/?a=1&b=2\r\nLAST=x";
        let expected = [
            pair("A", "1"),
            pair("B", "two words"),
            pair("C", "a#b"),
            pair("D", ""),
            pair("E", ""),
            pair("URL", "http://h/?a=1&b=2"),
            pair("LAST", "x"),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn quotations_keep_blanks_and_lines_and_only_double_ones_have_escapes() {
        let text = "A=\" x # y \" # comment\nB='$HOME\\n'\nC=\"a\\nb\\\"\\$\\q\"\nK=\"one\ntwo\"\nZ=`it's`\n";
        let expected = [
            pair("A", " x # y "),
            pair("B", "$HOME\\n"),
            pair("C", "a\nb\"$\\q"),
            pair("K", "one\ntwo"),
            pair("Z", "it's"),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_its_line() {
        for (text, line, what) in [
            ("A=1\nwhat is this\n", 2, "no `=`"),
            ("A=\"x\ny\"\n\n=3", 4, "the name"),
            ("A B=1", 1, "the name"),
            ("A=1\nB=\"open\nC=2", 2, "does not end"),
            ("A='x'y", 1, "follows"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.what.contains(what), "{error}");
        }
    }
}
