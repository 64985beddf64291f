//! A line to words, as a shell splits it, without anything that a shell would put in place of them.

/// Splits at blanks; quotes and `\` keep them. An end without its quote is taken as it is.
#[must_use]
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => {
                let next = chars.next();
                // Within double quotes it stands for itself before anything that it does not quote.
                if quote.is_some() && !matches!(next, Some('"' | '\\' | '$' | '`')) {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().extend(next);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_blanks() {
        let line = r#"  -a 'b c' "d \"e\" \n" f\ g --x="1 2" '' it''s"#;
        let words = ["-a", "b c", "d \"e\" \\n", "f g", "--x=1 2", "", "its"];
        assert_eq!(split(line), words);
        assert_eq!(split(" "), [""; 0]);
        assert_eq!(split("'open end"), ["open end"]);
    }
}
