//! `cargo xtask fuzz`: libFuzzer looks for courses of events that break a promise.
//!
//! The targets and their seeds are in `fuzz/`, laid out as `cargo fuzz` wants it; what is checked is
//! in `invariants/`. Neither that command nor a nightly compiler is needed here: libFuzzer counts what
//! it reaches by code that any compiler puts in ([`FLAGS`]). What it has learnt is kept in
//! `target/fuzz`, so that the next run goes on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::test::command::{cargo, find, root, run as run_command};

/// Let libFuzzer look for what breaks a promise of the pure parts
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// The targets, as in `fuzz/fuzz_targets`; all of them otherwise
    targets: Vec<String>,
}

/// What `cargo fuzz --sanitizer none` sets, too.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// A build from nothing on a slow machine fits.
const BUILDING: Duration = Duration::from_mins(15);
/// One course of events that takes longer has no end; some milliseconds are usual.
const COURSE: u32 = 10;
/// What a target may use, in megabytes: ten times what it needs.
const MEMORY: u32 = 2048;
/// Lines of a failed run that are shown: what broke, and the bytes.
const SHOWN: usize = 60;

/// Builds the targets and runs them one after the other.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let known = targets()?;
    let unknown = args.targets.iter().find(|name| !known.contains(name));
    ensure!(unknown.is_none(), "there is no target {:?}; there are {}", unknown, known.join(", "));
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    let built = build()?;
    let mut failed = false;
    for target in chosen {
        failed |= !fuzz(&built, target, args.seconds)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The names of the targets, in order.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; gives the folder where they are.
fn build() -> Result<PathBuf> {
    // What the `cc` crate calls, unless it is told otherwise.
    if std::env::var_os("CXX").is_none() && find("c++").is_none() {
        bail!("fuzzing needs a C++ compiler, and there is no `c++` here (Debian: g++ or clang)");
    }
    let host = host()?;
    let folder = root().join("target/fuzz");
    let mut command = cargo(&["build", "--release", "--quiet"]);
    // With a target named, the flags are for the program alone and not for what builds it.
    command.args(["--manifest-path", "fuzz/Cargo.toml", "--target", &host, "--target-dir"]);
    command.arg(&folder).env("RUSTFLAGS", FLAGS);
    let finished = run_command(&mut command, BUILDING)?;
    if let Some(trouble) = finished.trouble {
        bail!("build the fuzz targets: {trouble}\n{}", finished.output);
    }
    Ok(folder.join(host).join("release"))
}

/// This machine's name among the compiler's targets.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("ask rustc for its host")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names its host")?.to_owned())
}

/// Runs one target; `false` when it found something.
fn fuzz(built: &Path, target: &str, seconds: u64) -> Result<bool> {
    let learnt = root().join("target/fuzz/corpus").join(target);
    let found = root().join("target/fuzz/found");
    fs::create_dir_all(&learnt)?;
    fs::create_dir_all(&found)?;
    let mut command = Command::new(built.join(target));
    command.arg(format!("-max_total_time={seconds}"));
    command.args([format!("-timeout={COURSE}"), format!("-rss_limit_mb={MEMORY}")]);
    command.args(["-max_len=2048", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
    command.arg(learnt).arg(root().join("fuzz/seeds").join(target)).current_dir(root());
    let start = Instant::now();
    let finished = run_command(&mut command, Duration::from_secs(seconds) + BUILDING)?;
    let (name, seconds) = (format!("fuzz {target}"), start.elapsed().as_secs_f64());
    let Some(trouble) = finished.trouble else {
        println!("{seconds:>6.1} s  {name:<14} {}", progress(&finished.output));
        return Ok(true);
    };
    println!("{seconds:>6.1} s  {name:<14} FAILED: {trouble}");
    explain(target, &finished.output);
    Ok(false)
}

/// How much was tried and how far it reached, from what libFuzzer says at its end.
fn progress(output: &str) -> String {
    let runs = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let reached = output.lines().rev().find_map(|line| {
        let rest = line.split_once(" cov: ")?.1;
        rest.split_whitespace().next()
    });
    format!("{} courses, {} places", runs.unwrap_or("?").trim(), reached.unwrap_or("?"))
}

fn explain(target: &str, output: &str) {
    let telling: Vec<&str> = output.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &telling[telling.len().saturating_sub(SHOWN)..] {
        println!("    {line}");
    }
    println!(
        "The bytes that did it are in target/fuzz/found. Put them into fuzz/seeds/{target}/ under\n\
         the name of what they broke: from then on the ordinary tests play them, too."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_is_read_from_what_libfuzzer_says() {
        let output = "#2\tINITED cov: 4 ft: 4 corp: 1/1b\n#900\tDONE   cov: 479 ft: 3077 corp: 9/1Kb\n\
            stat::number_of_executed_units: 900\n";
        assert_eq!(progress(output), "900 courses, 479 places");
    }

    #[test]
    fn every_target_has_seeds_for_the_ordinary_tests() {
        let targets = targets().expect("the repository is whole");
        assert!(targets.len() >= 6, "{targets:?}");
        for target in targets {
            let seeds = fs::read_dir(root().join("fuzz/seeds").join(&target));
            assert!(seeds.is_ok_and(|mut seeds| seeds.next().is_some()), "none for {target}");
        }
    }
}
