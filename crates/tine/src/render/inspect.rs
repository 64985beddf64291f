//! JSON as Node's `util.inspect` writes it: what `prettylist` prints.

use serde_json::Value;

use super::pm2::Process;

/// Without a newline at the end. Objects have a line for each key; arrays are on one line unless they
/// hold objects.
#[must_use]
pub fn inspect(list: &[Process]) -> String {
    let mut text = String::new();
    for process in list {
        text.push_str(&newline(if text.is_empty() { "[" } else { "," }, 1));
        element(&mut text, process);
    }
    if text.is_empty() { "[]".to_owned() } else { text + "\n]" }
}

/// In pm2's order, in which `pm_id` is not the last.
fn element(text: &mut String, process: &Process) {
    let keys = [
        ("pid", process.pid.into()),
        ("name", process.name.as_str().into()),
        ("pm2_env", process.pm2_env.clone().into()),
        ("pm_id", process.pm_id.into()),
        ("monit", process.monit.clone()),
    ];
    object(text, keys.iter().map(|(key, value)| (*key, value)), 1);
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Array(items) => array(text, items, depth),
        Value::Object(keys) if keys.is_empty() => text.push_str("{}"),
        Value::Object(keys) => {
            object(text, keys.iter().map(|(key, value)| (key.as_str(), value)), depth);
        }
    }
}

fn array(text: &mut String, items: &[Value], depth: usize) {
    if items.is_empty() {
        text.push_str("[]");
        return;
    }
    let deep = items.iter().any(|item| item.is_object() || item.is_array());
    let (open, between, close) = if deep {
        (newline("[", depth + 1), newline(",", depth + 1), newline("", depth) + "]")
    } else {
        ("[ ".to_owned(), ", ".to_owned(), " ]".to_owned())
    };
    text.push_str(&open);
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.push_str(&between);
        }
        write(text, item, depth + 1);
    }
    text.push_str(&close);
}

fn object<'a>(text: &mut String, keys: impl Iterator<Item = (&'a str, &'a Value)>, depth: usize) {
    text.push('{');
    for (number, (key, value)) in keys.enumerate() {
        text.push_str(&newline(if number > 0 { "," } else { "" }, depth + 1));
        text.push_str(&if is_name(key) { key.to_owned() } else { quoted(key) });
        text.push_str(": ");
        write(text, value, depth + 1);
    }
    text.push_str(&newline("", depth));
    text.push('}');
}

fn newline(before: &str, depth: usize) -> String {
    format!("{before}\n{}", "  ".repeat(depth))
}

/// A key that JavaScript needs no quotes for.
fn is_name(key: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    !key.is_empty() && key.chars().all(letter) && !key.starts_with(|c: char| c.is_ascii_digit())
}

/// In single quotes, unless the text has one and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut all = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\n' => all.push_str("\\n"),
            '\r' => all.push_str("\\r"),
            '\t' => all.push_str("\\t"),
            '\\' => all.push_str("\\\\"),
            letter if letter == quote => all.extend(['\\', letter]),
            letter if letter.is_control() => {
                let code = format!("\\x{:02X}", u32::from(letter));
                all.push_str(&code);
            }
            letter => all.push(letter),
        }
    }
    all.push(quote);
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_has_a_line_and_arrays_have_one() {
        let env = json!({
            "a-b": null, "args": [], "axm": {}, "node_args": ["--harmony", "\"x\\\n"], "on": true,
            "pm_out_log_path": "/it's", "status": "online", "sub": [{"a": 1}],
        });
        let Value::Object(pm2_env) = env else { panic!("an object was written") };
        let process =
            Process { pid: 7, name: "api".into(), pm2_env, pm_id: 0, monit: json!({"cpu": 0.5}) };
        let expected = r#"[
  {
    pid: 7,
    name: 'api',
    pm2_env: {
      'a-b': null,
      args: [],
      axm: {},
      node_args: [ '--harmony', '"x\\\n' ],
      on: true,
      pm_out_log_path: "/it's",
      status: 'online',
      sub: [
        {
          a: 1
        }
      ]
    },
    pm_id: 0,
    monit: {
      cpu: 0.5
    }
  }
]"#;
        assert_eq!(inspect(&[process]), expected);
    }

    #[test]
    fn an_empty_list_is_two_brackets() {
        assert_eq!(inspect(&[]), "[]");
    }
}
