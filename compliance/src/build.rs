//! The programs under test that must be built first.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use crate::spawn;

/// The real `tine`: `$TINE_BIN`, or built now beside the tests.
pub(crate) fn tine() -> PathBuf {
    match env::var_os("TINE_BIN") {
        Some(path) => path.into(),
        None => cargo_built("tine"),
    }
}

/// A program of this workspace.
pub(crate) fn cargo_built(package: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        // Whoever says where tine is has built the workspace.
        if env::var_os("TINE_BIN").is_none() {
            cargo_build();
        }
    });
    profile_folder().join(package)
}

/// An example of the library.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if env::var_os("TINE_BIN").is_some() {
            return;
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "-p", "tine-cluster", "--examples"]);
        if profile_folder().ends_with("release") {
            cargo.arg("--release");
        }
        succeed(cargo.current_dir(root()));
    });
    profile_folder().join("examples").join(name)
}

fn cargo_build() {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", "tine", "-p", "hello-std", "-p", "hello-axum"]);
    if profile_folder().ends_with("release") {
        cargo.arg("--release");
    }
    succeed(cargo.current_dir(root()));
}

/// `hello.go`, built as a static program.
pub(crate) fn go() -> PathBuf {
    go_program(&servers().join("hello.go"), "hello-go")
}

/// A Go program of one file, built as a static program of this name.
pub(crate) fn go_program(source: &Path, name: &str) -> PathBuf {
    let program = folder().join(name);
    once(source, &program, || {
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(source).env("CGO_ENABLED", "0");
        succeed(&mut go);
    });
    program
}

/// `Hello.java`, compiled: every worker would do it again.
pub(crate) fn java() -> PathBuf {
    java_class(&servers().join("Hello.java"), "Hello.class")
}

/// The one class of a Java file, compiled.
pub(crate) fn java_class(source: &Path, name: &str) -> PathBuf {
    let class = folder().join(name);
    once(source, &class, || succeed(Command::new("javac").arg("-d").arg(folder()).arg(source)));
    class
}

/// Where uvicorn and gunicorn are installed: in the virtual environment that `.ci/run` makes.
pub(crate) fn venv() -> PathBuf {
    root().join("target/venv")
}

/// The modules installed there, without pip's own.
pub(crate) fn venv_modules() -> Vec<PathBuf> {
    let pythons = fs::read_dir(venv().join("lib")).expect("a virtual environment has a lib");
    let sites = pythons.flatten().map(|python| python.path().join("site-packages"));
    let modules = sites.flat_map(|site| fs::read_dir(site).into_iter().flatten().flatten());
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !["pip", "setuptools", "pkg_resources", "_distutils", "__pycache__"]
            .iter()
            .any(|other| name.starts_with(other))
    };
    modules.map(|module| module.path()).filter(wanted).collect()
}

/// The folder of the hello servers.
pub(crate) fn servers() -> PathBuf {
    root().join("examples/servers")
}

/// Runs `build` unless `made` is newer than its source; one process at a time.
fn once(source: &Path, made: &Path, build: impl FnOnce()) {
    fs::create_dir_all(folder()).expect("the target folder is writable");
    let lock = File::create(folder().join("lock")).expect("the target folder is writable");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock on a plain file");
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(made) < changed(source) {
        build();
    }
}

fn succeed(command: &mut Command) {
    let output = spawn::output(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
}

/// Where `compliance/peers/install` installs.
pub(crate) fn peers() -> PathBuf {
    root().join("target/peers/node_modules")
}

/// A file of this package.
#[must_use]
pub fn file(path: &str) -> PathBuf {
    root().join("compliance").join(path)
}

fn folder() -> PathBuf {
    root().join("target/compliance")
}

/// `target/debug` or `target/release`: two above the tests' own binary, which is in `deps`.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("/proc is mounted");
    test.ancestors().nth(2).expect("cargo puts tests two folders deep").to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository")
}
