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
    /// The working directory.
    pub directory: Option<PathBuf>,
    /// Variables beside those of this process.
    pub env: Vec<(OsString, OsString)>,
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
pub fn find(wanted: &Wanted) -> Result<Program, NoProgram> {
    if let Some(directory) = &wanted.directory {
        check_directory(directory)?;
    }
    let words = command_words(wanted)?;
    let Some((first, args)) = words.split_first() else {
        return Err(NoProgram::NotFound { name: String::new(), directory: None });
    };
    let file = locate(first, wanted)?;
    let script = node_script(&file, args);
    let (exec_args, args) = args.split_at(script.unwrap_or(0));
    Ok(Program {
        arg0: first.clone(),
        exec_args: exec_args.to_vec(),
        args: args.to_vec(),
        env: environment(wanted, first),
        directory: wanted.directory.clone(),
        kind: if script.is_some() { ProgramKind::Node } else { ProgramKind::Other },
        ..Program::new(file)
    })
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

/// The words with the interpreter before them, where one is needed.
fn command_words(wanted: &Wanted) -> Result<Vec<OsString>, NoProgram> {
    let Some(script) = wanted.words.first() else { return Ok(Vec::new()) };
    let with = |before: Vec<OsString>| [before, wanted.words.clone()].concat();
    if let Some(interpreter) = &wanted.interpreter {
        let none = interpreter == "none";
        return Ok(if none { wanted.words.clone() } else { with(vec![interpreter.clone()]) });
    }
    let is_file = in_working_directory(script, wanted).is_file();
    if !is_file && wanted.words.len() == 1 && script.as_bytes().contains(&b' ') {
        return Ok(["/bin/sh".into(), "-c".into(), script.clone()].to_vec());
    }
    let extension = Path::new(script).extension().and_then(OsStr::to_str).unwrap_or_default();
    let known = INTERPRETERS.iter().find(|(known, _)| *known == extension);
    match known {
        Some((_, choices)) if is_file => installed(script, choices).map(with),
        Some(_) | None => Ok(wanted.words.clone()),
    }
}

fn installed(script: &OsStr, choices: &[&[&str]]) -> Result<Vec<OsString>, NoProgram> {
    let there = choices.iter().find(|words| in_path(OsStr::new(words[0])).is_some());
    let words = there.ok_or_else(|| NoProgram::NoInterpreter {
        script: script.to_string_lossy().into_owned(),
        interpreter: choices[0][0].to_owned(),
    })?;
    Ok(words.iter().map(Into::into).collect())
}

/// A word without a slash is looked up in `PATH`, then in the working directory.
fn locate(word: &OsStr, wanted: &Wanted) -> Result<PathBuf, NoProgram> {
    let has_slash = word.as_bytes().contains(&b'/');
    if !has_slash && let Some(found) = in_path(word) {
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

fn in_path(word: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(word))
        .find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
}

/// Everything of this process, then what was asked for; Python writes its lines at once.
fn environment(wanted: &Wanted, program: &OsStr) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = env::vars_os().collect();
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("python") && env::var_os("PYTHONUNBUFFERED").is_none() {
        all.push(("PYTHONUNBUFFERED".into(), "1".into()));
    }
    all.retain(|(name, _)| !wanted.env.iter().any(|(ours, _)| ours == name));
    all.extend(wanted.env.iter().cloned());
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
        Wanted { words, interpreter: None, directory: None, env: Vec::new() }
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
    fn a_line_with_blanks_goes_to_the_shell() {
        let program = find(&wanted(&["echo one two"])).unwrap();
        assert_eq!(program.args, ["-c", "echo one two"]);
        assert_eq!(name(&wanted(&["echo one two"])), "echo");
        assert_eq!(name(&wanted(&["a/b/server.test.js"])), "server.test");
    }

    #[test]
    fn variables_asked_for_replace_those_of_this_process() {
        let mut ask = wanted(&["sh"]);
        ask.env.push(("PATH".into(), "/nowhere".into()));
        let program = find(&ask).unwrap();
        let paths: Vec<_> = program.env.iter().filter(|(name, _)| name == "PATH").collect();
        assert_eq!(paths, [&("PATH".into(), "/nowhere".into())]);
    }
}
