//! YAML, with the lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, Spanned};

use super::tree::{Data, Entry, Syntax, Tree};

/// Reads a whole file of one document.
pub(crate) fn parse(text: &str) -> Result<Tree, Syntax> {
    let value: Result<Spanned<Inner>, _> = serde_saphyr::from_str_with_options(text, options());
    value.map(tree).map_err(|error| {
        let place = error.location();
        let number = |of: fn(&Location) -> u64| {
            place.as_ref().and_then(|place| u32::try_from(of(place)).ok()).filter(|at| *at > 0)
        };
        let whole = error.without_snippet().to_string();
        let what = whole.lines().next().unwrap_or_default().to_owned();
        Syntax { line: number(Location::line), column: number(Location::column), what }
    })
}

/// `yes` and `on` are texts, as YAML 1.2 and pm2's parser have it.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

fn tree(spanned: Spanned<Inner>) -> Tree {
    let line = u32::try_from(spanned.referenced.line()).ok().filter(|line| *line > 0);
    Tree::new(line, spanned.value.0)
}

struct Inner(Data);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Inner;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Inner, E> {
        Ok(Inner(Data::Null))
    }

    fn visit_none<E>(self) -> Result<Inner, E> {
        Ok(Inner(Data::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Inner, E> {
        Ok(Inner(Data::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Inner, E> {
        Ok(Inner(Data::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Inner, E> {
        Ok(Inner(Data::Number(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Inner, E> {
        let number = Number::from_f64(value);
        number
            .map(|number| Inner(Data::Number(number)))
            .ok_or_else(|| E::custom("no finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Inner, E> {
        Ok(Inner(Data::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inner, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Inner>>()? {
            list.push(tree(item));
        }
        Ok(Inner(Data::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Inner, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = entries.next_key::<Spanned<String>>()? {
            let line = u32::try_from(name.referenced.line()).ok().filter(|line| *line > 0);
            let value = tree(entries.next_value()?);
            list.push(Entry { name: name.value, line, value });
        }
        Ok(Inner(Data::Map(list)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_keeps_its_order_and_its_lines() {
        let text = "apps:\n  - script: a.js\n    name: 'b'\n    instances: 2\n    watch: no\n    x: ~\n    e: {A: 1.5}\n";
        let tree = parse(text).unwrap();
        let wanted = json!({"apps": [{"script": "a.js", "name": "b", "instances": 2,
            "watch": "no", "x": null, "e": {"A": 1.5}}]});
        let apps = tree.get("apps").unwrap();
        let Data::List(items) = &apps.data else { panic!("{apps:?}") };
        let lines: Vec<_> = items[0].entries().iter().map(|entry| entry.line.unwrap()).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
        assert_eq!(tree.json(), wanted);
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text = "base: &b {instances: 2}\napps:\n  - <<: *b\n    script: a.js\n";
        let apps = parse(text).unwrap().get("apps").unwrap().json();
        assert_eq!(apps, json!([{"instances": 2, "script": "a.js"}]));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        let error = parse("a: 1\nb: [1\nc: 2").unwrap_err();
        assert!(error.line.is_some(), "{error:?}");
        assert!(!error.what.contains('\n'), "{error:?}");
    }
}
