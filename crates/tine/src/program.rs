//! From the words of a command line to the program that is to be executed.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::Access;
use thiserror::Error;
use tine_cluster::primary::{Program, ProgramKind};

/// What is to be run, as the user said it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The script or command, and its arguments. Never empty.
    pub words: Vec<OsString>,
    /// Instead of the one that the script's extension means; `none` for none.
    pub interpreter: Option<OsString>,
    /// Arguments of the interpreter, before the script.
    pub interpreter_args: Vec<OsString>,
    /// The working directory.
    pub directory: Option<PathBuf>,
    /// The whole environment; commands are looked up in its `PATH`.
    pub env: Vec<(OsString, OsString)>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Ready to be started.
    pub program: Program,
    /// The script, or the program itself where nothing runs it. Absolute.
    pub script: PathBuf,
    /// What runs the script, as people call it: `node`, `python3`.
    pub interpreter: Option<String>,
}

/// Why there is no program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoProgram {
    /// Neither a file nor a command.
    #[error("`{name}` is neither a file{} nor a command in PATH", in_directory(directory.as_deref()))]
    NotFound {
        /// As it was said.
        name: String,
        /// Where it was looked for.
        directory: Option<PathBuf>,
    },
    /// The interpreter of a script is not installed.
    #[error(
        "`{script}` needs `{interpreter}`, which is not in PATH; install it, or name another one with \
         --interpreter"
    )]
    NoInterpreter {
        /// The script.
        script: String,
        /// What its extension means.
        interpreter: String,
    },
    /// A file that is no program.
    #[error(
        "`{path}` is not executable; make it so (chmod +x), or say with --interpreter what runs it"
    )]
    NotExecutable {
        /// Which.
        path: String,
    },
    /// A directory.
    #[error("`{path}` is a directory, not a program")]
    Directory {
        /// Which.
        path: String,
    },
    /// The working directory.
    #[error("the working directory `{path}` cannot be entered")]
    WorkingDirectory {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn in_directory(directory: Option<&Path>) -> String {
    directory.map(|path| format!(" in `{}`", path.display())).unwrap_or_default()
}

/// pm2's table, and Java's two forms. The first interpreter that is installed is taken.
const INTERPRETERS: [(&str, &[&[&str]]); 14] = [
    ("sh", &[&["bash"], &["sh"]]),
    ("py", &[&["python3"], &["python"]]),
    ("rb", &[&["ruby"]]),
    ("php", &[&["php"]]),
    ("pl", &[&["perl"]]),
    ("js", &[&["node"]]),
    ("mjs", &[&["node"]]),
    ("cjs", &[&["node"]]),
    ("ts", &[&["bun"], &["node", "--experimental-strip-types"]]),
    ("tsx", &[&["bun"], &["node", "--experimental-strip-types"]]),
    ("coffee", &[&["coffee"]]),
    ("ls", &[&["lsc"]]),
    ("java", &[&["java"]]),
    ("jar", &[&["java", "-jar"]]),
];

/// Finds the program.
///
/// # Errors
///
/// With what was looked for and what to do about it.
pub fn find(wanted: &Wanted) -> Result<Found, NoProgram> {
    if let Some(directory) = &wanted.directory {
        check_directory(directory)?;
    }
    let Command { words, interpreter } = command(wanted)?;
    let Some((first, args)) = words.split_first() else {
        return Err(NoProgram::NotFound { name: String::new(), directory: None });
    };
    let file = locate(first, wanted)?;
    let node = node_script(&file, args);
    let (exec_args, args) = args.split_at(node.unwrap_or(0));
    let script = match &interpreter {
        Some(_) => in_working_directory(&wanted.words[0], wanted),
        None => file.clone(),
    };
    let program = Program {
        arg0: first.clone(),
        exec_args: exec_args.to_vec(),
        args: args.to_vec(),
        env: environment(wanted, first),
        directory: wanted.directory.clone(),
        kind: if node.is_some() { ProgramKind::Node } else { ProgramKind::Other },
        ..Program::new(file)
    };
    // Relative to here, but executed from there.
    let script = std::path::absolute(&script).unwrap_or(script);
    Ok(Found { program, script, interpreter })
}

fn check_directory(directory: &Path) -> Result<(), NoProgram> {
    let wrong =
        |source| NoProgram::WorkingDirectory { path: directory.display().to_string(), source };
    let metadata = fs::metadata(directory).map_err(wrong)?;
    if !metadata.is_dir() {
        return Err(wrong(io::ErrorKind::NotADirectory.into()));
    }
    Ok(())
}

/// All words that are executed, and the interpreter among them if the script needs one.
struct Command {
    words: Vec<OsString>,
    interpreter: Option<String>,
}

fn command(wanted: &Wanted) -> Result<Command, NoProgram> {
    let alone = || Command { words: wanted.words.clone(), interpreter: None };
    let Some(script) = wanted.words.first() else { return Ok(alone()) };
    let is_file = in_working_directory(script, wanted).is_file();
    if let Some(interpreter) = &wanted.interpreter {
        if interpreter == "none" {
            return Ok(alone());
        }
        must_be_there(script, wanted)?;
        return Ok(run_by(vec![interpreter.clone()], wanted));
    }
    if !is_file && script.as_bytes().contains(&b' ') {
        return Ok(Command { words: shell_words(script, wanted), interpreter: None });
    }
    match choices(script) {
        Some(choices) if is_file => Ok(run_by(installed(script, choices, wanted)?, wanted)),
        Some(_) | None => Ok(alone()),
    }
}

/// The interpreter, its arguments, the script and its own.
fn run_by(interpreter: Vec<OsString>, wanted: &Wanted) -> Command {
    let name = Path::new(&interpreter[0]).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let words = [interpreter, wanted.interpreter_args.clone(), wanted.words.clone()].concat();
    Command { words, interpreter: Some(name) }
}

/// Not every word after an interpreter is a file (`java Main`), but what looks like one must be.
fn must_be_there(script: &OsStr, wanted: &Wanted) -> Result<(), NoProgram> {
    let looks = script.as_bytes().contains(&b'/') || choices(script).is_some();
    if !looks || in_working_directory(script, wanted).exists() {
        return Ok(());
    }
    let name = script.to_string_lossy().into_owned();
    Err(NoProgram::NotFound { name, directory: wanted.directory.clone() })
}

/// A whole command line, for bash as under pm2. What comes after it becomes its last arguments.
fn shell_words(line: &OsStr, wanted: &Wanted) -> Vec<OsString> {
    let shell = in_path(OsStr::new("bash"), wanted).unwrap_or_else(|| "/bin/sh".into());
    let args = &wanted.words[1..];
    let mut words = vec![shell.into_os_string(), "-c".into(), line.to_owned()];
    if !args.is_empty() {
        words[2].push(" \"$@\"");
        words.push(line.to_owned());
        words.extend(args.iter().cloned());
    }
    words
}

/// What could run a file with this extension.
fn choices(script: &OsStr) -> Option<&'static [&'static [&'static str]]> {
    let extension = Path::new(script).extension().and_then(OsStr::to_str)?;
    INTERPRETERS.iter().find(|(known, _)| *known == extension).map(|(_, choices)| *choices)
}

fn installed(
    script: &OsStr,
    choices: &[&[&str]],
    wanted: &Wanted,
) -> Result<Vec<OsString>, NoProgram> {
    let there = choices.iter().find(|words| in_path(OsStr::new(words[0]), wanted).is_some());
    let words = there.ok_or_else(|| NoProgram::NoInterpreter {
        script: script.to_string_lossy().into_owned(),
        interpreter: choices[0][0].to_owned(),
    })?;
    Ok(words.iter().map(Into::into).collect())
}

/// A word without a slash is looked up in `PATH`, then in the working directory.
fn locate(word: &OsStr, wanted: &Wanted) -> Result<PathBuf, NoProgram> {
    let has_slash = word.as_bytes().contains(&b'/');
    if !has_slash && let Some(found) = in_path(word, wanted) {
        return Ok(found);
    }
    let path = in_working_directory(word, wanted);
    let shown = || word.to_string_lossy().into_owned();
    let Ok(metadata) = fs::metadata(&path) else {
        return Err(NoProgram::NotFound { name: shown(), directory: wanted.directory.clone() });
    };
    if metadata.is_dir() {
        return Err(NoProgram::Directory { path: shown() });
    }
    if rustix::fs::access(&path, Access::EXEC_OK).is_err() {
        return Err(NoProgram::NotExecutable { path: shown() });
    }
    // Relative to here, but executed from there.
    Ok(std::path::absolute(&path).unwrap_or(path))
}

fn in_working_directory(word: &OsStr, wanted: &Wanted) -> PathBuf {
    wanted.directory.as_deref().map_or_else(|| word.into(), |directory| directory.join(word))
}

/// Where commands are when the environment does not say (`_PATH_DEFPATH`).
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn in_path(word: &OsStr, wanted: &Wanted) -> Option<PathBuf> {
    let path = wanted.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, path)| path);
    env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(word))
        .find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
}

/// What was asked for; Python writes its lines at once.
fn environment(wanted: &Wanted, program: &OsStr) -> Vec<(OsString, OsString)> {
    const UNBUFFERED: &str = "PYTHONUNBUFFERED";
    let mut all = wanted.env.clone();
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("python") && !all.iter().any(|(name, _)| name == UNBUFFERED) {
        all.push((UNBUFFERED.into(), "1".into()));
    }
    all
}

/// The environment of this process, with these variables beside it or instead.
#[must_use]
pub fn own_environment(over: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = env::vars_os().collect();
    all.retain(|(name, _)| !over.iter().any(|(ours, _)| ours == name));
    all.extend(over);
    all
}

/// With one of these Node runs no script of its own, or runs it in another process.
const NO_WORKER: [&str; 13] = [
    "-",
    "-e",
    "--eval",
    "-p",
    "--print",
    "-pe",
    "-i",
    "--interactive",
    "-c",
    "--check",
    "--test",
    "--watch",
    "--run",
];
/// These take the next word as their value.
const TAKES_VALUE: [&str; 9] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--title",
];

/// Where the script is among the arguments of `node`. With one, `node` itself speaks Node's protocol;
/// everything else has its calls trapped.
fn node_script(file: &Path, args: &[OsString]) -> Option<usize> {
    let real = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let is_node =
        |path: &Path| matches!(path.file_name().and_then(OsStr::to_str), Some("node" | "nodejs"));
    if !is_node(file) && !is_node(&real) {
        return None;
    }
    let mut words = args.iter().map(|arg| arg.to_string_lossy()).enumerate();
    while let Some((at, word)) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if NO_WORKER.contains(&name) || name.starts_with("--watch") {
            return None;
        }
        if TAKES_VALUE.contains(&&*word) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(at);
        }
    }
    None
}

/// What the app is called when nobody says: the script's name without its extension, or the
/// command's.
#[must_use]
pub fn name(wanted: &Wanted) -> String {
    let word = wanted.words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let first = word.split(' ').next().unwrap_or_default();
    let stem = Path::new(first).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if stem.is_empty() { "app".to_owned() } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Wanted {
        let words = words.iter().map(Into::into).collect();
        let env = own_environment(Vec::new());
        Wanted { words, interpreter: None, interpreter_args: Vec::new(), directory: None, env }
    }

    #[test]
    fn node_is_a_node_worker_only_with_a_script_that_it_runs_itself() {
        let script = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(Into::into).collect();
            node_script(Path::new("/usr/bin/node"), &args)
        };
        assert_eq!(script(&["server.js"]), Some(0));
        assert_eq!(script(&["-r", "dotenv/config", "--max-old-space-size=64", "s.js"]), Some(3));
        for args in [&["-e", "1"][..], &["--watch", "s.js"], &["--test"], &[], &["-"]] {
            assert_eq!(script(args), None, "{args:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = find(&wanted(&["no-such-server"])).unwrap_err();
        assert_eq!(missing.to_string(), "`no-such-server` is neither a file nor a command in PATH");
        let error = find(&wanted(&["/"])).unwrap_err();
        assert_eq!(error.to_string(), "`/` is a directory, not a program");
        let error = find(&wanted(&["/proc/version"])).unwrap_err();
        assert!(error.to_string().contains("is not executable"), "{error}");
        let nowhere = Wanted { directory: Some("/no/where".into()), ..wanted(&["sh"]) };
        assert!(matches!(find(&nowhere), Err(NoProgram::WorkingDirectory { .. })));
    }

    #[test]
    fn a_line_with_blanks_goes_to_the_shell_with_what_follows_as_its_last_arguments() {
        let found = find(&wanted(&["echo one two"])).unwrap();
        assert_eq!(found.program.args, ["-c", "echo one two"]);
        assert_eq!((&found.script, found.interpreter), (&found.program.file, None));
        let found = find(&wanted(&["echo one", "a b", "c"])).unwrap();
        assert_eq!(found.program.args, ["-c", "echo one \"$@\"", "echo one", "a b", "c"]);
        assert_eq!(name(&wanted(&["echo one two"])), "echo");
        assert_eq!(name(&wanted(&["a/b/server.test.js"])), "server.test");
    }

    #[test]
    fn an_interpreter_takes_its_arguments_before_the_script() {
        let directory = Directory::new();
        directory.write("server.sh", "");
        let mut ask = wanted(&["server.sh", "x"]);
        ask.directory = Some(directory.0.clone());
        ask.interpreter_args = vec!["-e".into()];
        let found = find(&ask).unwrap();
        assert_eq!(found.program.args, ["-e", "server.sh", "x"]);
        assert_eq!(found.script, directory.0.join("server.sh"));
        assert_eq!(found.interpreter.as_deref(), Some("bash"));
        ask.interpreter = Some("sh".into());
        assert_eq!(find(&ask).unwrap().interpreter.as_deref(), Some("sh"));
        ask.words = vec!["missing.sh".into()];
        assert!(matches!(find(&ask), Err(NoProgram::NotFound { .. })));
    }

    #[test]
    fn commands_are_looked_up_in_the_path_that_was_asked_for() {
        let mut ask = wanted(&["sh"]);
        ask.env = vec![("PATH".into(), "/nowhere".into())];
        assert!(matches!(find(&ask), Err(NoProgram::NotFound { .. })));
        ask.env.clear();
        assert!(find(&ask).is_ok());
    }

    #[test]
    fn variables_asked_for_replace_those_of_this_process() {
        let all = own_environment(vec![("PATH".into(), "/nowhere".into())]);
        let paths: Vec<_> = all.iter().filter(|(name, _)| name == "PATH").collect();
        assert_eq!(paths, [&("PATH".into(), "/nowhere".into())]);
    }

    /// A directory of this test, gone with it.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = env::temp_dir().join(format!("tine-program-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
