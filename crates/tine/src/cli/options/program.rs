//! What runs, where, as whom and with which variables.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::Place;
use crate::{
    cli::values,
    config::words,
    spec::{Filter, Instances, Mode, Patch},
};

/// What runs.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The program")]
pub(super) struct Program {
    /// The app's name [default: the script's, without its extension]
    #[arg(short, long)]
    pub(super) name: Option<String>,
    /// What the app is grouped by
    #[arg(long)]
    namespace: Option<String>,
    /// How many workers: a number, `max` (or 0) for one per CPU, or -N for all CPUs but N
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = values::instances)]
    instances: Option<Instances>,
    /// Run in this directory
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,
    /// What runs the script, instead of what its extension means; `none` for nothing
    #[arg(long, value_name = "PROGRAM")]
    pub(super) interpreter: Option<String>,
    /// Arguments of the interpreter; `null` for none
    #[arg(long, visible_alias = "node-args", value_name = "ARGS", allow_hyphen_values = true)]
    interpreter_args: Option<String>,
    /// The environment chosen from a file (NAME), or a variable (K=V); may be given again
    #[arg(long, value_name = "NAME|K=V")]
    env: Vec<String>,
    /// A file of NAME=value lines, read at every start; may be given again
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep from the workers what of your environment begins so; bare: all of it
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, require_equals = true)]
    filter_env: Option<Vec<String>>,
    /// `PORT` in the environment
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The variable that tells a worker its instance [default: `NODE_APP_INSTANCE`]
    #[arg(long, value_name = "VARIABLE")]
    instance_var: Option<String>,
    /// A variable that is one higher in each worker
    #[arg(long, value_name = "VARIABLE")]
    increment_var: Option<String>,
    /// Run as this user (name or number; root only)
    #[arg(short, long, visible_alias = "uid", value_name = "USER")]
    user: Option<String>,
    /// Run with this group (name or number; root only)
    #[arg(long, value_name = "GROUP")]
    gid: Option<String>,
    /// The mask for files that it makes, in octal
    #[arg(long, value_name = "MASK", value_parser = values::umask)]
    umask: Option<u32>,
    /// How nice it is to others, -20 to 19
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
    /// The file that holds the pid
    #[arg(short, long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Say `fork_mode` in lists
    #[arg(short = 'x', long)]
    execute_command: bool,
}

impl Program {
    pub(super) fn lay(&self, place: &Place, patch: &mut Patch) {
        self.lay_identity(place, patch);
        self.lay_environment(place, patch);
        self.lay_rights(patch);
    }

    fn lay_identity(&self, place: &Place, patch: &mut Patch) {
        set(patch, "name", self.name.as_ref());
        set(patch, "namespace", self.namespace.as_ref());
        set(patch, "instances", self.instances.as_ref());
        set(patch, "interpreter", self.interpreter.as_ref());
        set(patch, "cwd", self.cwd.as_ref().map(|cwd| place.absolute(cwd)));
        set(patch, "pid_file", self.pid.as_ref().map(|path| place.absolute(path)));
        set(patch, "exec_mode", self.execute_command.then_some(Mode::Fork));
        match self.interpreter_args.as_deref() {
            Some("null") => patch.unset("interpreter_args"),
            args => set(patch, "interpreter_args", args.map(words::split)),
        }
    }

    fn lay_environment(&self, place: &Place, patch: &mut Patch) {
        set(patch, "env_name", self.environment());
        let variables = self.env.iter().filter_map(|word| word.split_once('='));
        let variables: Map<String, Value> =
            variables.map(|(name, value)| (name.to_owned(), value.into())).collect();
        set(patch, "env", Some(variables).filter(|variables| !variables.is_empty()));
        let files: Vec<PathBuf> = self.env_file.iter().map(|path| place.absolute(path)).collect();
        set(patch, "env_file", Some(files).filter(|files| !files.is_empty()));
        set(patch, "filter_env", self.filter_env.as_deref().map(filter));
        set(patch, "port", self.port);
        set(patch, "instance_var", self.instance_var.as_ref());
        set(patch, "increment_var", self.increment_var.as_ref());
    }

    fn lay_rights(&self, patch: &mut Patch) {
        set(patch, "user", self.user.as_ref());
        set(patch, "group", self.gid.as_ref());
        set(patch, "umask", self.umask);
        set(patch, "nice", self.nice);
    }

    pub(super) fn directory(&self, place: &Place) -> PathBuf {
        self.cwd.as_ref().map_or_else(|| place.here.clone(), |cwd| place.absolute(cwd))
    }

    pub(super) fn environment(&self) -> Option<&str> {
        self.env.iter().rev().find(|word| !word.contains('=')).map(String::as_str)
    }

    pub(super) fn wants_cluster(&self) -> bool {
        self.instances.is_some() && !self.execute_command
    }
}

/// Sets a key that was named.
pub(super) fn set(patch: &mut Patch, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        patch.set(key, value);
    }
}

fn filter(prefixes: &[String]) -> Filter {
    let each = prefixes.iter().flat_map(|list| list.split([',', ' ']));
    let prefixes: Vec<String> = each.filter(|p| !p.is_empty()).map(str::to_owned).collect();
    if prefixes.is_empty() { Filter::All } else { Filter::Prefixes(prefixes) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, patch, spec};
    use super::*;

    #[test]
    fn a_name_and_a_namespace() {
        assert_eq!(spec(&["-n", "api"]).name, "api");
        assert_eq!(spec(&["--namespace", "web"]).namespace, "web");
    }

    #[test]
    fn instances_also_below_zero() {
        assert_eq!(spec(&["-i", "3"]).instances, Instances::Count(3));
        assert_eq!(spec(&["-i", "-1", "app.js"]).instances, Instances::AllBut(1));
        assert_eq!(spec(&["--instances=max"]).instances, Instances::AllBut(0));
        assert!(parsed(&["-i", "few"]).is_err());
    }

    #[test]
    fn relative_directories_and_files_are_those_of_the_caller() {
        assert_eq!(spec(&["--cwd", "sub"]).cwd, PathBuf::from("/work/sub"));
        assert_eq!(spec(&["-p", "a.pid"]).pid_file, Some("/work/a.pid".into()));
        assert_eq!(spec(&["--env-file", "/x/.env"]).env_file, [PathBuf::from("/x/.env")]);
    }

    #[test]
    fn an_interpreter_and_its_arguments() {
        assert_eq!(spec(&["--interpreter", "python3"]).interpreter.as_deref(), Some("python3"));
        for flag in ["--interpreter-args", "--node-args"] {
            let line = [flag, "--harmony -r 'a b'"];
            assert_eq!(spec(&line).interpreter_args, ["--harmony", "-r", "a b"]);
        }
        assert_eq!(patch(&["--node-args=null"]).get("interpreter_args"), Some(&Value::Null));
    }

    #[test]
    fn env_names_an_environment_or_sets_a_variable() {
        let spec = spec(&["--env", "production", "--env", "A=1=2"]);
        assert_eq!(spec.env_name.as_deref(), Some("production"));
        assert_eq!(spec.env["A"], "1=2");
    }

    #[test]
    fn variables_of_the_caller_are_kept_back() {
        assert_eq!(spec(&["--filter-env"]).filter_env, Filter::All);
        let wanted = Filter::Prefixes(vec!["A".into(), "B".into(), "C".into()]);
        assert_eq!(spec(&["--filter-env=A,B", "--filter-env=C"]).filter_env, wanted);
    }

    #[test]
    fn numbers_for_the_workers() {
        let spec = spec(&["--port", "80", "--instance-var", "ID", "--increment-var", "PORT"]);
        assert_eq!((spec.port, spec.instance_var.as_str()), (Some(80), "ID"));
        assert_eq!(spec.increment_var.as_deref(), Some("PORT"));
    }

    #[test]
    fn rights_of_somebody_else() {
        for flag in ["-u", "--user", "--uid"] {
            assert_eq!(spec(&[flag, "www-data"]).user.as_deref(), Some("www-data"));
        }
        let spec = spec(&["--gid", "33", "--umask", "027", "--nice", "-5"]);
        assert_eq!(
            (spec.group.as_deref(), spec.umask, spec.nice),
            (Some("33"), Some(0o27), Some(-5))
        );
    }

    #[test]
    fn fork_mode_is_a_word_in_lists() {
        assert_eq!(spec(&["-x"]).exec_mode, Some(Mode::Fork));
    }
}
