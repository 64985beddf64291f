//! `Procfile`: a name, a colon and a command line each.

use super::tree::{Data, Entry, Syntax, Tree};

/// A table of apps by their names.
pub(crate) fn parse(text: &str) -> Result<Tree, Syntax> {
    let mut apps = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = u32::try_from(number + 1).ok();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        apps.push(app(at, line).ok_or_else(|| Syntax {
            line: at,
            column: None,
            what: "expected a line such as `web: node server.js`".to_owned(),
        })?);
    }
    let table = Tree::new(None, Data::Map(apps));
    let entry = Entry { name: "app".to_owned(), line: None, value: table };
    Ok(Tree::new(None, Data::Map(vec![entry])))
}

fn app(at: Option<u32>, line: &str) -> Option<Entry> {
    let (name, command) = line.split_once(':')?;
    let (name, command) = (name.trim(), command.trim());
    let is_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
    if name.is_empty() || command.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let script = Tree::new(at, Data::Text(command.to_owned()));
    let entry = Entry { name: "script".to_owned(), line: at, value: script };
    let value = Tree::new(at, Data::Map(vec![entry]));
    Some(Entry { name: name.to_owned(), line: at, value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_is_an_app() {
        let tree = parse("# apps\nweb: node server.js -p $PORT\n\nworker:./work:er\n").unwrap();
        let wanted = json!({"app": {"web": {"script": "node server.js -p $PORT"}, "worker": {"script": "./work:er"}}});
        assert_eq!(tree.json(), wanted);
        assert_eq!(tree.get("app").unwrap().entries()[1].line, Some(4));
    }

    #[test]
    fn a_line_without_a_command_is_named() {
        for text in ["web: a\nnode server.js", "web: a\nworker:", "web: a\na b: c"] {
            assert_eq!(parse(text).unwrap_err().line, Some(2), "{text}");
        }
    }
}
