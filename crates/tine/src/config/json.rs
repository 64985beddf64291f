//! JSON as people write it: comments, trailing commas, keys without quotes, single quotes.
//!
//! What pm2 calls JSON is JavaScript. This is as much of it as has no need of a JavaScript engine, and
//! every value keeps its line, for the messages.

use serde_json::Number;

use super::tree::{Data, Entry, Syntax, Tree, line_of};

/// Deeper than anybody writes, and far less than the stack holds.
const DEEPEST: usize = 100;

/// Reads the whole text as one value.
pub(crate) fn parse(text: &str) -> Result<Tree, Syntax> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    if text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    let value = parser.value()?;
    parser.blank()?;
    match parser.peek() {
        None => Ok(value),
        Some(more) => Err(parser.error(format!("expected the end, found `{more}`"))),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The next byte; always between two characters.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn error(&self, what: impl Into<String>) -> Syntax {
        Syntax::at(self.text, self.at, what)
    }

    fn expected(&self, what: &str) -> Syntax {
        let found = self.peek().map_or("the end".to_owned(), |c| format!("`{c}`"));
        self.error(format!("expected {what}, found {found}"))
    }

    /// Skips blanks and comments.
    fn blank(&mut self) -> Result<(), Syntax> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                let end = trimmed.find("*/");
                end.ok_or_else(|| self.error("this comment has no end"))? + 2
            } else {
                return Ok(());
            };
            self.at += comment;
        }
    }

    fn value(&mut self) -> Result<Tree, Syntax> {
        self.blank()?;
        let line = Some(line_of(self.text, self.at));
        let data = match self.peek() {
            Some('{') => self.nested(Self::map)?,
            Some('[') => self.nested(Self::list)?,
            Some('"' | '\'') => Data::Text(self.quoted()?),
            Some(c) if c.is_ascii_digit() || "+-.".contains(c) => self.number()?,
            Some(_) | None => self.word()?,
        };
        Ok(Tree::new(line, data))
    }

    fn nested(&mut self, of: fn(&mut Self) -> Result<Data, Syntax>) -> Result<Data, Syntax> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(format!("nested more than {DEEPEST} times")));
        }
        self.take();
        let data = of(self)?;
        self.depth -= 1;
        Ok(data)
    }

    fn list(&mut self) -> Result<Data, Syntax> {
        let mut items = Vec::new();
        while !self.closes(']')? {
            items.push(self.value()?);
            self.comma(']')?;
        }
        Ok(Data::List(items))
    }

    fn map(&mut self) -> Result<Data, Syntax> {
        let mut entries: Vec<Entry> = Vec::new();
        while !self.closes('}')? {
            let line = Some(line_of(self.text, self.at));
            let name = self.key()?;
            self.blank()?;
            if self.peek() != Some(':') {
                return Err(self.expected("`:` after a key"));
            }
            self.take();
            let value = self.value()?;
            // As in JavaScript, the last one counts.
            entries.retain(|entry| entry.name != name);
            entries.push(Entry { name, line, value });
            self.comma('}')?;
        }
        Ok(Data::Map(entries))
    }

    fn closes(&mut self, end: char) -> Result<bool, Syntax> {
        self.blank()?;
        let closes = self.peek() == Some(end);
        if closes {
            self.take();
        }
        Ok(closes)
    }

    fn comma(&mut self, end: char) -> Result<(), Syntax> {
        self.blank()?;
        match self.peek() {
            Some(',') => {
                self.take();
                Ok(())
            }
            Some(c) if c == end => Ok(()),
            Some(_) | None => Err(self.expected(&format!("`,` or `{end}`"))),
        }
    }

    fn key(&mut self) -> Result<String, Syntax> {
        if let Some('"' | '\'') = self.peek() {
            return self.quoted();
        }
        let name = self.letters();
        if name.is_empty() { Err(self.expected("a key")) } else { Ok(name) }
    }

    fn letters(&mut self) -> String {
        let is_letter = |c: char| c.is_alphanumeric() || "_$-".contains(c);
        let rest = self.rest();
        let word = rest[..rest.find(|c| !is_letter(c)).unwrap_or(rest.len())].to_owned();
        self.at += word.len();
        word
    }

    fn word(&mut self) -> Result<Data, Syntax> {
        let start = self.at;
        let word = self.letters();
        let data = match word.as_str() {
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            "null" | "undefined" => Data::Null,
            "" => return Err(self.expected("a value")),
            _ => {
                self.at = start;
                return Err(self.error(format!("`{word}` is no value; texts need quotes")));
            }
        };
        Ok(data)
    }

    fn number(&mut self) -> Result<Data, Syntax> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let number = number(&word.replace('_', ""))
            .ok_or_else(|| self.error(format!("`{word}` is no number; texts need quotes")))?;
        self.at += word.len();
        Ok(Data::Number(number))
    }

    fn quoted(&mut self) -> Result<String, Syntax> {
        let start = self.at;
        let quote = self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                Some('\\') => self.escape(&mut text)?,
                end if end == quote => return Ok(text),
                Some(c) if c != '\n' => text.push(c),
                Some(_) | None => {
                    self.at = start;
                    return Err(self.error("this text has no closing quote on its line"));
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Syntax> {
        let escaped = match self.take() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('v') => '\u{b}',
            Some('0') => '\0',
            // A line that goes on.
            Some('\n') => return Ok(()),
            Some('x') => self.unit(2).and_then(char::from_u32).ok_or_else(|| self.bad())?,
            Some('u') => self.unicode().ok_or_else(|| self.bad())?,
            Some(other) => other,
            None => return Err(self.bad()),
        };
        text.push(escaped);
        Ok(())
    }

    fn bad(&self) -> Syntax {
        self.error("`\\` is followed by no character that it could mean")
    }

    /// So many hexadecimal digits.
    fn unit(&mut self, digits: usize) -> Option<u32> {
        let value = u32::from_str_radix(self.rest().get(..digits)?, 16).ok()?;
        self.at += digits;
        Some(value)
    }

    fn unicode(&mut self) -> Option<char> {
        if self.peek() == Some('{') {
            self.take();
            let value = self.unit(self.rest().find('}')?)?;
            self.take();
            return char::from_u32(value);
        }
        let first = self.unit(4)?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        // The second half of a character outside of the first 65 536.
        self.at += self.rest().starts_with("\\u").then_some(2)?;
        let second = self.unit(4)?.checked_sub(0xdc00)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }
}

fn number(word: &str) -> Option<Number> {
    let word = word.strip_prefix('+').unwrap_or(word);
    if let Ok(whole) = word.parse::<i64>() {
        return Some(whole.into());
    }
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
        if let Some(digits) = word.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok().map(Number::from);
        }
    }
    let starts = |c: char| c.is_ascii_digit() || c == '.';
    let digits = word.strip_prefix('-').unwrap_or(word);
    digits.starts_with(starts).then(|| word.parse().ok().and_then(Number::from_f64)).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_its_relaxed_form_say_the_same() {
        let relaxed = "\u{feff}// apps\n{ apps : [ { 'name': \"a\", /* more */ instances: +2, n: -.5, },], \
                       on: true, no: null, x: 0x10, m: 1_000, 'it\\'s': '\\u0041\\x42\\ud83d\\ude00\\u{43}' }";
        let wanted = json!({"apps": [{"name": "a", "instances": 2, "n": -0.5}], "on": true,
            "no": null, "x": 16, "m": 1000, "it's": "AB\u{1f600}C"});
        assert_eq!(parse(relaxed).unwrap().json(), wanted);
        assert_eq!(parse(&wanted.to_string()).unwrap().json(), wanted);
    }

    #[test]
    fn values_know_their_lines_and_the_last_of_two_keys_counts() {
        let tree = parse("{\n  a: 1,\n  b: [\n 2]\n, a: 3}").unwrap();
        let entries = tree.entries();
        assert_eq!((entries[0].name.as_str(), entries[0].line), ("b", Some(3)));
        assert_eq!((entries[1].line, entries[1].value.json()), (Some(5), json!(3)));
        assert_eq!(tree.get("a").unwrap().line, Some(5));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let shown = |text: &str| {
            let Syntax { line, column, what } = parse(text).unwrap_err();
            format!("{}:{} {what}", line.unwrap(), column.unwrap())
        };
        assert_eq!(shown("{\n a: process.env }"), "2:5 `process` is no value; texts need quotes");
        assert_eq!(shown("{ a 1 }"), "1:5 expected `:` after a key, found `1`");
        assert_eq!(shown("[1 2]"), "1:4 expected `,` or `]`, found `2`");
        assert_eq!(shown("{"), "1:2 expected a key, found the end");
        assert_eq!(shown("'a\n'"), "1:1 this text has no closing quote on its line");
        assert_eq!(shown("[12px]"), "1:2 `12px` is no number; texts need quotes");
        assert_eq!(shown("{} {}"), "1:4 expected the end, found `{`");
        assert_eq!(shown("/* a"), "1:1 this comment has no end");
        assert_eq!(shown("'\\ud800'"), "1:8 `\\` is followed by no character that it could mean");
        assert_eq!(shown(&"[".repeat(200)), "1:101 nested more than 100 times");
        assert_eq!(shown(""), "1:1 expected a value, found the end");
    }
}
