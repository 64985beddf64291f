//! When workers start, stop and start again; where their output goes; and what pm2 alone has.

use super::{Key, Kind, Place, key};

/// Starts, stops and restarts.
pub const LIFE: &[Key] = &[
    key("autostart", &[], Kind::Bool, "true", "Whether it runs as soon as it is known."),
    key(
        "autorestart",
        &[],
        Kind::Bool,
        "true",
        "Whether a worker that ended is started again, also with exit code 0. In `tine run` a program \
         that never listened and ends with 0 has done its work.",
    ),
    key(
        "max_restarts",
        &[],
        Kind::Number(0, u32::MAX as i64),
        "16",
        "A worker that ended so often in a row before `min_uptime` is given up.",
    ),
    key("min_uptime", &[], Kind::Duration, "1s", "A worker that ends sooner ended too early."),
    key(
        "restart_delay",
        &[],
        Kind::Duration,
        "",
        "A fixed wait before each restart, in place of one that grows.",
    ),
    key(
        "exp_backoff_restart_delay",
        &[],
        Kind::Duration,
        "100ms",
        "The wait after the first early end; it grows by one half each time, up to 15 seconds.",
    ),
    key(
        "stop_exit_codes",
        &["stop_exit_code"],
        Kind::Codes,
        "",
        "Exit codes after which a worker is not started again.",
    ),
    key(
        "wait_ready",
        &[],
        Kind::Bool,
        "false",
        "A worker is ready when it says so, as with `process.send('ready')`, or `READY=1` as to systemd.",
    ),
    key(
        "listen_timeout",
        &[],
        Kind::Duration,
        "",
        "How long a worker may take to be ready; then the start or the reload has failed. Not set: 3s, and 30s for \
         a reload where nothing is to be said (`wait_ready`).",
    ),
    key(
        "kill_signal",
        &["stop_signal"],
        Kind::Signal,
        "SIGINT",
        "What tells a worker to stop, after its connections have finished.",
    ),
    key("kill_timeout", &[], Kind::Duration, "1600ms", "Between the stop signal and SIGKILL."),
    key(
        "treekill",
        &[],
        Kind::Bool,
        "true",
        "The stop signal goes to all that a worker has started. If not, to its first process alone, which \
         is to see to the others; what it leaves behind is ended all the same.",
    ),
    key(
        "shutdown_with_message",
        &[],
        Kind::Bool,
        "false",
        "Node workers get the message `shutdown` in place of the signal.",
    ),
    key(
        "max_memory_restart",
        &["max_memory"],
        Kind::Size,
        "",
        "A worker that uses more memory is replaced.",
    ),
    key(
        "cron_restart",
        &["cron"],
        Kind::Cron,
        "",
        "When the app is restarted whatever happens, as five or six cron fields.",
    ),
    key("cron_timezone", &["cron_tz", "timezone"], Kind::Zone, "", "In which time zone; by the rules of the machine, or those compiled in."),
    key(
        "watch",
        &[],
        Kind::Watch,
        "false",
        "Restart when files change: `true` for `cwd`, or paths; or a table with `paths`, `ignore`, `delay` \
         and `action`.",
    )
    .to(Place::With),
    key(
        "ignore_watch",
        &["watch_ignore"],
        Kind::Texts,
        "",
        "Changes that do not count, beside dotfiles and `node_modules`: globs, or parts of a path.",
    )
    .to(Place::With),
    key(
        "watch_delay",
        &[],
        Kind::Duration,
        "200ms",
        "Files must be quiet for so long before anything is done.",
    )
    .to(Place::With),
    key("watch_action", &[], Kind::Action, "restart", "What is done.").to(Place::With),
    key("watch_options", &[], Kind::Any, "", "Of chokidar's options, `ignored` counts.")
        .to(Place::With),
    key("pid_file", &["pid"], Kind::Path, "", "Holds a worker's pid; its id goes before the extension."),
];

/// Output.
pub const LOGS: &[Key] = &[
    key("out_file", &["out", "output", "out_log"], Kind::LogFile, "", "For standard output.")
        .to(Place::Log("out_file")),
    key(
        "error_file",
        &["error", "err", "err_file", "err_log"],
        Kind::LogFile,
        "",
        "For standard error.",
    )
    .to(Place::Log("error_file")),
    key(
        "log_file",
        &["log"],
        Kind::LogFile,
        "false",
        "For both together, beside the two; `true` for one beside the others.",
    )
    .to(Place::With),
    key(
        "merge_logs",
        &["combine_logs"],
        Kind::Bool,
        "",
        "One file for all instances. When not said: if there is one.",
    )
    .to(Place::Log("merge")),
    key("disable_logs", &[], Kind::Bool, "false", "Nothing is written.").to(Place::Log("disabled")),
    key("log_type", &[], Kind::LogType, "raw", "Lines as they come, or a JSON object each.")
        .to(Place::Log("kind")),
    key(
        "log_date_format",
        &[],
        Kind::Text,
        "",
        "The time before each line, in this form: `YYYY-MM-DD HH:mm:ss`.",
    )
    .to(Place::With),
    key("time", &[], Kind::Bool, "false", "The same as `log_date_format = \"YYYY-MM-DDTHH:mm:ss\"`.")
        .to(Place::With),
    key(
        "log_rotation",
        &["log_rotate", "rotation", "rotate"],
        Kind::Rotation,
        "true",
        "When files are set aside: `size` (10M), `age`, how many to `keep` (10), whether to `compress` them \
         (true), and what all of an app may take in `total` (1G).",
    )
    .to(Place::Log("rotation")),
];

const AGENT: &str = "belongs to pm2's monitoring agent, which is not here";

/// What pm2 alone has.
pub const OTHER: &[Key] = &[
    key("kill_retry_time", &[], Kind::Any, "", "The end of a process is not polled for.")
        .to(Place::Nothing),
    key("force", &[], Kind::Any, "", "See `tine start --force`.")
        .to(Place::Note("is an option of the command line here: `tine start --force`")),
    key("execute_command", &[], Kind::Bool, "", "The same as `exec_mode = \"fork\"`.")
        .to(Place::With),
    key("source_map_support", &[], Kind::Any, "", "Node has it: `--enable-source-maps`.")
        .to(Place::Nothing),
    key("disable_source_map_support", &[], Kind::Any, "", "The same.").to(Place::Nothing),
    key("post_update", &[], Kind::Any, "", "There is no `pull`.")
        .to(Place::Note("has no effect: there is no `tine pull`")),
    key("vizion", &[], Kind::Any, "", "No version control is looked at.").to(Place::Nothing),
    key("versioning", &[], Kind::Any, "", "The same.").to(Place::Nothing),
    key("pmx", &[], Kind::Any, "", "Nothing is put into programs.").to(Place::Nothing),
    key("automation", &[], Kind::Any, "", "The same.").to(Place::Nothing),
    key("io", &[], Kind::Any, "", "Settings of pm2's agent.").to(Place::Note(AGENT)),
    key("trace", &[], Kind::Any, "", "Of pm2's agent.").to(Place::Nothing),
    key("disable_trace", &[], Kind::Any, "", "Of pm2's agent.").to(Place::Nothing),
    key("v8", &[], Kind::Any, "", "Of pm2's agent.").to(Place::Nothing),
    key("event_loop_inspector", &[], Kind::Any, "", "Of pm2's agent.").to(Place::Nothing),
    key("deep_monitoring", &[], Kind::Any, "", "Of pm2's agent.").to(Place::Note(AGENT)),
    key("install_url", &[], Kind::Any, "", "Of pm2's modules.").to(Place::Nothing),
    key("username", &[], Kind::Any, "", "Is found out.").to(Place::Nothing),
    key("write", &[], Kind::Any, "", "Of pm2's command line.").to(Place::Nothing),
    key("windows_hide", &[], Kind::Any, "", "Of another system.").to(Place::Nothing),
];
