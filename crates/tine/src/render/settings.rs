//! What an app is configured to be, a line a thing.

use std::path::PathBuf;

use super::harmless;
use crate::{
    spec::{Action, AppSpec, Filter, HealthProbe, Instances, LogType, Millis},
    supervise::cron::Schedule,
    units::{spoken, spoken_bytes},
};

type Rows = Vec<(&'static str, String)>;

/// Keys in words with their values; those without a meaning for this app are left out.
#[must_use]
pub(super) fn settings(spec: &AppSpec) -> Rows {
    let mut rows = program(spec);
    rows.extend(environment(spec));
    rows.extend(sharing(spec));
    rows.extend(life(spec));
    rows.extend(rights(spec));
    rows.extend(output(spec));
    rows.retain(|(_, value)| !value.is_empty());
    rows.into_iter().map(|(key, value)| (key, harmless(&value))).collect()
}

fn program(spec: &AppSpec) -> Rows {
    let instances = match spec.instances {
        Instances::Count(count) => count.to_string(),
        Instances::AllBut(0) => "one for each CPU".into(),
        Instances::AllBut(less) => format!("one for each CPU but {less}"),
    };
    vec![
        ("script", spec.script.clone()),
        ("arguments", spec.args.join(" ")),
        ("interpreter", spec.interpreter.clone().unwrap_or_default()),
        ("its arguments", spec.interpreter_args.join(" ")),
        ("directory", spec.cwd.display().to_string()),
        ("instances", instances),
        ("from the file", path(spec.origin.as_ref())),
    ]
}

fn environment(spec: &AppSpec) -> Rows {
    let names: Vec<&str> = spec.env.keys().map(String::as_str).collect();
    let files: Vec<String> = spec.env_file.iter().map(|file| file.display().to_string()).collect();
    let filter = match &spec.filter_env {
        Filter::Nothing => String::new(),
        Filter::All => "nothing of the caller's".into(),
        Filter::Prefixes(prefixes) => format!("not {}*", prefixes.join("*, ")),
    };
    vec![
        ("environment", spec.env_name.clone().unwrap_or_default()),
        ("variables", names.join(" ")),
        ("variables from", files.join(" ")),
        ("inherited", filter),
        ("PORT", spec.port.map(|port| port.to_string()).unwrap_or_default()),
        ("counts up", spec.increment_var.clone().unwrap_or_default()),
    ]
}

fn sharing(spec: &AppSpec) -> Rows {
    let mechanism = spec.mechanism.map_or_else(String::new, |mechanism| format!(", {mechanism}"));
    let listen: Vec<String> = spec.listen.iter().map(ToString::to_string).collect();
    let private: Vec<String> = spec.private_ports.iter().map(ToString::to_string).collect();
    let health = spec.health.as_ref().map(|health| {
        let what = match &health.probe {
            HealthProbe::Http(url) => format!("GET {url}"),
            HealthProbe::Tcp(address) if address.is_empty() => "connect".into(),
            HealthProbe::Tcp(address) => format!("connect to {address}"),
            HealthProbe::Exec(command) => format!("run `{command}`"),
        };
        let (every, failures) = (time(health.interval), health.threshold);
        let grace = match health.grace {
            Millis(0) => String::new(),
            grace => format!(" from {} after the start", time(grace)),
        };
        format!("{what} every {every}{grace}; unwell after {failures} failures in a row")
    });
    vec![
        ("policy", format!("{}{mechanism}", spec.policy)),
        ("bound beforehand", listen.join(" ")),
        ("private ports", private.join(" ")),
        ("drain", format!("open connections have {} to finish", time(spec.drain_timeout))),
        ("health", health.unwrap_or_default()),
    ]
}

fn life(spec: &AppSpec) -> Rows {
    let ready = if spec.wait_ready { "when it says so" } else { "when it listens, or runs on" };
    let memory = spec.max_memory_restart.map(spoken_bytes);
    vec![
        ("ready", format!("{ready}, within {}", patience(spec))),
        ("restart", restart(spec)),
        ("stop", stop(spec)),
        ("memory", memory.map(|most| format!("replaced above {most}")).unwrap_or_default()),
        ("cron", cron(spec)),
        ("watch", watch(spec)),
        ("starts after", spec.after.join(" ")),
    ]
}

fn restart(spec: &AppSpec) -> String {
    if !spec.autorestart {
        return "never by itself".into();
    }
    let wait = spec.restart_delay.filter(|delay| delay.0 > 0).map_or_else(
        || format!("after {} and more", time(spec.exp_backoff_restart_delay)),
        |delay| format!("after {}", time(delay)),
    );
    let (most, early) = (spec.max_restarts, time(spec.min_uptime));
    let mut text = format!("{wait}; given up after {most} ends within {early} each");
    if !spec.stop_exit_codes.is_empty() {
        let codes: Vec<String> = spec.stop_exit_codes.iter().map(ToString::to_string).collect();
        text.extend(["; not after exit code ", &codes.join(" or ")]);
    }
    text
}

fn stop(spec: &AppSpec) -> String {
    let how = if spec.shutdown_with_message { "the message `shutdown`" } else { &spec.kill_signal };
    let whom = if spec.treekill { "" } else { " to its first process" };
    format!("{how}{whom}, SIGKILL after {}", time(spec.kill_timeout))
}

fn cron(spec: &AppSpec) -> String {
    let Some(pattern) = &spec.cron_restart else { return String::new() };
    // What the manager took can be read.
    let words = Schedule::parse(pattern, spec.cron_timezone.as_deref())
        .map_or_else(|error| error.to_string(), |schedule| schedule.in_words());
    format!("restarted {words} ({pattern})")
}

fn watch(spec: &AppSpec) -> String {
    let Some(watch) = &spec.watch else { return String::new() };
    let paths: Vec<String> = watch.paths.iter().map(|path| path.display().to_string()).collect();
    let action = match watch.action {
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
    };
    let ignored = watch.ignore.join(" ");
    format!("{action} when files change below {}, but for {ignored}", paths.join(" "))
}

fn rights(spec: &AppSpec) -> Rows {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let rlimits: Vec<String> = spec
        .rlimits
        .iter()
        .map(|(name, limit)| {
            format!("{name} {}", limit.soft.map_or("none".into(), |n| n.to_string()))
        })
        .collect();
    let limits = [
        spec.limits.memory.map(|bytes| format!("memory {}", spoken_bytes(bytes))),
        spec.limits.cpu.map(|percent| format!("CPU {percent} %")),
        spec.limits.pids.map(|count| format!("{count} processes")),
    ];
    vec![
        ("user", optional(&spec.user)),
        ("group", optional(&spec.group)),
        ("umask", spec.umask.map(|mask| format!("{mask:03o}")).unwrap_or_default()),
        ("nice", spec.nice.map(|nice| nice.to_string()).unwrap_or_default()),
        ("rlimits", rlimits.join(", ")),
        ("limits", limits.into_iter().flatten().collect::<Vec<_>>().join(", ")),
    ]
}

fn output(spec: &AppSpec) -> Rows {
    let logs = &spec.logs;
    if logs.disabled {
        return vec![("logs", "none".into())];
    }
    let kind = match logs.kind {
        LogType::Raw => String::new(),
        LogType::Json => "JSON".into(),
    };
    let format = logs.date_format.as_ref().map(|format| format!("with the time as {format}"));
    let parts: Vec<String> =
        [kind, format.unwrap_or_default()].into_iter().filter(|p| !p.is_empty()).collect();
    let size = logs.rotation.size;
    let rotation =
        (size > 0).then(|| format!("{} and {} older ones", spoken_bytes(size), logs.rotation.keep));
    vec![("lines", parts.join(", ")), ("logs kept", rotation.unwrap_or_default())]
}

fn path(path: Option<&PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn patience(spec: &AppSpec) -> String {
    let (start, reload) = (spec.start_patience(), spec.reload_patience());
    if start == reload {
        return spoken(start);
    }
    format!("{} at a start, {} at a reload", spoken(start), spoken(reload))
}

fn time(millis: Millis) -> String {
    spoken(millis.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Health, Watch};

    fn value(spec: &AppSpec, key: &str) -> Option<String> {
        settings(spec).into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    #[test]
    fn defaults_are_told_in_words() {
        let spec = AppSpec::default();
        let said = |key| value(&spec, key).unwrap_or_default();
        assert_eq!(said("stop"), "SIGINT, SIGKILL after 1.6 s");
        assert_eq!(
            said("restart"),
            "after 100 ms and more; given up after 16 ends within 1 s each"
        );
        assert_eq!(
            said("ready"),
            "when it listens, or runs on, within 3 s at a start, 30 s at a reload"
        );
        assert_eq!(said("logs kept"), "10 MiB and 10 older ones");
        for unused in ["cron", "watch", "memory", "user", "health", "limits"] {
            assert_eq!(value(&spec, unused), None, "{unused}");
        }
    }

    #[test]
    fn everything_that_was_set_is_told() {
        let spec = AppSpec {
            instances: Instances::AllBut(1),
            health: Some(Health::of(HealthProbe::Http("/ok".into()))),
            max_memory_restart: Some(300 << 20),
            cron_restart: Some("0 3 * * *".into()),
            cron_timezone: Some("UTC".into()),
            watch: Some(Watch { paths: vec!["/srv".into()], ..Watch::default() }),
            stop_exit_codes: vec![0, 2],
            umask: Some(0o27),
            ..AppSpec::default()
        };
        let said = |key| value(&spec, key).unwrap_or_default();
        assert_eq!(said("instances"), "one for each CPU but 1");
        assert_eq!(said("health"), "GET /ok every 5 s; unwell after 3 failures in a row");
        assert_eq!(said("memory"), "replaced above 300 MiB");
        assert_eq!(said("cron"), "restarted every day at 03:00 (UTC) (0 3 * * *)");
        assert!(said("watch").starts_with("restarted when files change below /srv"));
        assert!(said("restart").ends_with("; not after exit code 0 or 2"));
        assert_eq!(said("umask"), "027");
    }
}
