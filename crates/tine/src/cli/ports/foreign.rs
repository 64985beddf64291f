//! Listeners that no manager of this user knows.

use std::{collections::HashSet, path::Path};

use tine_linux::sock_diag::{
    InetListener, Inode, ProcessName, SockDiagError, Transport, UnixListener, UnixName, holders_of,
    tcp_listeners, udp_listeners, unix_listeners,
};

use crate::api::{ForeignListener, ForeignProcess, Kind, ListenerReport, PortsReport};

/// One socket as the kernel tells it.
struct Socket {
    address: String,
    kind: Kind,
    inode: Inode,
    uid: Option<u32>,
    queue: u32,
}

/// All listening TCP and UDP sockets, with `unix` also paths, but those of `managers`.
///
/// Sockets of one address and the same processes, such as a group of nginx workers, are one entry.
pub(super) fn listeners(
    managers: &[PortsReport],
    unix: bool,
) -> Result<Vec<ForeignListener>, SockDiagError> {
    let mut sockets: Vec<Socket> =
        tcp_listeners(None)?.into_iter().chain(udp_listeners(None)?).map(|l| inet(&l)).collect();
    if unix {
        sockets.extend(unix_listeners()?.into_iter().map(|l| path(&l)));
    }
    let inodes: HashSet<Inode> = sockets.iter().map(|socket| socket.inode).collect();
    let mut holders = holders_of(&inodes);
    let hidden = hidden(managers);
    let mut found = Vec::new();
    for socket in sockets {
        let processes = holders.remove(&socket.inode).unwrap_or_default();
        if !is_managed(&socket, &processes, managers, &hidden) {
            found.push(foreign(socket, &processes));
        }
    }
    Ok(merged(found))
}

/// A manager holds a duplicate of each of its seats: a socket of its address that it does not hold
/// is a stranger's, even in the same group. Where nobody's descriptors can be seen, or the manager's
/// cannot (it has capabilities of its file, so its `/proc` entries are root's), the address decides.
fn is_managed(
    socket: &Socket,
    processes: &[ProcessName],
    managers: &[PortsReport],
    hidden: &HashSet<u32>,
) -> bool {
    managers.iter().any(|manager| {
        let here = |listener: &ListenerReport| {
            listener.kind == socket.kind && is_same(&listener.address, socket)
        };
        let holds = |process: &ProcessName| {
            u32::try_from(process.pid.as_raw_nonzero().get()) == Ok(manager.manager_pid)
        };
        let unseen = || processes.is_empty() || hidden.contains(&manager.manager_pid);
        manager.listeners.iter().any(here) && (unseen() || processes.iter().any(holds))
    })
}

/// The managers whose descriptors this user may not see.
fn hidden(managers: &[PortsReport]) -> HashSet<u32> {
    let pids = managers.iter().map(|manager| manager.manager_pid);
    let is_hidden = |pid: &u32| {
        let seen = std::fs::read_dir(format!("/proc/{pid}/fd"));
        seen.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    pids.filter(is_hidden).collect()
}

/// The kernel tells a UNIX path as the program wrote it, which may be the end of the whole path.
fn is_same(managed: &str, socket: &Socket) -> bool {
    let paths = managed.strip_prefix("unix:").zip(socket.address.strip_prefix("unix:"));
    managed == socket.address
        || paths.is_some_and(|(whole, told)| !told.is_empty() && Path::new(whole).ends_with(told))
}

fn inet(listener: &InetListener) -> Socket {
    let kind = match listener.transport {
        Transport::Tcp => Kind::Tcp,
        Transport::Udp => Kind::Udp,
    };
    let InetListener { address, inode, uid, queue, .. } = *listener;
    Socket { address: address.to_string(), kind, inode, uid: Some(uid), queue }
}

fn path(listener: &UnixListener) -> Socket {
    let address = match &listener.name {
        UnixName::Path(_) | UnixName::Abstract(_) => format!("unix:{}", listener.name),
        UnixName::None => "unix:".into(),
    };
    let UnixListener { inode, queue, .. } = *listener;
    Socket { address, kind: Kind::Unix, inode, uid: None, queue }
}

fn foreign(socket: Socket, processes: &[ProcessName]) -> ForeignListener {
    let mut processes: Vec<ForeignProcess> = processes
        .iter()
        .map(|p| ForeignProcess { pid: p.pid.as_raw_nonzero().get(), name: p.name.clone() })
        .collect();
    processes.sort_by_key(|process| process.pid);
    let Socket { address, kind, inode: _, uid, queue } = socket;
    ForeignListener { address, kind, uid, queue, processes }
}

fn merged(mut found: Vec<ForeignListener>) -> Vec<ForeignListener> {
    found.sort_by(|a, b| order(a).cmp(&order(b)));
    found.dedup_by(|next, kept| {
        let same = (next.kind, &next.address, next.uid, &next.processes)
            == (kept.kind, &kept.address, kept.uid, &kept.processes);
        if same {
            kept.queue = kept.queue.saturating_add(next.queue);
        }
        same
    });
    found
}

/// By kind, then port as a number, then the rest of the address.
fn order(listener: &ForeignListener) -> (&str, u16, &str, Option<i32>) {
    let port = listener.address.rsplit(':').next().and_then(|port| port.parse().ok());
    let first = listener.processes.first().map(|process| process.pid);
    (listener.kind.word(), port.unwrap_or(0), &listener.address, first)
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;
    use tine_cluster::policy::{Acquisition, Mechanism, Policy};

    use super::*;

    fn manager(pid: u32, kind: Kind, address: &str) -> PortsReport {
        let listener = ListenerReport {
            address: address.into(),
            kind,
            policy: Policy::Shared,
            mechanism: Mechanism::OneQueue,
            degraded: false,
            acquisition: Acquisition::BindTrap,
            seats: Vec::new(),
        };
        PortsReport { manager_pid: pid, app: "a".into(), listeners: vec![listener] }
    }

    fn socket(kind: Kind, address: &str) -> Socket {
        Socket { address: address.into(), kind, inode: Inode(1), uid: None, queue: 0 }
    }

    fn held_by(pid: i32) -> Vec<ProcessName> {
        vec![ProcessName { pid: Pid::from_raw(pid).unwrap(), name: "p".into() }]
    }

    #[test]
    fn a_stranger_on_a_managers_address_stays_a_stranger() {
        let managers = [manager(7, Kind::Tcp, "0.0.0.0:80")];
        let here = socket(Kind::Tcp, "0.0.0.0:80");
        let managed = |socket: &Socket, by: &[ProcessName]| {
            is_managed(socket, by, &managers, &HashSet::new())
        };
        assert!(managed(&here, &held_by(7)));
        assert!(!managed(&here, &held_by(8)));
        assert!(managed(&here, &[]), "descriptors that nobody may see");
        assert!(!managed(&socket(Kind::Udp, "0.0.0.0:80"), &held_by(7)));
        assert!(!managed(&socket(Kind::Tcp, "0.0.0.0:8"), &held_by(7)));
    }

    #[test]
    fn the_workers_of_a_manager_that_hides_what_it_holds_are_no_strangers() {
        let managers = [manager(7, Kind::Tcp, "0.0.0.0:80"), manager(9, Kind::Tcp, "0.0.0.0:81")];
        let managed = |address: &str| {
            let socket = socket(Kind::Tcp, address);
            is_managed(&socket, &held_by(8), &managers, &HashSet::from([7]))
        };
        assert!(managed("0.0.0.0:80"));
        assert!(!managed("0.0.0.0:81"));
        assert!(!managed("0.0.0.0:82"));
    }

    #[test]
    fn a_relative_unix_path_is_known_by_its_end() {
        let managers = [manager(7, Kind::Unix, "unix:/srv/app/run/web.sock")];
        let managed = |told: &str| {
            is_managed(&socket(Kind::Unix, told), &held_by(7), &managers, &HashSet::new())
        };
        assert!(managed("unix:/srv/app/run/web.sock"));
        assert!(managed("unix:run/web.sock"));
        assert!(!managed("unix:eb.sock"));
        assert!(!managed("unix:"));
    }

    #[test]
    fn a_group_of_the_same_processes_is_one_entry_with_all_its_queue() {
        let one = |pid, queue| {
            let socket = Socket { queue, ..socket(Kind::Tcp, "[::]:80") };
            foreign(socket, &held_by(pid))
        };
        let found = merged(vec![one(1, 2), one(2, 0), one(1, 3)]);
        let told: Vec<_> = found.iter().map(|f| (f.processes[0].pid, f.queue)).collect();
        assert_eq!(told, [(1, 5), (2, 0)]);
    }
}
