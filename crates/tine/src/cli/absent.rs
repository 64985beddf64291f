//! Commands of pm2 that are not here: what to do instead.

use std::process::ExitCode;

use clap::error::ErrorKind;

/// What is said about them, and how they are called.
const ABSENT: &[(&[&str], &str)] = &[
    (
        &["monit", "imonit", "dashboard", "dash", "slist", "sysinfos"],
        "is not here yet; `tine ls --watch` and `tine logs` show how the apps are",
    ),
    (
        &["deploy", "pull", "forward", "backward"],
        "is not here: bring the new version to this machine, then `tine reload`, which loses no request",
    ),
    (
        &[
            "install",
            "uninstall",
            "module:install",
            "module:uninstall",
            "module:update",
            "module:generate",
            "package",
            "publish",
            "module:publish",
            "set",
            "multiset",
            "get",
            "unset",
            "conf",
            "config",
        ],
        "is not here: there are no modules. Logs are rotated as it is (the key `log_rotation`), and \
         all other settings are keys of the app's file",
    ),
    (
        &["autoinstall", "create", "examples"],
        "is not here: `tine init` writes a file to begin with, and `tine help` has examples of each command",
    ),
    (
        &["install-otel", "uninstall-otel"],
        "is not here: a program's own `--import` sets up its tracing, as in \
         `tine start app.js --node-args='--import ./tracing.js'`",
    ),
    (&["logrotate"], "is not needed: logs are rotated as it is (the key `log_rotation`)"),
    (
        &["link", "unlink", "plus", "register", "login", "logout", "monitor", "unmonitor", "open"],
        "is not here: there is no hosted service, and nothing is sent anywhere",
    ),
    (
        &["inspect", "profile:cpu", "profile:mem"],
        "is not here: `tine restart APP --node-args=--inspect` opens Node's inspector",
    ),
];

/// Of words that were refused: the sentence about a command of pm2's, and the exit code.
#[must_use]
pub fn said_of(words: &[String], refused: &clap::Error) -> Option<(String, ExitCode)> {
    if refused.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let (command, rest) = words.get(1..)?.split_first()?;
    let (_, said) = ABSENT.iter().find(|(names, _)| names.contains(&command.as_str()))?;
    // What somebody's script does to be rid of the service is done.
    let is_done = command == "unlink" || command == "link" && rest == ["delete"];
    let code = if is_done { ExitCode::SUCCESS } else { ExitCode::from(2) };
    Some((format!("`{command}` {said}"), code))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn what_is_here_is_not_said_to_be_absent() {
        let cli = Cli::command();
        for name in ABSENT.iter().flat_map(|(names, _)| *names) {
            assert!(cli.find_subcommand(name).is_none(), "{name} is here");
        }
    }
}
