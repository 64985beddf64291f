//! One try: over HTTP, TCP, or by a command.

use std::{
    ffi::OsString,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rustix::process::Pid;
use thiserror::Error;
use tine_cluster::primary::Program;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::{
    spec::HealthProbe,
    supervise::command::{self, Command},
};

/// A check that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Neither a URL nor a path.
    #[error("`{0}` is no URL to check; write http://127.0.0.1:8003/health, or /health")]
    Url(String),
    /// Not over plain HTTP.
    #[error("`{0}` cannot be checked: only plain http is spoken; `exec` with curl does the rest")]
    Https(String),
    /// No address.
    #[error("`{0}` is no address to check; write 127.0.0.1:8003")]
    Address(String),
}

/// What is tried, ready to be tried.
#[derive(Clone, Debug)]
pub(super) enum Probe {
    Http { at: Option<String>, path: String },
    Tcp { at: Option<String> },
    Exec(Box<Command>),
}

impl Probe {
    /// `program` is whose environment, directory and user a command has.
    pub(super) fn new(wanted: &HealthProbe, program: &Program) -> Result<Self, ProbeError> {
        match wanted {
            HealthProbe::Http(url) => http(url),
            HealthProbe::Tcp(address) if address.is_empty() => Ok(Self::Tcp { at: None }),
            HealthProbe::Tcp(address) if has_port(address) => {
                Ok(Self::Tcp { at: Some(address.clone()) })
            }
            HealthProbe::Tcp(address) => Err(ProbeError::Address(address.clone())),
            HealthProbe::Exec(line) => Ok(Self::Exec(Box::new(Command {
                line: line.clone(),
                args: Vec::new(),
                env: program.env.clone(),
                directory: program.directory.clone(),
                user: program.user.clone(),
            }))),
        }
    }

    /// Whether it asks one worker, and not the app behind its port.
    pub(super) const fn is_of_one_worker(&self) -> bool {
        match self {
            Self::Exec(_) => true,
            Self::Http { .. } | Self::Tcp { .. } => false,
        }
    }

    /// Tries once; an error says in words what was found. `port` is the first that the app listens on.
    pub(super) async fn attempt(
        &self,
        port: Option<SocketAddr>,
        pid: Pid,
        within: Duration,
    ) -> Result<(), String> {
        let over_network = async {
            match self {
                Self::Http { at, path } => get(&address(at.as_deref(), port)?, path).await,
                Self::Tcp { at } => connect(&address(at.as_deref(), port)?).await.map(|_stream| ()),
                Self::Exec(command) => execute(command, pid, within).await,
            }
        };
        // A command has the same time, and is killed after it; this is for the others.
        let late = Duration::from_millis(500);
        let within = if self.is_of_one_worker() { within + late } else { within };
        time::timeout(within, over_network)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", within.as_millis())))
    }
}

fn http(url: &str) -> Result<Probe, ProbeError> {
    if url.starts_with('/') {
        return Ok(Probe::Http { at: None, path: url.to_owned() });
    }
    if url.starts_with("https://") {
        return Err(ProbeError::Https(url.to_owned()));
    }
    let wrong = || ProbeError::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let unspeakable = |c: char| c.is_whitespace() || c.is_control() || c == '@';
    if host.is_empty() || host.contains(unspeakable) || path.contains(unspeakable) {
        return Err(wrong());
    }
    let at = if has_port(host) { host.to_owned() } else { format!("{host}:80") };
    Ok(Probe::Http { at: Some(at), path: path.to_owned() })
}

/// A name, an address, or one of IPv6 in brackets, and a port.
fn has_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let plain = !host.is_empty() && (!host.contains(':') || host.ends_with(']'));
    plain && port.parse::<u16>().is_ok_and(|port| port != 0)
}

pub(super) fn address(at: Option<&str>, port: Option<SocketAddr>) -> Result<String, String> {
    let first = || port.map(|address| reachable(address).to_string());
    at.map(str::to_owned).or_else(first).ok_or_else(|| "it does not listen on any port".to_owned())
}

/// Who listens on all addresses is asked on the machine's own.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let own: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(own, address.port())
}

pub(super) async fn connect(address: &str) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|error| format!("{address} cannot be connected to: {error}"))
}

async fn get(address: &str, path: &str) -> Result<(), String> {
    let stream = connect(address).await?;
    ask(stream, address, path).await
}

pub(super) async fn ask(mut stream: TcpStream, address: &str, path: &str) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tine/{version}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    let asked = stream.write_all(request.as_bytes()).await;
    asked.map_err(|error| format!("{address} did not take the request: {error}"))?;
    let status = status(&mut stream).await;
    let status = status.map_err(|error| format!("{address} gave no answer: {error}"))?;
    finish(stream).await;
    match status {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {path} was answered with {status}")),
        None => Err(format!("{address} does not answer in HTTP")),
    }
}

/// The number in the first line, `HTTP/1.1 200 OK`; `None` if that is something else.
async fn status(stream: &mut TcpStream) -> io::Result<Option<u16>> {
    const ENOUGH: usize = 13;
    let mut line = Vec::with_capacity(1024);
    while line.len() < ENOUGH && !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await? == 0 {
            return if line.is_empty() {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(None)
            };
        }
    }
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    Ok(words.next().and_then(|word| word.parse().ok()).filter(|_| is_http))
}

/// A server that is cut off in the middle of an answer may count that as a fault. A short answer is read
/// to its end.
async fn finish(mut stream: TcpStream) {
    const LONG: usize = 64 << 10;
    const PATIENCE: Duration = Duration::from_millis(100);
    let read = async {
        let mut room = [0; 4096];
        let mut length = 0;
        while length < LONG {
            match stream.read(&mut room).await {
                Ok(0) | Err(_) => return,
                Ok(more) => length += more,
            }
        }
    };
    // What is longer, or never ends, is cut off after all.
    let _ = time::timeout(PATIENCE, read).await;
}

async fn execute(command: &Command, pid: Pid, within: Duration) -> Result<(), String> {
    let mut command = command.clone();
    let pid = pid.as_raw_pid().to_string();
    command.env.retain(|(name, _)| name != "TINE_WORKER_PID");
    command.env.push((OsString::from("TINE_WORKER_PID"), pid.into()));
    let outcome = command::run(&command, within).await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&outcome.output);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    let said = line.map(|line| format!(": {}", line.chars().take(200).collect::<String>()));
    match outcome.code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("the check ended with code {code}{}", said.unwrap_or_default())),
        None => Err("the check was killed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
