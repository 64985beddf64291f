//! TOML, with the lines.

use serde_json::Number;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::tree::{Data, Entry, Syntax, Tree, line_of};

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Result<Tree, Syntax> {
    let table = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
    let data = Data::Map(entries(text, table.get_ref())?);
    Ok(Tree::new(Some(1), data))
}

fn syntax(text: &str, error: &Error) -> Syntax {
    Syntax::at(text, error.span().map_or(0, |span| span.start), error.message())
}

/// In the order of the file: the parser's table is sorted by names.
fn entries(text: &str, table: &DeTable<'_>) -> Result<Vec<Entry>, Syntax> {
    let mut inner: Vec<_> = table.iter().collect();
    inner.sort_by_key(|(name, _)| name.span().start);
    let one = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let line = Some(line_of(text, name.span().start));
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        Ok(Entry { name: name.clone().into_owned(), line, value: tree(text, value)? })
    };
    inner.into_iter().map(one).collect()
}

fn tree(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Tree, Syntax> {
    let wrong = || Syntax::at(text, value.span().start, "this number is out of range");
    let data = match value.get_ref() {
        DeValue::String(string) => Data::Text(string.clone().into_owned()),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            Data::Number(number.map_err(|_| wrong())?.into())
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            Data::Number(number.ok_or_else(wrong)?)
        }
        DeValue::Boolean(value) => Data::Bool(*value),
        DeValue::Datetime(time) => Data::Text(time.to_string()),
        DeValue::Array(items) => {
            Data::List(items.iter().map(|item| tree(text, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Data::Map(entries(text, table)?),
    };
    Ok(Tree::new(Some(line_of(text, value.span().start)), data))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn toml_keeps_its_order_and_its_lines() {
        let tree =
            parse("[app.z]\nn = 0x10\n[app.a]\nf = 1.5\nd = 2026-01-01\nl = [true]").unwrap();
        let apps = tree.get("app").unwrap();
        let names: Vec<_> = apps.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
        let wanted = json!({"z": {"n": 16}, "a": {"f": 1.5, "d": "2026-01-01", "l": [true]}});
        assert_eq!(apps.json(), wanted);
        assert_eq!(apps.get("a").unwrap().get("f").unwrap().line, Some(4));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        let error = parse("a = 1\nb = = 2").unwrap_err();
        assert_eq!((error.line, error.column.is_some()), (Some(2), true));
        assert!(!error.what.is_empty());
        let error = parse("a = inf").unwrap_err();
        assert_eq!(error.what, "this number is out of range");
    }
}
