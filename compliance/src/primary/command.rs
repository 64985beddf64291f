//! What a primary is told: `docs/foreign-primary.md`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Interpreter;

/// A worker to be forked; its output is kept.
#[derive(Clone, Debug)]
#[must_use = "nothing is forked before Primary::fork_with()"]
pub struct Fork {
    exec: PathBuf,
    args: Vec<String>,
    exec_argv: Vec<String>,
    exec_path: Option<PathBuf>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
}

impl Fork {
    /// A worker that runs this script.
    pub fn new(exec: impl Into<PathBuf>) -> Self {
        let (args, exec_argv, env) = (Vec::new(), Vec::new(), Vec::new());
        Self { exec: exec.into(), args, exec_argv, exec_path: None, env, cwd: None }
    }

    /// Arguments of the script.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// Options of the interpreter.
    pub fn exec_argv(mut self, args: &[&str]) -> Self {
        self.exec_argv = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// Another interpreter than the primary's.
    pub fn exec_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.exec_path = Some(path.into());
        self
    }

    /// A variable beside those of the primary.
    pub fn env(mut self, name: &str, value: &dyn ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Where it runs.
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// The command, for a primary whose interpreter is this one.
    pub(crate) fn command(&self, interpreter: &Interpreter) -> Value {
        let env: serde_json::Map<String, Value> =
            self.env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let options = interpreter.options.iter().map(|&option| option.to_owned());
        let exec_argv: Vec<String> = options.chain(self.exec_argv.iter().cloned()).collect();
        json!({
            "command": "fork", "exec": self.exec, "args": self.args, "execArgv": exec_argv,
            "execPath": self.exec_path.as_deref().unwrap_or(&interpreter.path), "env": env,
            "cwd": self.cwd, "silent": true,
        })
    }
}
