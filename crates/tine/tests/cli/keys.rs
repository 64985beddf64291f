//! Every key of a configuration file, with the real program: what is looked at is its effect, in the worker as
//! the kernel has it, in files, or in what the manager does.

mod complete;
mod ends;
mod environment;
mod guarded;
mod output;
mod program;
mod served;
mod sharing;
mod starts;

use serde_json::{Value, json};
use tine::config::keys;

use super::shell::{Shell, wait_until};

/// A key of a file, tried in every spelling that it has: an app for each.
struct Case {
    key: &'static str,
    value: Value,
    /// The other keys of the app. A worker is `sleep 1000` where they do not say otherwise.
    beside: Value,
    /// What there is to be seen of the app.
    seen: fn(&App<'_>) -> String,
    wanted: &'static str,
}

/// In the order of its fields.
fn case(
    key: &'static str,
    value: Value,
    beside: Value,
    seen: fn(&App<'_>) -> String,
    wanted: &'static str,
) -> Case {
    Case { key, value, beside, seen, wanted }
}

/// An app that runs.
struct App<'s> {
    shell: &'s Shell,
    /// As `jlist` has its workers.
    workers: Vec<Value>,
}

impl App<'_> {
    /// A file of the first worker's process.
    fn proc(&self, file: &str) -> String {
        let pid = &self.workers[0]["pid"];
        let text = std::fs::read(format!("/proc/{pid}/{file}")).expect("the worker runs");
        String::from_utf8_lossy(&text).replace('\0', " ")
    }

    /// A line of it that begins so, with one blank between its words.
    fn line(&self, file: &str, begin: &str) -> String {
        let text = self.proc(file);
        let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or(begin);
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A variable of each worker.
    fn variable(&self, name: &str) -> String {
        let of = |worker: &Value| {
            let text = std::fs::read(format!("/proc/{}/environ", worker["pid"])).ok()?;
            let text = String::from_utf8(text).ok()?;
            let mut all = text.split('\0').filter_map(|pair| pair.split_once('='));
            Some(all.find(|(known, _)| *known == name)?.1.to_owned())
        };
        let each = self.workers.iter().map(|it| of(it).unwrap_or_else(|| "-".to_owned()));
        each.collect::<Vec<_>>().join(" ")
    }
}

/// `max_restarts` as `maxRestarts`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part[..1].to_uppercase() + &part[1..]).collect::<String>()
}

/// All names of a key, each in both spellings.
fn spellings(key: &str) -> Vec<String> {
    let table = keys::all().find(|one| one.name == key).expect("a key of the table");
    let names = table.aliases.iter().chain([&table.name]);
    let mut all: Vec<String> = names.flat_map(|it| [(*it).to_owned(), camel(it)]).collect();
    all.sort();
    all.dedup();
    all
}

/// Starts an app for each spelling of each case, from one file; then looks at each.
fn try_all(shell: &Shell, cases: &[Case]) {
    let mut apps = Vec::new();
    let mut tried = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for spelling in spellings(case.key) {
            let mut app = json!({"name": format!("{spelling}-{number}")});
            if case.key != "script" && case.beside.get("script").is_none() {
                app["script"] = "sleep".into();
                app["args"] = "1000".into();
            }
            lay(&mut app, &case.beside);
            app[&spelling] = case.value.clone();
            tried.push((app["name"].clone(), case));
            apps.push(app);
        }
    }
    start(shell, &json!({"apps": apps}));
    let list = shell.jlist();
    for (name, case) in tried {
        let workers = list.iter().filter(|worker| worker["name"] == name).cloned().collect();
        let app = App { shell, workers };
        let seen = || (case.seen)(&app);
        assert!(
            wait_until(|| seen().contains(case.wanted)),
            "{name} is {}: {}",
            case.value,
            seen()
        );
    }
}

fn lay(app: &mut Value, over: &Value) {
    for (name, value) in over.as_object().into_iter().flatten() {
        app[name] = value.clone();
    }
}

/// Writes a file and starts what it says.
fn start(shell: &Shell, file: &Value) {
    shell.write("keys.json", &file.to_string());
    shell.ok("start keys.json --silent");
}

/// The same, where something of it is to fail; what is said.
fn start_fails(shell: &Shell, file: &Value) -> String {
    shell.write("keys.json", &file.to_string());
    shell.fails("start keys.json --silent")
}

/// `tine ls --json` of one app.
fn listed(shell: &Shell, app: &str) -> Value {
    let all: Value = serde_json::from_str(&shell.ok("ls --json")).expect("it is JSON");
    let mut all = all.as_array().expect("a list").iter();
    all.find(|it| it["name"] == app).cloned().unwrap_or_default()
}

/// Waits until a worker of an app was started anew for this reason.
fn restarted(shell: &Shell, app: &str, reason: &str) {
    let count = || listed(shell, app)["workers"][0]["restarts_by_reason"][reason].clone();
    assert!(wait_until(|| count().as_u64() > Some(0)), "{app}: {reason}: {}", count());
}

/// Waits until `tine describe` has these words, in one line or several.
fn described(shell: &Shell, app: &str, words: &str) {
    let told = || {
        let told = shell.ok(&format!("describe {app}"));
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(wait_until(|| told().contains(words)), "{words}: {}", told());
}
