//! Clients, and looks at what processes hold.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use compliance::{Primary, eventually};
use rustix::process::Signal;

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// How long a client waits for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a server says to a client before it closes the connection.
pub(crate) fn tcp(ip: IpAddr, port: u16) -> io::Result<String> {
    all(connect(ip, port)?)
}

pub(crate) fn connect(ip: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

pub(crate) fn all(mut stream: impl Read) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn unix(path: &Path) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    all(stream)
}

/// What comes back for a datagram.
pub(crate) fn udp(ip: IpAddr, port: u16) -> io::Result<String> {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(ip, port))?;
    socket.send(b"who?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// How many sockets of this kind a process holds: those in `/proc/net/KIND` in this state.
pub(crate) fn sockets(pid: u32, kinds: &[&str], state: &str) -> usize {
    let held = held(pid);
    let inode_of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = fields.get(9).and_then(|inode| inode.parse().ok());
        inode.filter(|inode: &u64| fields.get(3) == Some(&state) && held.contains(inode))
    };
    let tables = kinds.iter().map(|kind| fs::read_to_string(format!("/proc/net/{kind}")));
    // A table is read in pieces: where other sockets come and go in between, it may name one twice.
    let found: BTreeSet<u64> = tables
        .flatten()
        .flat_map(|it| it.lines().filter_map(inode_of).collect::<Vec<_>>())
        .collect();
    found.len()
}

/// How many TCP sockets a process listens with.
pub(crate) fn listening_sockets(pid: u32) -> usize {
    sockets(pid, &["tcp", "tcp6"], "0A")
}

fn held(pid: u32) -> BTreeSet<u64> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs and is ours");
    let links = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    links.filter_map(inode).collect()
}

/// The workers' pids, as servers say them.
pub(crate) fn pids(primary: &Primary, workers: &[u32]) -> BTreeSet<String> {
    workers.iter().map(|worker| primary.pid_of(*worker).to_string()).collect()
}

/// Stops a worker for a while, as Ctrl-Z does, and waits until it has stopped.
pub(crate) fn suspend(primary: &Primary, worker: u32) {
    primary.signal(worker, Signal::STOP);
    let pid = primary.pid_of(worker);
    eventually("a worker stops", || stopped(pid));
}

/// Whether all its threads are stopped.
pub(crate) fn stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let texts =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let mut states =
        texts.filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()));
    states.all(|state| state == 'T')
}

/// Ends a load when it is dropped, also by a panic: whoever waits for its threads would wait for ever.
pub(crate) struct UntilDropped<'a>(pub(crate) &'a std::sync::atomic::AtomicBool);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
