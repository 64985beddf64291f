//! From a socket to the processes that hold it, over `/proc/PID/fd`.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    hash::BuildHasher,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use rustix::process::Pid;

use crate::foreign;

use super::{
    InetListener, Inode, SockDiagError, Transport, UnixName, tcp_listeners, udp_listeners,
    unix_listeners,
};

/// A process as a person knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessName {
    /// To print; to act on the process, open a pidfd.
    pub pid: Pid,
    /// The name of its program, such as `node`.
    pub name: String,
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// A listening socket with one of the processes that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The socket; the same in several holders when processes share it.
    pub inode: Inode,
    /// `None` when no process that this user may look into holds it.
    pub process: Option<ProcessName>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => process.fmt(f),
            None => f.write_str("a process that this user may not see"),
        }
    }
}

/// Who stands in the way of listening on `address`: the holders of every socket there whose
/// address is the same or covers it (`0.0.0.0`, a dual-stack `[::]`), or that it would cover.
///
/// A socket nobody visible holds is told once, without a process.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn who_listens(
    transport: Transport,
    address: SocketAddr,
) -> Result<Vec<Holder>, SockDiagError> {
    let listeners = match transport {
        Transport::Tcp => tcp_listeners(Some(address.port())),
        Transport::Udp => udp_listeners(Some(address.port())),
    }?;
    let inodes = listeners.iter().filter(|l| overlap(l, address.ip())).map(|l| l.inode).collect();
    Ok(with_processes(&inodes))
}

/// Who listens on the UNIX socket that was bound as `path`, in these very letters.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn who_listens_at(path: &Path) -> Result<Vec<Holder>, SockDiagError> {
    let here = |name: &UnixName| match name {
        UnixName::Path(bound) => bound == path,
        UnixName::Abstract(_) | UnixName::None => false,
    };
    let listeners = unix_listeners()?;
    Ok(with_processes(&listeners.iter().filter(|l| here(&l.name)).map(|l| l.inode).collect()))
}

/// The processes that hold each of `inodes`, as far as this user may look into them.
///
/// Walks all of `/proc`; costs about a millisecond for every thousand open descriptors.
#[must_use]
pub fn holders_of<S: BuildHasher>(inodes: &HashSet<Inode, S>) -> HashMap<Inode, Vec<ProcessName>> {
    let mut found: HashMap<Inode, Vec<ProcessName>> = HashMap::new();
    for pid in processes() {
        let held: HashSet<Inode> =
            inodes_of(pid).into_iter().flatten().filter(|inode| inodes.contains(inode)).collect();
        if held.is_empty() {
            continue;
        }
        let process = ProcessName { pid, name: process_name(pid).unwrap_or_else(|_| "?".into()) };
        for inode in held {
            found.entry(inode).or_default().push(process.clone());
        }
    }
    found
}

/// The sockets that a process has open, each as often as it has descriptors for it.
///
/// # Errors
///
/// `EACCES` when this user may not look into the process, `ENOENT` when there is none.
pub fn inodes_of(pid: Pid) -> io::Result<Vec<Inode>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(targets.filter_map(|target| socket_inode(&target)).collect())
}

/// The name of a process's program, at most 15 bytes: what `ps -o comm` shows.
///
/// Newer Node renames its main thread to `MainThread` or `node-MainThread`; there it is the
/// last part of the program's path.
///
/// # Errors
///
/// `ENOENT` when there is no such process, `EACCES` under `hidepid`.
pub fn process_name(pid: Pid) -> io::Result<String> {
    let comm = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/comm"))?).trim().to_owned();
    if !comm.ends_with("MainThread") {
        return Ok(comm);
    }
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = command.split(|byte| *byte == 0 || *byte == b' ').next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Ok(if name.is_empty() { comm } else { String::from_utf8_lossy(name).into_owned() })
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn socket_inode(target: &Path) -> Option<Inode> {
    let inode = foreign::inode_of_link(target.to_str()?)?;
    u32::try_from(inode).ok().map(Inode)
}

fn with_processes(inodes: &HashSet<Inode>) -> Vec<Holder> {
    if inodes.is_empty() {
        return Vec::new();
    }
    let mut processes = holders_of(inodes);
    let mut holders = Vec::new();
    for inode in inodes.iter().copied() {
        let known = processes.remove(&inode).unwrap_or_default();
        if known.is_empty() {
            holders.push(Holder { inode, process: None });
        }
        holders.extend(known.into_iter().map(|process| Holder { inode, process: Some(process) }));
    }
    holders.sort_by_key(|holder| {
        (holder.inode, holder.process.as_ref().map(|p| p.pid.as_raw_nonzero()))
    });
    holders
}

/// Whether a bind to `ip` on the listener's port would meet the listener.
fn overlap(listener: &InetListener, ip: IpAddr) -> bool {
    let held = listener.address.ip().to_canonical();
    let dual = matches!(held, IpAddr::V6(v6) if v6.is_unspecified()) && !listener.v6only;
    match (held, ip.to_canonical()) {
        (IpAddr::V4(held), IpAddr::V4(ip)) => held == ip || any(held) || any(ip),
        (IpAddr::V6(held), IpAddr::V6(ip)) => {
            held == ip || held.is_unspecified() || ip.is_unspecified()
        }
        (IpAddr::V6(_), IpAddr::V4(_)) => dual,
        // Whether the new socket will be dual-stack is not known: assume the default.
        (IpAddr::V4(_), IpAddr::V6(ip)) => ip.is_unspecified(),
    }
}

fn any(ip: Ipv4Addr) -> bool {
    ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, v6only: bool) -> InetListener {
        InetListener {
            transport: Transport::Tcp,
            address: address.parse().unwrap(),
            v6only,
            inode: Inode(1),
            cookie: 1,
            uid: 0,
            queue: 0,
            backlog: 0,
        }
    }

    #[test]
    fn addresses_that_a_bind_would_meet_overlap() {
        let meets =
            |held: &str, v6only, ip: &str| overlap(&listener(held, v6only), ip.parse().unwrap());
        assert!(meets("127.0.0.1:80", false, "127.0.0.1"));
        assert!(meets("127.0.0.1:80", false, "0.0.0.0"));
        assert!(meets("0.0.0.0:80", false, "127.0.0.1"));
        assert!(meets("[::]:80", false, "127.0.0.1"));
        assert!(meets("[::]:80", false, "::1"));
        assert!(meets("0.0.0.0:80", false, "::"));
        assert!(!meets("[::]:80", true, "127.0.0.1"));
        assert!(!meets("127.0.0.1:80", false, "127.0.0.2"));
        assert!(!meets("[::1]:80", false, "127.0.0.1"));
        assert!(!meets("127.0.0.1:80", false, "::1"));
    }
}
