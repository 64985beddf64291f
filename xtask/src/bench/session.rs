//! What all benchmarks of one run share: the guard, the scratch directory, the built programs.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::guard::Guard;

/// Built once, before anything is measured.
pub(crate) struct Session {
    pub(crate) guard: Guard,
    /// Removed in the end.
    pub(crate) scratch: PathBuf,
    /// The binary that is measured.
    pub(crate) tine: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

impl Session {
    /// Builds the Rust servers, and tine unless there is one already, in release mode; starts the
    /// guard.
    pub(crate) fn open(tine: Option<PathBuf>) -> Result<Self> {
        let root = root()?;
        let target = target(&root);
        if tine.is_none() {
            build(&root, &["--package", "tine"])?;
        }
        build(&root, &["--package", "xtask", "--examples"])?;
        let scratch = std::env::temp_dir().join(format!("tine-bench-{}", std::process::id()));
        fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
        let tine = tine.unwrap_or_else(|| target.join("release/tine"));
        Ok(Self { guard: Guard::start(&scratch)?, scratch, tine, root, target })
    }

    /// The smallest server: `examples/hello.rs`.
    pub(crate) fn rust_server(&self) -> PathBuf {
        self.target.join("release/examples/hello")
    }

    /// The same as a worker of tine's own protocol: `examples/native.rs`.
    pub(crate) fn native_server(&self) -> PathBuf {
        self.target.join("release/examples/native")
    }

    /// A primary that measures its messages: `examples/message.rs`.
    pub(crate) fn message_primary(&self) -> PathBuf {
        self.target.join("release/examples/message")
    }

    /// A program that writes as fast as it can: `examples/chatter.rs`.
    pub(crate) fn chatter(&self) -> PathBuf {
        self.target.join("release/examples/chatter")
    }

    /// What writes the logs of a manager, by itself: `examples/logwriter.rs`.
    pub(crate) fn log_writer(&self) -> PathBuf {
        self.target.join("release/examples/logwriter")
    }

    /// A program of `xtask/peers`.
    pub(crate) fn peer(&self, name: &str) -> PathBuf {
        self.root.join("xtask/peers").join(name)
    }

    /// `hello.go`, linked statically; an error where there is no Go.
    pub(crate) fn go_server(&self) -> Result<PathBuf> {
        let binary = self.scratch.join("hello-go");
        if !binary.exists() {
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(&binary).arg(self.peer("hello.go"));
            run(go.env("CGO_ENABLED", "0").env("GO111MODULE", "off"))?;
        }
        Ok(binary)
    }

    /// pm2's script, installed under `target/bench` when it is not there yet.
    pub(crate) fn pm2(&self) -> Result<PathBuf> {
        let prefix = self.target.join("bench");
        let script = prefix.join("node_modules/pm2/bin/pm2");
        if !script.exists() {
            let quiet = ["install", "--no-audit", "--no-fund", "--prefix"];
            run(Command::new("npm").args(quiet).arg(&prefix).arg("pm2"))?;
        }
        Ok(script)
    }
}

/// Runs a command to its end; an error quotes what it printed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let named = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {named}"))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{named} failed: {}", printed.trim());
    Ok(())
}

/// An address on loopback whose port was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddrV4> {
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let listener = TcpListener::bind(any).context("find a free port")?;
    let port = listener.local_addr().context("find a free port")?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("find the workspace")?.to_path_buf())
}

/// Where cargo builds: it says so itself when it was told another place.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

fn build(root: &Path, what: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO");
    let mut command = Command::new(cargo.as_deref().unwrap_or(OsStr::new("cargo")));
    let status = command.args(["build", "--release", "--quiet"]).args(what).current_dir(root);
    if !status.status().context("start cargo")?.success() {
        bail!("cargo build {} failed", what.join(" "));
    }
    Ok(())
}
