//! What is run, and with which environment.

use super::{Key, Kind, Place, key};

/// The program, and as whom and where it runs.
pub const PROGRAM: &[Key] = &[
    key(
        "script",
        &["exec", "cmd", "command"],
        Kind::Text,
        "",
        "The script or program, relative to `cwd`, or a command that is in `PATH`. With a blank in it: a \
         command line for a shell. The one key that must be there.",
    )
    .to(Place::With),
    key("name", &[], Kind::Text, "", "What the app is called; the script's name without its extension.")
        .to(Place::With),
    key("namespace", &[], Kind::Text, "default", "Apps with the same word are addressed together by it."),
    key(
        "cwd",
        &[],
        Kind::Path,
        "",
        "Where the program runs, and what all its paths are relative to. When not said: the directory of \
         `tine.toml` or of the `Procfile`; of other files, the directory where `tine` was called, or the \
         file's own where only that one has the script.",
    )
    .to(Place::With),
    key("args", &[], Kind::Words, "", "Arguments of the program."),
    key(
        "interpreter",
        &["exec_interpreter"],
        Kind::Text,
        "",
        "What runs the script, instead of what its extension means; `none` for nothing; `node@20` for a \
         version that nvm or fnm has installed.",
    )
    .to(Place::With),
    key(
        "interpreter_args",
        &["node_args"],
        Kind::Words,
        "",
        "Arguments of the interpreter, before the script.",
    ),
    key("user", &["uid"], Kind::Text, "", "As whom it runs: a name or a number. Needs root."),
    key("group", &["gid"], Kind::Text, "", "With which group: a name or a number. Needs root."),
    key("umask", &[], Kind::Umask, "", "The mask for the files that it makes."),
    key("nice", &[], Kind::Number(-20, 19), "", "How nice it is to others, from -20 to 19."),
    key(
        "rlimits",
        &["ulimit", "ulimits"],
        Kind::Rlimits,
        "",
        "Limits of setrlimit(2) by name: a number, `unlimited`, or `SOFT:HARD`.",
    ),
    key(
        "limits",
        &[],
        Kind::Limits,
        "",
        "Limits for each worker and all that descends from it, by cgroup v2: `memory`, `cpu` in percent of \
         one CPU, `pids`. What this machine cannot limit is told by `tine describe`.",
    ),
];

/// Variables.
pub const ENVIRONMENT: &[Key] = &[
    key(
        "env",
        &[],
        Kind::Env,
        "",
        "Variables for the program. What is no text becomes JSON text. `env_NAME` is laid over it with \
         `--env NAME`.",
    )
    .to(Place::With),
    key(
        "env_file",
        &["env_files", "dotenv"],
        Kind::Paths,
        "",
        "Files of `NAME=value` lines, read at every start; `env` goes over them.",
    ),
    key(
        "filter_env",
        &[],
        Kind::Filter,
        "",
        "What the program does not inherit: the beginnings of names, or `true` for everything but what any \
         login sets, such as `PATH`, `HOME` and `LANG`.",
    ),
    key("port", &[], Kind::Number(0, 65535), "", "`PORT` in the environment."),
    key(
        "instance_var",
        &[],
        Kind::Text,
        "NODE_APP_INSTANCE",
        "The variable that tells a worker which instance it is, from 0.",
    ),
    key(
        "increment_var",
        &[],
        Kind::Text,
        "",
        "A variable of `env` that counts up from worker to worker.",
    ),
    key(
        "append_env_to_name",
        &[],
        Kind::Bool,
        "false",
        "With `--env NAME`, the app is called `APP-NAME`.",
    )
    .to(Place::With),
    key("name_prefix", &[], Kind::Text, "", "Goes before the name, with a colon.").to(Place::With),
];
