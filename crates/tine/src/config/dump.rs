//! What pm2 saved: `~/.pm2/dump.pm2`, a list of what it holds of every process.
//!
//! There an app is as many processes, its environment has everything that it inherited, and what pm2 notes
//! for itself stands between its settings. The settings are read as those of any file.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Number;

use super::{
    ConfigError, Loaded,
    app::Context,
    json, keys,
    kind::{boolean, text},
    tree::{Data, Entry, Tree},
};
use crate::spec::Env;

/// Where pm2 keeps its list: below `PM2_HOME`, or `.pm2` in `HOME`.
#[must_use]
pub fn pm2_dump_file() -> PathBuf {
    let of = |name| env::var_os(name).map(PathBuf::from);
    let home = of("PM2_HOME").or_else(|| Some(of("HOME")?.join(".pm2")));
    home.unwrap_or_else(|| PathBuf::from(".pm2")).join("dump.pm2")
}

/// Reads pm2's list: an app for each name, with as many instances as it had processes.
///
/// Variables that this process has with the same value are left out: apps inherit them. So are those that
/// pm2 puts in for itself, and log files at pm2's own places. An app of which no process ran does not start
/// by itself.
///
/// # Errors
///
/// When the file cannot be read, is no list of pm2, or has values that are not of their types.
pub fn import_dump(path: &Path) -> Result<Loaded, ConfigError> {
    let shown = path.display().to_string();
    let wrong = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = fs::read(path).map_err(wrong)?;
    let tree = json::parse(&String::from_utf8_lossy(&text))
        .map_err(|error| ConfigError::syntax(&shown, error))?;
    let own: Env = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let home = path.parent().unwrap_or(Path::new("."));
    import(&shown, &tree, home, &own)
}

fn import(shown: &str, tree: &Tree, home: &Path, own: &Env) -> Result<Loaded, ConfigError> {
    let mut context = Context {
        file: shown,
        strict: false,
        base: Path::new("/"),
        beside: None,
        env_name: None,
        deploy_env: None,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut loaded = Loaded::default();
    for (name, processes) in apps(&mut context, tree) {
        let app = Process { home, own, name: &name, tree: processes[0] }.app(&processes);
        let Some(app) = context.app(&app, Some(&name)) else { continue };
        if processes.iter().all(|process| !runs(process)) {
            loaded.idle.insert(name.clone());
            let text = "did not run, and is not started".to_owned();
            context.warn(None, Some(&name), text);
        }
        loaded.apps.push(app.patch);
    }
    if !context.errors.is_empty() {
        return Err(ConfigError::Invalid(context.errors));
    }
    if loaded.apps.is_empty() {
        return Err(ConfigError::Empty(shown.to_owned()));
    }
    loaded.warnings = context.warnings.iter().map(ToString::to_string).collect();
    Ok(loaded)
}

/// The processes of each name, the lowest instance first; the names in the order of the list.
fn apps<'t>(context: &mut Context<'_>, tree: &'t Tree) -> Vec<(String, Vec<&'t Tree>)> {
    let Data::List(processes) = &tree.data else {
        context.fail(tree.line, None, format!("expected pm2's list, found {}", tree.kind()));
        return Vec::new();
    };
    let mut apps: Vec<(String, Vec<&Tree>)> = Vec::new();
    for process in processes {
        let Some(name) = process.get("name").and_then(text) else {
            context.fail(process.line, None, "expected a process of pm2 with its `name`".into());
            continue;
        };
        if process.get("pmx_module").and_then(boolean) == Some(true) {
            context.warn(None, Some(&name), "is a module of pm2: left out".into());
            continue;
        }
        match apps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => all.push(process),
            None => apps.push((name, vec![process])),
        }
    }
    for (_, processes) in &mut apps {
        processes.sort_by_key(|process| instance(process));
    }
    apps
}

fn instance(process: &Tree) -> u64 {
    let number = process.get("NODE_APP_INSTANCE").and_then(text);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn runs(process: &Tree) -> bool {
    !matches!(process.get("status").and_then(text).as_deref(), Some("stopped" | "errored"))
}

/// One process of the list, to be made an app of.
struct Process<'a> {
    /// pm2's directory.
    home: &'a Path,
    own: &'a Env,
    name: &'a str,
    tree: &'a Tree,
}

/// What the list calls otherwise than a file does.
const RENAMED: [(&str, &str); 4] = [
    ("pm_cwd", "cwd"),
    ("pm_out_log_path", "out_file"),
    ("pm_err_log_path", "error_file"),
    ("pm_log_path", "log_file"),
];

/// Settings of pm2 for itself that have the names of keys, and those that are written anew here.
const DROPPED: [&str; 11] = [
    "env",
    "name",
    "script",
    "args",
    "instances",
    "interpreter",
    "username",
    "pid_file",
    "io",
    "deep_monitoring",
    "command",
];

impl Process<'_> {
    fn app(&self, processes: &[&Tree]) -> Tree {
        let mut app: Vec<Entry> = self.settings();
        let text = |text: &str| Data::Text(text.to_owned());
        let (script, args) = self.command();
        app.push(entry("script", text(&script)));
        app.extend(args.map(|args| entry("args", args.data.clone())));
        if processes.len() > 1 || self.says("exec_mode").as_deref() == Some("cluster_mode") {
            app.push(entry("instances", Data::Number(Number::from(processes.len()))));
        }
        let interpreter = self.says("exec_interpreter").filter(|word| !is_usual(word, &script));
        app.extend(interpreter.map(|word| entry("interpreter", text(&word))));
        let env = self.env().into_iter().map(|(name, value)| entry(&name, Data::Text(value)));
        app.push(entry("env", Data::Map(env.collect())));
        Tree::new(None, Data::Map(app))
    }

    fn says(&self, key: &str) -> Option<String> {
        self.tree.get(key).and_then(text)
    }

    /// Everything that is a key of files too. The environment stands between them, and may have their names.
    fn settings(&self) -> Vec<Entry> {
        let variables: BTreeSet<&str> = self.variables().map(|entry| entry.name.as_str()).collect();
        let mut settings = Vec::new();
        for Entry { name, value, .. } in self.tree.entries() {
            if let Some((_, key)) = RENAMED.iter().find(|(theirs, _)| theirs == name) {
                settings.extend(self.path(key, value).map(|data| entry(key, data)));
                continue;
            }
            let key = keys::find(name).filter(|key| !DROPPED.contains(&key.name));
            let own =
                key.is_some_and(|key| name == key.name || key.aliases.contains(&name.as_str()));
            if own && !variables.contains(name.as_str()) && value.data != Data::Null {
                settings.push(entry(name, value.data.clone()));
            }
        }
        settings
    }

    /// Paths of logs as they were asked for: without a worker's number, and nothing for pm2's own places.
    fn path(&self, key: &str, value: &Tree) -> Option<Data> {
        let path = PathBuf::from(text(value)?);
        if key == "cwd" || path == Path::new("/dev/null") {
            return Some(value.data.clone());
        }
        let home = self.variables().find(|entry| entry.name == "PM2_HOME");
        let home = home.and_then(|entry| text(&entry.value)).map(PathBuf::from);
        let places = [Some(self.home.to_owned()), home];
        if places.iter().flatten().any(|home| path.starts_with(home.join("logs"))) {
            return None;
        }
        Some(Data::Text(self.without_number(&path).to_string_lossy().into_owned()))
    }

    /// `out-4.log` as `out.log`, where 4 is what pm2 calls the process: the name of its pid file tells.
    fn without_number(&self, path: &Path) -> PathBuf {
        let number = || {
            let file = PathBuf::from(self.says("pm_pid_path")?);
            let (_, number) = file.file_stem()?.to_str()?.rsplit_once('-')?;
            let stem = path.file_stem()?.to_str()?.strip_suffix(&format!("-{number}"))?;
            let extension = path.extension().and_then(|extension| extension.to_str());
            let end = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
            Some(path.with_file_name(format!("{stem}{end}")))
        };
        number().unwrap_or_else(|| path.to_owned())
    }

    /// A command line that pm2 gave to a shell is one again.
    fn command(&self) -> (String, Option<&Tree>) {
        let script = self.says("pm_exec_path").unwrap_or_default();
        let args = self.tree.get("args");
        let shell = script.ends_with("/bash") || script.ends_with("/sh");
        let Some(Data::List(words)) = args.map(|args| &args.data) else { return (script, args) };
        match words.as_slice() {
            [option, line] if shell && text(option).as_deref() == Some("-c") => {
                match text(line).filter(|line| line.contains(' ')) {
                    Some(line) => (line, None),
                    None => (script, args),
                }
            }
            _ => (script, args),
        }
    }

    fn variables(&self) -> impl Iterator<Item = &Entry> {
        self.tree.get("env").map(Tree::entries).unwrap_or_default().iter()
    }

    fn env(&self) -> BTreeMap<String, String> {
        let variable = |entry: &Entry| Some((entry.name.clone(), entry.value.variable()?));
        self.variables()
            .filter_map(variable)
            .filter(|(name, value)| !is_of_pm2(name) && (name != self.name || value != "{}"))
            .filter(|(name, value)| self.own.get(name) != Some(value))
            .collect()
    }
}

/// What pm2, or the shell that it was called from, puts in.
fn is_of_pm2(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "unique_id",
        "pm_id",
        "NODE_APP_INSTANCE",
        "NODE_CHANNEL_FD",
        "NODE_CHANNEL_SERIALIZATION_MODE",
        "_",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "PYTHONUNBUFFERED",
    ];
    name.starts_with("PM2_") || NAMES.contains(&name)
}

/// What the extension means anyway.
fn is_usual(interpreter: &str, script: &str) -> bool {
    let extension = Path::new(script).extension().and_then(|extension| extension.to_str());
    match interpreter {
        "node" => matches!(extension, Some("js" | "mjs" | "cjs")),
        "none" => extension.is_none() || script.contains(' '),
        _ => false,
    }
}

fn entry(name: &str, data: Data) -> Entry {
    Entry { name: name.to_owned(), line: None, value: Tree::new(None, data) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::{AppSpec, Instances, Mode, Patch};

    /// Written by pm2 7.0.4 itself.
    const DUMP: &str = include_str!("../../tests/fixtures/dump.pm2");

    fn read(text: &str, own: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let own = own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        import("dump.pm2", &json::parse(text).unwrap(), Path::new("/home/me/.pm2"), &own)
    }

    fn spec(patch: &Patch) -> AppSpec {
        patch.clone().apply_to_default().unwrap()
    }

    #[test]
    fn a_list_that_pm2_wrote_becomes_its_apps() {
        let own =
            [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/other"), ("USER", "somebody")];
        let loaded = read(DUMP, &own).unwrap();
        let specs: Vec<AppSpec> = loaded.apps.iter().map(spec).collect();
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["api", "worker", "line", "resting"]);
        assert_eq!(loaded.warnings, ["dump.pm2: app `resting`: did not run, and is not started"]);

        let api = &specs[0];
        assert_eq!((api.script.as_str(), api.interpreter.as_deref()), ("/srv/app/server.js", None));
        assert_eq!((api.cwd.as_path(), api.namespace.as_str()), (Path::new("/srv/app"), "web"));
        assert_eq!(
            (&api.args[..], &api.interpreter_args[..]),
            (&["--color".to_owned(), "two words".to_owned()][..], &["--harmony".to_owned()][..])
        );
        assert_eq!((api.instances, api.exec_mode), (Instances::Count(2), Some(Mode::Cluster)));
        assert_eq!((api.kill_timeout.0, api.min_uptime.0, api.max_restarts), (3000, 2000, 5));
        assert_eq!(api.max_memory_restart, Some(200 << 20));
        assert_eq!(api.cron_restart.as_deref(), Some("0 3 * * *"));
        assert_eq!(
            (api.increment_var.as_deref(), &api.stop_exit_codes[..]),
            (Some("COUNT"), &[0, 3][..])
        );
        assert_eq!(api.logs, AppSpec::default().logs);
        let env = json!({"COUNT": "10", "HOME": "/home/me", "PORT": "8003", "SECRET": "{\"a\":1}",
            "SHELL": "/bin/bash"});
        assert_eq!(json!(api.env), env);
    }

    #[test]
    fn what_pm2_resolved_is_as_it_was_asked_for() {
        let loaded = read(DUMP, &[]).unwrap();
        let specs: Vec<AppSpec> = loaded.apps.iter().map(spec).collect();
        let worker = &specs[1];
        assert_eq!(worker.interpreter.as_deref(), Some("python3"));
        assert_eq!(worker.logs.out_file.as_deref(), Some(Path::new("/srv/app/logs/out.log")));
        assert_eq!(worker.logs.error_file.as_deref(), Some(Path::new("/dev/null")));
        assert_eq!(worker.logs.date_format.as_deref(), Some("YYYY"));
        assert_eq!((worker.user.as_deref(), worker.autorestart), (Some("0"), false));
        let watch = worker.watch.as_ref().unwrap();
        assert_eq!(watch.paths, [Path::new("/srv/app/app")]);
        assert_eq!(specs[2].script, "sleep 10000 && echo done");
        assert_eq!((specs[2].args.len(), specs[2].interpreter.clone()), (0, None));
        assert_eq!(loaded.idle, [specs[3].name.clone()].into());
        assert!(specs.iter().all(|spec| spec.autostart), "when they are started once more");
        assert!(specs.iter().all(|spec| spec.env.keys().all(|name| !name.starts_with("PM2"))));
    }

    #[test]
    fn numbers_of_workers_go_from_the_names_of_logs() {
        let one = |path: &str| {
            let dump = json!([{"name": "a", "pm_exec_path": "/a", "pm_cwd": "/", "pm_out_log_path": path,
                "pm_pid_path": "/home/me/.pm2/pids/a-4.pid", "env": {}}]);
            spec(&read(&dump.to_string(), &[]).unwrap().apps[0]).logs.out_file
        };
        assert_eq!(one("/var/log/a-4.log"), Some("/var/log/a.log".into()));
        assert_eq!(one("/var/log/a-14.log"), Some("/var/log/a-14.log".into()));
        assert_eq!(one("/home/me/.pm2/logs/a-out-4.log"), None);
    }

    #[test]
    fn variables_with_the_names_of_keys_are_no_settings() {
        let dump = json!([{"name": "a", "pm_exec_path": "/a", "pm_cwd": "/", "watch": "no", "user": "x",
            "env": {"user": "x", "port": null}, "port": Value::Null}]);
        let app = spec(&read(&dump.to_string(), &[]).unwrap().apps[0]);
        assert_eq!((app.user, app.env.get("user").map(String::as_str)), (None, Some("x")));
    }

    #[test]
    fn what_is_no_list_of_pm2_is_told() {
        let said = |text: &str| read(text, &[]).unwrap_err().to_string();
        assert_eq!(said("{}"), "dump.pm2:1: expected pm2's list, found a table");
        assert_eq!(said("[]"), "dump.pm2 has no apps");
        assert_eq!(said("[{}]"), "dump.pm2:1: expected a process of pm2 with its `name`");
        let module = "[{\"name\": \"pm2-logrotate\", \"pmx_module\": true}]";
        assert_eq!(said(module), "dump.pm2 has no apps");
        let error = import_dump(Path::new("/no/such/dump.pm2")).unwrap_err().to_string();
        assert_eq!(error, "read /no/such/dump.pm2");
    }
}
