//! The ways to run a program several times on one port: tine, and those it is measured beside.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use rustix::process::Pid;

use super::load::{PATIENCE, Reply, ask};
use super::process::{Running, leader};
use super::procfs;
use super::session::{Session, free_address, run};

/// What hello.js and the Rust server print once they listen.
const READY: &str = "hello: ready";
/// What tine prints once a worker's seat is in rotation.
const SEATED: &str = " listens on ";

/// Who gives the connections out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Tine(Mechanism),
    /// Node's `cluster` module, round robin.
    NodeCluster,
    Pm2,
    /// Every worker has a socket of its own in one group; the kernel's hash chooses.
    Reuseport,
    /// Every worker has the same socket.
    OneQueue,
}

/// A mechanism, forced, with the policy it is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mechanism {
    Ebpf,
    Cbpf,
    OneQueue,
    HandOver,
}

/// The program that is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    /// `peers/hello.js`.
    Node,
    /// `peers/hello.py`.
    Python,
    /// `examples/hello.rs`.
    Rust,
    /// `peers/hello.go`.
    Go,
    /// `peers/trivial.js`: node without HTTP.
    Trivial,
    /// `examples/native.rs`: a worker that speaks tine's own protocol.
    Native,
}

/// A set of workers that answers on one address. Dropping it stops them all.
pub(crate) struct Contender {
    pub(crate) addr: SocketAddrV4,
    /// The process that manages the others, where there is one.
    pub(crate) manager: Option<Pid>,
    running: Vec<Running>,
}

impl Contender {
    /// Puts all of it before whatever else the machine does. Says whether that was to be had.
    pub(crate) fn prefer(&self) -> bool {
        // Every one is tried, whatever became of the one before.
        self.running.iter().filter(|one| !procfs::prefer(one.pid())).count() == 0
    }
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "kernel-ebpf",
            Self::Cbpf => "kernel-cbpf",
            Self::OneQueue => "one-queue",
            Self::HandOver => "hand-over",
        }
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Ebpf | Self::HandOver => "rr",
            Self::Cbpf => "random",
            Self::OneQueue => "shared",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tine(mechanism) => write!(f, "tine {}", mechanism.name()),
            Self::NodeCluster => f.write_str("Node's cluster"),
            Self::Pm2 => f.write_str("pm2"),
            Self::Reuseport => f.write_str("plain SO_REUSEPORT"),
            Self::OneQueue => f.write_str("one queue"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Go => "static go",
            Self::Trivial => "trivial node",
            Self::Native => "native worker",
        })
    }
}

impl Program {
    /// The program and its arguments; an error where it is not to be had.
    pub(crate) fn command_line(self, session: &Session) -> Result<Vec<PathBuf>> {
        Ok(match self {
            Self::Node => vec!["node".into(), session.peer("hello.js")],
            Self::Python => vec!["python3".into(), session.peer("hello.py")],
            Self::Rust => vec![session.rust_server()],
            Self::Go => vec![session.go_server()?],
            Self::Trivial => vec!["node".into(), session.peer("trivial.js")],
            Self::Native => vec![session.native_server()],
        })
    }

    /// One process of it, by itself.
    pub(crate) fn bare(self, session: &Session, addr: SocketAddrV4) -> Result<Command> {
        let line = self.command_line(session)?;
        let mut command = leader(&line[0]);
        command.args(&line[1..]).env("PORT", addr.port().to_string()).stdin(Stdio::null());
        Ok(command)
    }
}

/// `tine run` of so many workers, with its own choice of mechanism if none is forced.
pub(crate) fn tine_run(
    session: &Session,
    mechanism: Option<Mechanism>,
    program: Program,
    workers: usize,
    addr: SocketAddrV4,
) -> Result<Command> {
    let mut command = leader(&session.tine);
    command.args(["run", "-i", &workers.to_string()]).stdin(Stdio::null());
    if let Some(mechanism) = mechanism {
        command.args(["--mechanism", mechanism.name(), "--policy", mechanism.policy()]);
    }
    command.arg("--env").arg(format!("PORT={}", addr.port()));
    command.arg("--").args(program.command_line(session)?);
    Ok(command)
}

/// Starts `workers` copies of `program`, and returns when all of them take connections.
pub(crate) fn start(
    session: &Session,
    way: Way,
    program: Program,
    workers: usize,
) -> Result<Contender> {
    let started = match way {
        Way::Tine(mechanism) => tine(session, mechanism, program, workers),
        Way::NodeCluster => node_cluster(session, program, workers),
        Way::Pm2 => pm2(session, workers),
        Way::Reuseport => own_sockets(session, program, workers),
        Way::OneQueue => one_socket(session, program, workers),
    };
    started.with_context(|| format!("start {program} under {way}"))
}

fn tine(
    session: &Session,
    mechanism: Mechanism,
    program: Program,
    workers: usize,
) -> Result<Contender> {
    let addr = free_address()?;
    let command = tine_run(session, Some(mechanism), program, workers, addr)?;
    let running = Running::start(&session.guard, command)?;
    running.wait_for(SEATED, workers)?;
    // The process that was started only watches its one child, the manager.
    let manager = procfs::first_child(running.pid()).context("find the manager")?;
    Ok(Contender { addr, manager: Some(manager), running: vec![running] })
}

fn node_cluster(session: &Session, program: Program, workers: usize) -> Result<Contender> {
    let line = program.command_line(session)?;
    let [_, script] = line.as_slice() else { bail!("{program} is not run by node") };
    let addr = free_address()?;
    let mut command = leader("node");
    command.arg(session.peer("cluster.js")).stdin(Stdio::null());
    command.env("PORT", addr.port().to_string()).env("WORKERS", workers.to_string());
    command.env("SCRIPT", script);
    let running = Running::start(&session.guard, command)?;
    running.wait_for("cluster: ready", 1)?;
    Ok(Contender { addr, manager: Some(running.pid()), running: vec![running] })
}

/// pm2 as it is used: a daemon, here with a home of its own, and `start -i`.
fn pm2(session: &Session, workers: usize) -> Result<Contender> {
    let addr = free_address()?;
    let home = session.scratch.join(format!("pm2-{}", addr.port()));
    let daemon_file = home.join("pm2.pid");
    let mut command = Command::new("node");
    command.arg(session.pm2()?).arg("start").arg(session.peer("hello.js"));
    command.args(["--name", "hello", "-i", &workers.to_string()]);
    command.env("PM2_HOME", &home).env("PORT", addr.port().to_string());
    let outcome = run(&mut command);
    // The daemon may be there although the command failed, so it is taken charge of first.
    let daemon = pid_in_file(&daemon_file)?;
    let running = Running::adopt(&session.guard, daemon)?;
    outcome?;
    see_all(addr, workers)?;
    Ok(Contender { addr, manager: Some(daemon), running: vec![running] })
}

/// Servers that need nobody: each sets the option itself, or gets a socket that has it.
fn own_sockets(session: &Session, program: Program, workers: usize) -> Result<Contender> {
    if matches!(program, Program::Rust) {
        let set_it_itself = |command: &mut Command| {
            command.env("REUSEPORT", "1");
            Ok(())
        };
        return workers_of(session, program, free_address()?, workers, set_it_itself);
    }
    ensure!(matches!(program, Program::Node), "{program} takes no inherited socket");
    let (addr, first) = open(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let mut first = Some(first);
    // Every worker gets the only copy: a seat that nobody accepts from must not stay in the group.
    workers_of(session, program, addr, workers, |command| {
        let socket = first.take().map_or_else(|| Ok(open(addr)?.1), Ok::<_, anyhow::Error>)?;
        command.env("LISTEN_FD", "0").stdin(socket);
        Ok(())
    })
}

fn one_socket(session: &Session, program: Program, workers: usize) -> Result<Contender> {
    ensure!(matches!(program, Program::Node), "{program} takes no inherited socket");
    let (addr, socket) = open(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    workers_of(session, program, addr, workers, |command| {
        command.env("LISTEN_FD", "0").stdin(socket.try_clone().context("share the socket")?);
        Ok(())
    })
}

fn workers_of(
    session: &Session,
    program: Program,
    addr: SocketAddrV4,
    workers: usize,
    mut prepare: impl FnMut(&mut Command) -> Result<()>,
) -> Result<Contender> {
    let mut running = Vec::new();
    for _ in 0..workers {
        let mut command = program.bare(session, addr)?;
        prepare(&mut command)?;
        running.push(Running::start(&session.guard, command)?);
    }
    running.iter().try_for_each(|worker| worker.wait_for(READY, 1))?;
    Ok(Contender { addr, manager: None, running })
}

/// A listening socket in the group of its address.
fn open(addr: SocketAddrV4) -> Result<(SocketAddrV4, OwnedFd)> {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("open a socket")?;
    sockopt::set_socket_reuseport(&fd, true).context("share a port")?;
    bind(&fd, &addr).with_context(|| format!("bind {addr}"))?;
    listen(&fd, 511).context("listen")?;
    let listener = TcpListener::from(fd);
    match listener.local_addr().context("ask for the address")? {
        SocketAddr::V4(addr) => Ok((addr, listener.into())),
        SocketAddr::V6(addr) => bail!("{addr} is not what was bound"),
    }
}

/// Asks until every worker has answered once: the way of a system that does not tell when it is ready.
fn see_all(addr: SocketAddrV4, workers: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut seen = std::collections::HashSet::new();
    while seen.len() < workers {
        ensure!(Instant::now() < deadline, "{} of {workers} workers answer", seen.len());
        match ask(addr, PATIENCE) {
            Ok(Reply::From(pid)) => drop(seen.insert(pid)),
            // Not there yet: the next attempt is worth making only a little later.
            Ok(Reply::Silence(_)) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(())
}

/// What pm2 has written into its `pm2.pid`.
pub(crate) fn pid_in_file(file: &Path) -> Result<Pid> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    text.trim().parse().ok().and_then(Pid::from_raw).context("read the daemon's pid")
}
