//! Apps in the shape of pm2's `jlist`, for scripts that read it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    api::apps::{AppView, Status, WorkerView},
    spec::{AppSpec, Env, Filter, Instances, LogType, Mode},
    supervise::launch::passes,
};

/// One element of `jlist`, in pm2's order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    /// 0 when it does not run.
    pub pid: i32,
    /// The app's.
    pub name: String,
    /// Everything else.
    pub pm2_env: Map<String, Value>,
    /// The worker's id.
    pub pm_id: u32,
    /// Memory and CPU.
    pub monit: Value,
}

/// What the host adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Of the nearest package.json.
    pub version: Option<&'a str>,
    /// Of the Node that runs it.
    pub node_version: Option<&'a str>,
    /// Whose name it runs in.
    pub username: &'a str,
}

/// Whether pm2 would say `cluster_mode`: what was asked for, else several workers of Node.
#[must_use]
pub fn is_cluster(app: &AppView) -> bool {
    let node = app.workers.iter().any(|worker| matches!(&*worker.interpreter, "node" | "bun"));
    app.exec_mode.map_or(node && app.workers.len() > 1, |mode| mode == Mode::Cluster)
}

/// One worker of an app that was listed with its spec.
#[must_use]
pub fn worker(app: &AppView, spec: &AppSpec, worker: &WorkerView, facts: Facts<'_>) -> Process {
    let variables = environment(spec, worker);
    // A variable never hides a key of ours.
    let mut env: Map<String, Value> =
        variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    env.insert("env".into(), json!(variables));
    env.extend(identity(app, spec, worker, facts));
    env.extend(files(worker));
    env.extend(options(app, spec));
    env.extend(state(worker));
    env.extend(constants(spec));
    env.extend(told(worker));
    Process {
        pid: worker.pid.unwrap_or(0),
        name: app.name.clone(),
        pm2_env: env,
        pm_id: worker.id,
        monit: json!({"memory": worker.memory, "cpu": percent(worker.cpu)}),
    }
}

/// One decimal, and a whole number without one, as JavaScript writes it.
fn percent(cpu: f32) -> Value {
    let text = format!("{cpu:.1}");
    let whole = text.strip_suffix(".0").and_then(|whole| whole.parse::<i64>().ok());
    whole.map_or_else(|| json!(text.parse::<f64>().unwrap_or_default()), Value::from)
}

/// What was said of the worker's environment.
#[must_use]
pub fn environment(spec: &AppSpec, worker: &WorkerView) -> Env {
    let mut all = spec.inherited.clone();
    all.retain(|name, _| passes(name, &spec.filter_env));
    all.extend(spec.env.clone());
    all.extend(spec.port.map(|port| ("PORT".to_owned(), port.to_string())));
    let name = spec.increment_var.as_deref();
    if let Some((name, value)) = name.and_then(|name| spec.env.get_key_value(name))
        && let Ok(first) = value.parse::<i64>()
    {
        all.insert(name.clone(), (first + i64::from(worker.instance)).to_string());
    }
    all.insert(spec.instance_var.clone(), worker.instance.to_string());
    all
}

type Keys = Vec<(String, Value)>;

fn keys<const N: usize>(keys: [(&str, Value); N]) -> Keys {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn identity(app: &AppView, spec: &AppSpec, worker: &WorkerView, facts: Facts<'_>) -> Keys {
    let mut all = keys([
        ("name", json!(app.name)),
        ("namespace", json!(app.namespace)),
        ("pm_id", json!(worker.id)),
        ("pm_exec_path", json!(worker.exec_path)),
        ("pm_cwd", json!(spec.cwd)),
        ("args", json!(worker.args.as_ref().unwrap_or(&spec.args))),
        ("node_args", json!(spec.interpreter_args)),
        ("exec_interpreter", json!(worker.interpreter)),
        ("exec_mode", json!(if is_cluster(app) { "cluster_mode" } else { "fork_mode" })),
        ("instances", json!(count(app, spec))),
        ("instance_var", json!(spec.instance_var)),
        ("NODE_APP_INSTANCE", json!(worker.instance)),
        ("version", json!(facts.version.unwrap_or("N/A"))),
        ("username", json!(facts.username)),
        ("unique_id", json!(unique_id(app, worker))),
    ]);
    all.extend(facts.node_version.map(|version| ("node_version".to_owned(), json!(version))));
    all
}

fn count(app: &AppView, spec: &AppSpec) -> usize {
    match spec.instances {
        Instances::Count(count) => count as usize,
        Instances::AllBut(_) => app.workers.len(),
    }
}

fn files(worker: &WorkerView) -> Keys {
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(|| json!("/dev/null"), |path| json!(path))
    };
    let mut all = keys([
        ("pm_out_log_path", path(&worker.out_log)),
        ("pm_err_log_path", path(&worker.err_log)),
        ("pm_pid_path", path(&worker.pid_file)),
    ]);
    if worker.combined_log.is_some() {
        all.push(("pm_log_path".into(), path(&worker.combined_log)));
    }
    all
}

fn options(app: &AppView, spec: &AppSpec) -> Keys {
    let merged = spec.logs.merge.unwrap_or(app.workers.len() == 1);
    let mut all = keys([
        ("autostart", json!(spec.autostart)),
        ("autorestart", json!(spec.autorestart)),
        ("watch", json!(app.watching)),
        ("wait_ready", json!(spec.wait_ready)),
        ("listen_timeout", json!(spec.start_patience().as_millis())),
        ("kill_timeout", json!(spec.kill_timeout)),
        ("min_uptime", json!(spec.min_uptime)),
        ("max_restarts", json!(spec.max_restarts)),
        ("restart_delay", json!(spec.restart_delay.unwrap_or_default())),
        ("exp_backoff_restart_delay", json!(spec.exp_backoff_restart_delay)),
        ("stop_exit_codes", json!(spec.stop_exit_codes)),
        ("shutdown_with_message", json!(spec.shutdown_with_message)),
        ("merge_logs", json!(merged)),
        ("disable_logs", json!(spec.logs.disabled)),
    ]);
    let kind = (spec.logs.kind == LogType::Json).then(|| json!("json"));
    let perhaps = [
        ("max_memory_restart", spec.max_memory_restart.map(|bytes| json!(bytes))),
        ("cron_restart", spec.cron_restart.as_ref().map(|cron| json!(cron))),
        ("log_type", kind),
        ("log_date_format", spec.logs.date_format.as_ref().map(|format| json!(format))),
        ("increment_var", spec.increment_var.as_ref().map(|name| json!(name))),
    ];
    all.extend(perhaps.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    all
}

fn state(worker: &WorkerView) -> Keys {
    let created = (worker.status != Status::Errored).then_some(worker.created_at);
    let mut all = keys([
        ("status", json!(worker.status.word())),
        ("restart_time", json!(worker.restarts)),
        ("unstable_restarts", json!(worker.unstable_restarts)),
        ("pm_uptime", json!(worker.started_at.unwrap_or(worker.created_at))),
        ("created_at", json!(created)),
        ("connections_cut", json!(worker.cut)),
        ("prev_restart_delay", json!(worker.delay.unwrap_or(0))),
    ]);
    all.extend(worker.exit_code.map(|code| ("exit_code".to_owned(), json!(code))));
    all
}

fn told(worker: &WorkerView) -> Keys {
    let told = worker.told.as_deref().cloned().unwrap_or_default();
    keys([
        ("axm_actions", json!(told.actions)),
        ("axm_monitor", json!(told.metrics)),
        ("axm_options", json!(told.options)),
    ])
}

/// What pm2 always says, and what has no counterpart.
fn constants(spec: &AppSpec) -> Keys {
    let filter = match &spec.filter_env {
        Filter::Nothing => json!([]),
        Filter::All => json!(true),
        Filter::Prefixes(prefixes) => json!(prefixes),
    };
    keys([
        ("filter_env", filter),
        ("treekill", json!(spec.treekill)),
        ("kill_retry_time", json!(100)),
        ("windowsHide", json!(true)),
        ("vizion", json!(false)),
        ("vizion_running", json!(false)),
        ("versioning", json!(null)),
        ("km_link", json!(false)),
        ("pmx", json!(false)),
        ("automation", json!(false)),
        ("_pm2_version", json!(concat!("tine ", env!("CARGO_PKG_VERSION")))),
        ("axm_dynamic", json!({})),
    ])
}

/// The same as long as the instance is the same; in the form of a UUID (version 8: free).
fn unique_id(app: &AppView, worker: &WorkerView) -> String {
    let text = format!("{}\0{}\0{}", app.name, worker.id, worker.created_at);
    let (a, b) = (fnv(text.as_bytes(), 0), fnv(text.as_bytes(), 1));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

/// Fowler, Noll and Vo's hash, 1a.
fn fnv(bytes: &[u8], seed: u64) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, step)
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    fn shown() -> Vec<Process> {
        let (app, spec) = (sample::app(), sample::spec());
        let facts = Facts { username: "root", node_version: Some("20.20.2"), ..Facts::default() };
        app.workers.iter().map(|w| worker(&app, &spec, w, facts)).collect()
    }

    /// The keys that scripts rely on.
    const NEEDED: &str = "status restart_time unstable_restarts pm_uptime created_at exec_mode instances \
        NODE_APP_INSTANCE pm_exec_path pm_cwd args node_args exec_interpreter pm_out_log_path \
        pm_err_log_path pm_pid_path namespace version node_version username unique_id env autorestart \
        watch wait_ready listen_timeout kill_timeout merge_logs max_restarts stop_exit_codes treekill \
        kill_retry_time prev_restart_delay axm_monitor axm_actions axm_options axm_dynamic vizion \
        versioning km_link pmx automation windowsHide vizion_running _pm2_version instance_var filter_env";

    #[test]
    fn every_key_that_scripts_rely_on_is_there() {
        let shown = shown();
        for key in NEEDED.split_whitespace() {
            assert!(shown[0].pm2_env.get(key).is_some(), "{key} is missing");
        }
        for key in ["pm_log_path", "max_memory_restart", "cron_restart", "exit_code"] {
            assert!(shown[0].pm2_env.get(key).is_none(), "{key} was not asked for");
        }
    }

    #[test]
    fn values_are_pm2s() {
        let shown = shown();
        assert_eq!(shown[0].pid, 4711);
        assert_eq!(shown[0].monit, json!({"memory": 37_120_000, "cpu": 0.3}));
        let env = &shown[0].pm2_env;
        assert_eq!((&env["status"], &env["exec_mode"]), (&json!("online"), &json!("cluster_mode")));
        assert_eq!((&env["instances"], &env["kill_timeout"]), (&json!(2), &json!(1600)));
        assert_eq!(env["pm_out_log_path"], "/root/.tine/logs/api-out.log");
        assert_eq!(env["version"], "N/A");
        assert_eq!(shown[1].pid, 0);
        assert_eq!(shown[1].pm2_env["created_at"], Value::Null, "as pm2 after errored");
        assert_eq!(shown[1].pm2_env["exit_code"], 1);
        assert_ne!(env["unique_id"], shown[1].pm2_env["unique_id"]);
        assert_eq!(env["unique_id"].as_str().map(str::len), Some(36));
    }

    #[test]
    fn variables_are_told_twice_and_hide_nothing() {
        let (app, mut spec) = (sample::app(), sample::spec());
        spec.env.insert("status".into(), "green".into());
        spec.env.insert("PORT".into(), "8000".into());
        spec.increment_var = Some("PORT".into());
        spec.filter_env = Filter::Prefixes(vec!["US".into()]);
        let shown = worker(&app, &spec, &app.workers[1], Facts::default());
        let env = &shown.pm2_env;
        assert_eq!(
            (&env["NODE_ENV"], &env["env"]["NODE_ENV"]),
            (&json!("production"), &json!("production"))
        );
        assert_eq!((&env["status"], &env["env"]["status"]), (&json!("errored"), &json!("green")));
        assert_eq!((&env["PORT"], env.get("USER")), (&json!("8001"), None));
    }

    #[test]
    fn one_worker_is_a_fork_unless_the_word_was_said() {
        let mut app = sample::app();
        app.workers.truncate(1);
        assert!(!is_cluster(&app));
        app.exec_mode = Some(Mode::Cluster);
        assert!(is_cluster(&app));
    }

    #[test]
    fn a_whole_percentage_has_no_decimal() {
        assert_eq!((percent(2.0), percent(12.34)), (json!(2), json!(12.3)));
    }
}
