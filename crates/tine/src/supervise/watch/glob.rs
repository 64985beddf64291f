//! Patterns of paths: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` for any number of names.

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    names: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `**`.
    Any,
    One(Vec<Letter>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Letter {
    Exactly(char),
    /// `?`.
    Any,
    /// `*`.
    Many,
    /// `[a-z]`; `[!a-z]` for all others.
    Of {
        ranges: Vec<(char, char)>,
        others: bool,
    },
}

impl Glob {
    /// All that a pattern means: several if there are braces. Every text is a pattern: a bracket that is
    /// not closed means itself.
    pub(super) fn read(pattern: &str) -> Vec<Self> {
        alternatives(pattern).iter().map(|pattern| Self { names: names(pattern) }).collect()
    }

    /// Whether these names, one below the other, are what the pattern means.
    pub(super) fn matches(&self, path: &[&str]) -> bool {
        below(&self.names, path)
    }
}

/// Takes the first pair of braces apart, then the next.
fn alternatives(pattern: &str) -> Vec<String> {
    let braces = pattern.find('{').and_then(|open| {
        let close = open + pattern[open..].find('}')?;
        Some((open, close))
    });
    let Some((open, close)) = braces else { return vec![pattern.to_owned()] };
    let (before, after) = (&pattern[..open], &pattern[close + 1..]);
    let choices = pattern[open + 1..close].split(',');
    choices.flat_map(|choice| alternatives(&format!("{before}{choice}{after}"))).collect()
}

fn names(pattern: &str) -> Vec<Name> {
    let names = pattern.split('/').filter(|name| !name.is_empty() && *name != ".");
    let read = |name: &str| if name == "**" { Name::Any } else { Name::One(letters(name)) };
    names.map(read).collect()
}

fn letters(name: &str) -> Vec<Letter> {
    let chars: Vec<char> = name.chars().collect();
    let mut letters = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        at += 1;
        match c {
            '*' => letters.push(Letter::Many),
            '?' => letters.push(Letter::Any),
            '[' => match class(&chars[at..]) {
                Some((class, length)) => {
                    letters.push(class);
                    at += length;
                }
                None => letters.push(Letter::Exactly('[')),
            },
            c => letters.push(Letter::Exactly(*c)),
        }
    }
    letters
}

/// What is between brackets, and how long that is with the one that closes.
fn class(rest: &[char]) -> Option<(Letter, usize)> {
    // One in the first place means itself.
    let close = 1 + rest.iter().skip(1).position(|c| *c == ']')?;
    let inner = &rest[..close];
    let others = matches!(inner.first(), Some('!' | '^'));
    let inner = if others { &inner[1..] } else { inner };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        if let [from, '-', to, ..] = inner[at..] {
            ranges.push((from, to));
            at += 3;
        } else {
            ranges.push((inner[at], inner[at]));
            at += 1;
        }
    }
    Some((Letter::Of { ranges, others }, close + 1))
}

fn below(pattern: &[Name], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([Name::Any, rest @ ..], path) => (0..=path.len()).any(|skip| below(rest, &path[skip..])),
        ([Name::One(letters), rest @ ..], [name, path @ ..]) => {
            let name: Vec<char> = name.chars().collect();
            within(letters, &name) && below(rest, path)
        }
        ([], [_, ..]) | ([Name::One(_), ..], []) => false,
    }
}

fn within(pattern: &[Letter], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([Letter::Many, rest @ ..], name) => {
            (0..=name.len()).any(|skip| within(rest, &name[skip..]))
        }
        ([letter, rest @ ..], [c, name @ ..]) => letter.is(*c) && within(rest, name),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

impl Letter {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Exactly(letter) => *letter == c,
            Self::Any | Self::Many => true,
            Self::Of { ranges, others } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *others
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        Glob::read(pattern).iter().any(|glob| glob.matches(&names))
    }

    #[test]
    fn what_is_meant_is_found_and_nothing_else() {
        for (pattern, path) in [
            ("*.log", "a.log"),
            ("**/*.log", "a/b/c.log"),
            ("**/*.log", "c.log"),
            ("src/**", "src"),
            ("src/**/x", "src/a/b/x"),
            ("a?c", "abc"),
            ("[a-cx]*", "banana"),
            ("[!a-c]*", "zebra"),
            ("*.{js,ts}", "a.ts"),
            ("{a,b}/{c,d}", "b/c"),
            ("./a//b", "a/b"),
            ("[abc", "[abc"),
            ("**/.*", "a/.git"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.log", "a/b.log"),
            ("*.log", "a.logs"),
            ("a?c", "ac"),
            ("[a-c]*", "zebra"),
            ("*.{js,ts}", "a.rs"),
            ("src", "src/a"),
            ("**/.*", "a/b"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
