//! Where the output of workers goes, and in which form.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{App, Case, Shell, case, spellings, start, try_all, wait_until};

/// An app that says two things.
fn talker(name: &str, more: &Value) -> Value {
    let mut app = json!({"name": name, "script": "talk.sh"});
    super::lay(&mut app, more);
    app
}

fn shell() -> Shell {
    let shell = Shell::new();
    shell.write("talk.sh", "echo out $pm_id; echo err $pm_id >&2; exec sleep 1000\n");
    shell
}

/// What the files in the working directory hold whose names begin so, in the order of their names.
fn files(shell: &Shell, begin: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(shell.work()).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it is listed").path());
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ours = paths.filter(|path| name(path).starts_with(begin));
    let mut all: Vec<_> = ours
        .map(|path| {
            (
                name(&path),
                String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned(),
            )
        })
        .collect();
    all.sort();
    all
}

/// Of the worker's own number, which stands in the names of files and in their lines.
fn own(app: &App<'_>, begin: &str) -> String {
    let id = app.workers[0]["pm_id"].to_string();
    let mine = |(name, text): &(String, String)| {
        name.contains(&format!("-{id}.")).then(|| text.replace(&format!(" {id}"), ""))
    };
    files(app.shell, begin).iter().filter_map(mine).collect()
}

fn cases() -> Vec<Case> {
    let talk = || json!({"script": "talk.sh", "merge_logs": false});
    let both = |app: &App<'_>| {
        let lines = own(app, "both");
        (lines.contains("out\n") && lines.contains("err\n")).to_string()
    };
    vec![
        case("out_file", json!("o.log"), talk(), |app| own(app, "o-"), "out\n"),
        case("error_file", json!("e.log"), talk(), |app| own(app, "e-"), "err\n"),
        case("log_file", json!("both.log"), talk(), both, "true"),
    ]
}

#[test]
fn output_is_in_the_files_that_were_asked_for() {
    try_all(&shell(), &cases());
}

#[test]
fn a_log_for_both_is_beside_the_others_and_none_is_nowhere() {
    let shell = shell();
    start(
        &shell,
        &json!([
            talker("a", &json!({"log": true, "out": false, "err": "NULL"})),
            talker("b", &json!({"disable_logs": true})),
            talker("c", &json!({"disableLogs": true, "out_file": "c.log"})),
        ]),
    );
    let whole = || fs::read_to_string(shell.home().join("logs/a.log")).unwrap_or_default();
    assert!(wait_until(|| whole().contains("out 0\n") && whole().contains("err 0\n")));
    assert_eq!(shell.values("a", "/pm2_env/pm_out_log_path"), ["/dev/null"]);
    assert_eq!(shell.values("b", "/pm2_env/pm_out_log_path"), ["/dev/null"]);
    let names = fs::read_dir(shell.home().join("logs")).expect("it is there");
    let names: Vec<_> = names.map(|entry| entry.expect("it is listed").file_name()).collect();
    assert_eq!(names, ["a.log"]);
    assert!(files(&shell, "c.log").is_empty());
}

#[test]
fn instances_share_a_file_or_have_one_each() {
    let shell = shell();
    let mut apps = Vec::new();
    for (number, key) in spellings("merge_logs").iter().enumerate() {
        let one =
            json!({"out_file": format!("one{number}.log"), "instances": 2, (key.as_str()): true});
        apps.push(talker(&format!("one-{number}"), &one));
    }
    apps.push(talker(
        "each",
        &json!({"out_file": "each.log", "instances": 2, "merge_logs": false}),
    ));
    apps.push(talker("alone", &json!({"out_file": "alone.log"})));
    start(&shell, &json!(apps));
    for number in 0..spellings("merge_logs").len() {
        let lines = || files(&shell, &format!("one{number}.log"));
        let ids = [2 * number, 2 * number + 1];
        assert!(wait_until(|| {
            let all = lines();
            all.len() == 1 && ids.iter().all(|id| all[0].1.contains(&format!("out {id}\n")))
        }));
    }
    assert!(wait_until(|| files(&shell, "each")
        .iter()
        .filter(|(_, text)| text.lines().count() == 1)
        .count()
        == 2));
    assert!(wait_until(|| files(&shell, "alone.log").iter().any(|(_, text)| text.contains("out"))));
}

#[test]
fn lines_are_in_the_form_that_was_asked_for() {
    let shell = shell();
    let mut apps = Vec::new();
    let mut wanted = Vec::new();
    for (key, value, is_so) in [
        ("log_date_format", json!("[at] YYYY"), "dated"),
        ("time", json!(true), "timed"),
        ("log_type", json!("json"), "json"),
        ("log_type", json!("raw"), "raw"),
    ] {
        for spelling in spellings(key) {
            let name = format!("{is_so}-{spelling}");
            let file = format!("{name}.log");
            apps.push(talker(&name, &json!({"out_file": file, (spelling): value})));
            wanted.push((file, is_so));
        }
    }
    start(&shell, &json!(apps));
    for (file, form) in wanted {
        let text = || files(&shell, &file).pop().unwrap_or_default().1;
        assert!(wait_until(|| text().ends_with('\n')), "{file}: {}", text());
        assert!(is_of_form(form, &text()), "{file}: {}", text());
    }
}

fn is_of_form(form: &str, line: &str) -> bool {
    let (before, said) = line.split_at(line.find(": out ").unwrap_or_default());
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    match form {
        "dated" => before.starts_with("at 2") && before.len() == 7,
        "timed" => before.len() == "2026-11-22T22:11:05".len() && digits(before) == 14,
        "raw" => said.starts_with("out "),
        _ => {
            let line: Value = serde_json::from_str(line).expect("it is JSON");
            line["message"].as_str().is_some_and(|text| text.starts_with("out "))
        }
    }
}

/// Thirty lines of a hundred letters each, and then no more.
const WRITER: &str =
    "i=0; while [ $i -lt 30 ]; do printf '%0100d\\n' $i; i=$((i+1)); done; exec sleep 1000\n";

#[test]
fn files_are_set_aside_by_size_and_kept_as_long_as_was_said() {
    let shell = shell();
    shell.write("write.sh", WRITER);
    let plain = || json!({"size": "1K", "keep": 100, "compress": false, "total": 0});
    let app = |name: &str, key: &str, more: Value| {
        let mut rotation = plain();
        super::lay(&mut rotation, &more);
        json!({"name": name, "script": "write.sh", "out_file": format!("{name}.log"), (key): rotation})
    };
    let mut apps = vec![
        app("kept", "log_rotation", json!({"keep": 1})),
        app("whole", "log_rotation", json!({"size": "1M"})),
        app("packed", "log_rotation", json!({"compress": true})),
        app("bounded", "log_rotation", json!({"total": "2K"})),
        json!({"name": "off", "script": "write.sh", "out_file": "off.log", "log_rotation": false}),
    ];
    let names = spellings("log_rotation");
    apps.extend(names.iter().map(|key| app(&format!("each_{key}"), key, json!({}))));
    start(&shell, &json!(apps));
    let lines = |begin: &str| -> usize {
        files(&shell, begin).iter().map(|(_, text)| text.lines().count()).sum()
    };
    let count = |begin: &str| files(&shell, begin).len();
    // Ten lines and a bit are 1 KiB: so two are set aside, and one is written.
    for key in &names {
        let begin = format!("each_{key}.log");
        assert!(
            wait_until(|| lines(&begin) == 30 && count(&begin) == 3),
            "{key}: {}",
            count(&begin)
        );
    }
    for (begin, number) in [("kept", 2), ("whole", 1), ("off", 1)] {
        assert!(wait_until(|| count(begin) == number), "{begin}: {}", count(begin));
    }
    assert!(wait_until(|| lines("whole") == 30 && lines("off") == 30));
    let packed =
        || files(&shell, "packed").iter().filter(|(_, text)| text.starts_with('\u{1f}')).count();
    assert!(wait_until(|| packed() == 2), "{:?}", files(&shell, "packed"));
    assert!(wait_until(|| count("bounded") == 2), "{:?}", files(&shell, "bounded"));
}

#[test]
fn files_are_set_aside_by_age() {
    let shell = shell();
    shell.write("tick.sh", "while :; do echo tick; sleep 0.2; done\n");
    let rotation = json!({"size": 0, "age": "1s", "keep": 3, "compress": false});
    let file =
        json!({"name": "a", "script": "tick.sh", "out_file": "a.log", "log_rotation": rotation});
    start(&shell, &file);
    assert!(wait_until(|| files(&shell, "a.log").len() >= 3));
}
