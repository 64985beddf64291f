//! Unit and integration tests, each in a process of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Selection;
use super::command::{Finished, cargo, run as run_command};
use super::report::Case;

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(5);

/// What a test prints when it cannot run here.
const SKIP: &str = "SKIP: ";
/// Likewise of a test that ends itself at that point, from deep within its harness.
const CUT_SHORT: &str = "SKIP! ";

/// A module whose tests measure: they run one at a time, after the others.
const ALONE: &str = "alone::";

/// One line of what cargo says while it builds.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// A test, and how to run it.
struct Test {
    /// Package, binary and test: `compliance/matrix node::rr_as_root`.
    title: String,
    /// The name within its binary.
    name: String,
    binary: PathBuf,
    /// The folder of its package, where cargo would run it.
    folder: PathBuf,
    ignored: bool,
}

/// Builds everything, and runs the tests that were asked for.
pub(crate) fn run(selection: &Selection) -> anyhow::Result<Vec<Case>> {
    let build = run_command(
        &mut cargo(&["build", "--workspace", "--bins", "--examples", "--quiet"]),
        LIMIT * 3,
    )?;
    if build.trouble.is_some() {
        return Ok(vec![build.into_case("build")]);
    }
    let tests: Vec<Test> =
        tests()?.into_iter().filter(|test| selection.wants_test(&test.title)).collect();
    let (alone, together): (Vec<Test>, Vec<Test>) =
        tests.into_iter().partition(|test| test.name.contains(ALONE));
    let mut cases = run_all(&together, selection.jobs);
    cases.extend(run_all(&alone, 1));
    Ok(cases)
}

/// Runs the tests, `jobs` at a time; the cases come in the tests' order.
fn run_all(tests: &[Test], jobs: usize) -> Vec<Case> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(index) else { return done };
            done.push((index, run_one(test)));
        }
    };
    let mut cases: Vec<(usize, Case)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("run_one does not panic"));
        done.flatten().collect()
    });
    cases.sort_by_key(|(index, _)| *index);
    cases.into_iter().map(|(_, case)| case).collect()
}

fn run_one(test: &Test) -> Case {
    if test.ignored {
        return Case::skipped(&test.title, "marked #[ignore]");
    }
    let mut command = Command::new(&test.binary);
    // Two threads, though there is one test: with one, libtest begins the line before the test's
    // own output, and nothing the test prints first is at the beginning of a line.
    command.args(["--exact", &test.name, "--nocapture", "--test-threads=2"]);
    command.current_dir(&test.folder).env("CARGO_MANIFEST_DIR", &test.folder);
    let tine = built_tine().map(|tine| command.env("TINE_BIN", tine));
    match tine.and_then(|command| run_command(command, LIMIT)) {
        Ok(finished) => verdict(&test.title, finished),
        Err(error) => Case::failed(&test.title, format!("{error:#}\n")),
    }
}

/// `$TINE_BIN`, or what was built beside this program.
fn built_tine() -> anyhow::Result<PathBuf> {
    match env::var_os("TINE_BIN") {
        Some(tine) => Ok(tine.into()),
        None => Ok(env::current_exe()?.with_file_name("tine")),
    }
}

fn verdict(title: &str, finished: Finished) -> Case {
    let said = |prefix| finished.output.lines().find_map(|line| line.strip_prefix(prefix));
    if let Some(reason) = said(CUT_SHORT) {
        return Case::skipped(title, reason);
    }
    let reason = said(SKIP);
    match reason {
        Some(reason) if finished.trouble.is_none() => Case::skipped(title, reason),
        Some(_) | None => finished.into_case(title),
    }
}

/// Builds the test binaries and asks each for its tests.
fn tests() -> anyhow::Result<Vec<Test>> {
    let args = ["test", "--workspace", "--tests", "--no-run", "--quiet"];
    let output = cargo(&args).arg("--message-format=json-render-diagnostics").output()?;
    if !output.status.success() {
        bail!("build the tests: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut tests = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line).context("read what cargo test says")? {
            Message::CompilerArtifact(artifact) => tests.extend(tests_of(&artifact)?),
            Message::Other => {}
        }
    }
    Ok(tests)
}

fn tests_of(artifact: &Artifact) -> anyhow::Result<Vec<Test>> {
    let Some(binary) = &artifact.executable else { return Ok(Vec::new()) };
    let folder = artifact.manifest_path.parent().context("a manifest lies in a folder")?;
    let package = folder.file_name().context("a package's folder has a name")?.to_string_lossy();
    let ignored = list(binary, folder, &["--ignored"])?;
    let names = list(binary, folder, &[])?;
    let test = |name: String| Test {
        title: format!("{package}/{} {name}", artifact.target.name),
        ignored: ignored.contains(&name),
        binary: binary.clone(),
        folder: folder.to_owned(),
        name,
    };
    Ok(names.into_iter().map(test).collect())
}

/// The names of a binary's tests, one a line: `core::tests::a_fact: test`.
fn list(binary: &Path, folder: &Path, args: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(binary);
    command.args(["--list", "--format", "terse"]).args(args).current_dir(folder);
    let output = command.output().with_context(|| format!("list {}", binary.display()))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::report::Outcome;

    fn verdict_of(output: &str, trouble: Option<&str>) -> Outcome {
        let trouble = trouble.map(str::to_owned);
        verdict("a test", Finished { trouble, output: output.to_owned() }).outcome
    }

    #[test]
    fn a_test_that_prints_a_reason_is_skipped() {
        let output = "\nrunning 1 test\nSKIP: no go here\ntest a ... ok\n";
        let outcome = verdict_of(output, None);
        assert!(matches!(outcome, Outcome::Skipped { reason } if reason == "no go here"));
    }

    #[test]
    fn a_test_that_fails_is_not_excused_by_a_reason() {
        let outcome = verdict_of("SKIP: no go here\n", Some("exit status: 101"));
        assert!(matches!(outcome, Outcome::Failed));
    }

    #[test]
    fn a_test_that_ends_itself_with_a_reason_is_skipped() {
        let outcome = verdict_of("SKIP! no python3 here\n", Some("exit status: 101"));
        assert!(matches!(outcome, Outcome::Skipped { reason } if reason == "no python3 here"));
    }

    #[test]
    fn a_reason_within_a_line_is_no_skip() {
        assert!(matches!(verdict_of("app/0 | SKIP: no\n", None), Outcome::Passed));
    }
}
