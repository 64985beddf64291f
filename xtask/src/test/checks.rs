//! The checks that are one program run each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::command::{cargo, find, root, run};
use super::report::Case;

/// A build from nothing on a slow machine fits.
const LIMIT: Duration = Duration::from_mins(15);

/// What `build.sh` calls.
const BPF_TOOLS: [&str; 3] = ["clang", "llvm-objcopy", "llvm-readelf"];

/// The compiler, Debian 12's, whose output is committed; another may choose other instructions.
const BPF_CLANG: u32 = 14;

pub(crate) fn fmt() -> anyhow::Result<Vec<Case>> {
    check("fmt", &mut cargo(&["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> anyhow::Result<Vec<Case>> {
    let args = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    check("clippy", &mut cargo(&args))
}

pub(crate) fn doc() -> anyhow::Result<Vec<Case>> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    check("doc", command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The pure parts of the library must build without a runtime.
pub(crate) fn core_alone() -> anyhow::Result<Vec<Case>> {
    let args = ["clippy", "-p", "tine-cluster", "--no-default-features", "--quiet"];
    check("core", cargo(&args).args(["--", "-D", "warnings"]))
}

/// Dependencies' licences, sources and doubles. Not part of a run where cargo-deny is missing,
/// and so not a skip either: building it takes longer than all the rest.
pub(crate) fn deny() -> anyhow::Result<Vec<Case>> {
    if find("cargo-deny").is_none() {
        return Ok(Vec::new());
    }
    check("deny", &mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}

/// The committed eBPF program is what its source compiles to.
pub(crate) fn bpf() -> anyhow::Result<Vec<Case>> {
    if let Some(missing) = BPF_TOOLS.iter().find(|tool| find(tool).is_none()) {
        return Ok(vec![Case::skipped("bpf", format!("no {missing} here"))]);
    }
    let committed = committed_program()?;
    let built = root().join("target/xtask-bpf");
    let script = committed.with_file_name("build.sh");
    let finished = run(Command::new("sh").arg(script).arg(&built), LIMIT)?;
    if finished.trouble.is_some() {
        return Ok(vec![finished.into_case("bpf")]);
    }
    if fs::read(&built)? == fs::read(&committed)? {
        return Ok(vec![Case::passed("bpf")]);
    }
    bpf_differs(&built, &committed)
}

fn bpf_differs(built: &Path, committed: &Path) -> anyhow::Result<Vec<Case>> {
    let version = run(Command::new("clang").arg("--version"), LIMIT)?.output;
    if !version.contains(&format!("version {BPF_CLANG}.")) {
        let reason = format!("the eBPF program was built with clang {BPF_CLANG}, not the one here");
        return Ok(vec![Case::skipped("bpf", reason)]);
    }
    let (built, committed) = (built.display(), committed.display());
    let output = format!("{built}, just built, differs from {committed}, committed\n");
    Ok(vec![Case::failed("bpf", output)])
}

/// The compiled program, the one file that is not text.
fn committed_program() -> anyhow::Result<PathBuf> {
    let folder = root().join("crates/tine-linux/bpf");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bin" || extension == "o") {
            return Ok(path);
        }
    }
    bail!("no compiled program in {}", folder.display());
}

fn check(name: &str, command: &mut Command) -> anyhow::Result<Vec<Case>> {
    Ok(vec![run(command, LIMIT)?.into_case(name)])
}
