//! `tine describe`: everything about an app, in words.

use std::fmt::Write as _;

use serde_json::Value;
use tine_cluster::policy::Policy;

use super::{Screen, amount, harmless, list, ports, settings};
use crate::{
    api::{
        ListenerReport, PortsReport,
        apps::{AppDetails, AppEvent, AppView, WorkerView},
        reload::OldVersion,
    },
    units::spoken_bytes,
};

/// Where it is so.
const LEAVERS_ACCEPT: &str = "one-queue: a worker that is to leave goes on accepting until it is \
    told to stop; under load its last connections are cut";

/// Which versions an app is of.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// Of the nearest package.json.
    pub app: Option<String>,
    /// Of the Node that runs it.
    pub node: Option<String>,
}

/// One app after the other, each with its versions. `now` is in milliseconds since 1970.
#[must_use]
pub fn describe(apps: &[(AppView, Versions)], now: u64, screen: Screen) -> String {
    let each = apps.iter().map(|(app, versions)| one((app, versions), now, screen));
    each.collect::<Vec<_>>().join("\n")
}

fn one((app, versions): (&AppView, &Versions), now: u64, screen: Screen) -> String {
    let mut text = head(app, versions, screen);
    text += "\n";
    text += &workers(&app.workers, now, screen);
    for worker in &app.workers {
        text += &files(worker);
        text += &told(worker);
    }
    if let Some(full) = &app.full {
        text += &details(app, full, now, screen);
    }
    text
}

fn head(app: &AppView, versions: &Versions, screen: Screen) -> String {
    let mut rows = vec![("name", harmless(&app.name)), ("namespace", harmless(&app.namespace))];
    rows.extend(app.note.iter().map(|note| ("note", harmless(note))));
    let known = [("version", &versions.app), ("node", &versions.node)];
    rows.extend(known.into_iter().filter_map(|(key, text)| Some((key, harmless(text.as_ref()?)))));
    rows.extend(app.old_version.iter().map(|old| ("old version", pids(old))));
    rows.push(("mode", list::mode(app).to_owned()));
    rows.push(("ports", list::ports(app)));
    rows.extend((app.cut > 0).then(|| ("connections cut", cut(app))));
    if let Some(last) = app.full.as_ref().and_then(|full| full.verified.as_ref()) {
        let failed = last.failed.then(|| "the reload failed; until then:".to_owned());
        let mut name = "last verified";
        for line in failed.into_iter().chain(super::verified(last)) {
            rows.push((std::mem::take(&mut name), line));
        }
    }
    if let Some(spec) = &app.spec {
        rows.extend(settings::settings(spec));
        let policy = rows.iter_mut().find(|(key, _)| *key == "policy");
        if let Some((_, text)) = policy {
            *text += &other_policies(app, spec.policy);
        }
    }
    let mut text = screen.bold(&harmless(&app.name)) + "\n";
    for (key, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key:<19} {value}");
    }
    text
}

/// Where the app listens under another policy than it is to have: a path is shared, whatever was said.
fn other_policies(app: &AppView, policy: Policy) -> String {
    let listeners = app.full.iter().flat_map(|full| &full.listeners);
    let others = listeners.filter(|listener| listener.policy != policy);
    let told = others.map(|it| format!("; {} on {}", it.policy, harmless(&it.address)));
    told.collect::<Vec<_>>().concat()
}

fn pids(old: &OldVersion) -> String {
    let pids: Vec<String> = old.pids.iter().map(ToString::to_string).collect();
    format!("pid {}", pids.join(", "))
}

/// Those of workers that the app has no more are in the sum only.
fn cut(app: &AppView) -> String {
    let cut = app.workers.iter().filter(|worker| worker.cut > 0);
    let each: Vec<String> = cut.map(|it| format!("worker {}: {}", it.id, it.cut)).collect();
    let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
    format!("{}{each}", app.cut)
}

const WORKERS: [&str; 9] =
    ["ID", "INSTANCE", "PID", "STATUS", "UPTIME", "RESTARTS", "EXIT CODE", "CPU", "MEM"];

fn workers(workers: &[WorkerView], now: u64, screen: Screen) -> String {
    let mut table = screen.table(&WORKERS);
    for worker in workers {
        let uptime = worker.pid.and(worker.started_at).map(|since| amount::age(since, now));
        table.add_row([
            worker.id.to_string(),
            worker.instance.to_string(),
            or_dash(worker.pid),
            worker.status.word().to_owned(),
            or_dash(uptime),
            list::restarts(worker),
            or_dash(worker.exit_code),
            format!("{:.1}%", worker.cpu),
            spoken_bytes(worker.memory),
        ]);
    }
    screen.lines(&mut table)
}

fn files(worker: &WorkerView) -> String {
    let files = [
        ("out", &worker.out_log),
        ("error", &worker.err_log),
        ("both", &worker.combined_log),
        ("pid file", &worker.pid_file),
    ];
    let mut text = String::new();
    for (what, path) in files {
        if let Some(path) = path {
            let path = harmless(&path.display().to_string());
            let _ = writeln!(text, "{}: {what:<9} {path}", worker.id);
        }
    }
    text
}

/// What its program says of itself.
fn told(worker: &WorkerView) -> String {
    let Some(told) = &worker.told else { return String::new() };
    let mut text = String::new();
    let actions: Vec<&str> = told.action_names().collect();
    if !actions.is_empty() {
        let _ = writeln!(text, "{}: actions   {}", worker.id, harmless(&actions.join(", ")));
    }
    for (name, metric) in &told.metrics {
        let _ = writeln!(text, "{}: metric    {}", worker.id, harmless(&measured(name, metric)));
    }
    text
}

/// `HTTP: 12 req/min`.
fn measured(name: &str, metric: &Value) -> String {
    let word = |key: &str| match metric.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let value = word("value").unwrap_or_else(|| "-".to_owned());
    word("unit")
        .map_or_else(|| format!("{name}: {value}"), |unit| format!("{name}: {value} {unit}"))
}

fn details(app: &AppView, full: &AppDetails, now: u64, screen: Screen) -> String {
    let mut text = String::new();
    if !full.listeners.is_empty() {
        let report = PortsReport {
            manager_pid: 0,
            app: app.name.clone(),
            listeners: full.listeners.clone(),
        };
        text.extend(["\n", &ports::managed(&[report], screen)]);
        if full.listeners.iter().any(ListenerReport::leavers_accept) {
            text += &screen.paint("33", LEAVERS_ACCEPT);
            text += "\n";
        }
    }
    if !full.events.is_empty() {
        text.extend(["\n", &events(&full.events, now, screen)]);
    }
    for (id, lines) in &full.last_lines {
        text += &last_lines(*id, lines, screen);
    }
    text
}

fn events(events: &[AppEvent], now: u64, screen: Screen) -> String {
    let mut table = screen.table(&["AGO", "WORKER", "EVENT", "WHY"]);
    for event in events {
        let (what, text) = (harmless(&event.what), harmless(&event.text));
        table.add_row([amount::age(event.at, now), or_dash(event.id), what, text]);
    }
    screen.lines(&mut table)
}

/// Nothing for a worker that wrote nothing.
fn last_lines(id: u32, lines: &[String], screen: Screen) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", screen.bold(&format!("{id}: its last lines")));
    for line in lines {
        text.extend(["  ", &harmless(line), "\n"]);
    }
    text
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::api::verify::Verified;

    const PIPE: Screen = Screen { width: None, colour: false };

    fn view() -> AppView {
        let event = |at, id, what: &str, text: &str| AppEvent {
            at: sample::NOW - at,
            app: "api".into(),
            id,
            what: what.into(),
            text: text.into(),
        };
        let full = AppDetails {
            events: vec![
                event(90_000, None, "start", "asked for"),
                event(2000, Some(1), "given-up", "it ended 16 times within a second each"),
            ],
            listeners: Vec::new(),
            last_lines: [(1, vec!["Error: no database".to_owned()]), (0, Vec::new())].into(),
            verified: None,
        };
        AppView { full: Some(Box::new(full)), ..sample::app() }
    }

    fn versions() -> Versions {
        Versions { app: Some("1.2.3".to_owned()), node: None }
    }

    #[test]
    fn an_app_is_told_from_its_settings_to_its_last_lines() {
        let expected = "\
api
  name                api
  namespace           default
  version             1.2.3
  mode                cluster
  ports               8003 127.0.0.1:9000

ID  INSTANCE  PID   STATUS   UPTIME  RESTARTS       EXIT CODE  CPU   MEM
0   0         4711  online   1m      0              -          0.3%  35.4 MiB
1   1         -     errored  -       17 (16 crash)  1          0.0%  0 B
0: out       /root/.tine/logs/api-out.log
0: error     /dev/null
0: pid file  /root/.tine/pids/api-0.pid
1: out       /root/.tine/logs/api-out.log
1: error     /dev/null
1: pid file  /root/.tine/pids/api-1.pid

AGO  WORKER  EVENT     WHY
1m   -       start     asked for
2s   1       given-up  it ended 16 times within a second each

1: its last lines
  Error: no database
";
        assert_eq!(describe(&[(view(), versions())], sample::NOW, PIPE), expected);
    }

    #[test]
    fn the_settings_are_there_if_they_were_asked_for() {
        let app = AppView { spec: Some(Box::new(sample::spec())), ..view() };
        let text = describe(&[(app, versions())], sample::NOW, PIPE);
        for line in ["  script              server.js", "  arguments           --port 8003"] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_verified_reload_that_failed_is_told_as_that_beside_its_label() {
        let mut app = view();
        let last = Verified { address: "unix:/a".into(), failed: true, ..Verified::default() };
        app.full.as_mut().unwrap().verified = Some(Box::new(last));
        let text = describe(&[(app, versions())], sample::NOW, PIPE);
        let expected = "
  last verified       the reload failed; until then:
                      verified: connections to unix:/a: 0 sent, 0 lost
                      longest wait";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_a_worker_wrote_does_not_reach_the_terminal_as_it_is() {
        let mut app = view();
        if let Some(full) = &mut app.full {
            full.last_lines.insert(0, vec!["\x1b[2Jgone".into()]);
        }
        assert!(!describe(&[(app, versions())], sample::NOW, PIPE).contains('\x1b'));
    }
}
