//! Who holds an address that was refused.

use std::time::Duration;

use rustix::process::geteuid;
use tine_cluster::address::{Endpoint, ListenKey, Transport};
use tine_linux::sock_diag::{self, Holder};

use crate::{
    api::{PortsReport, Request, Response},
    control,
    home::Home,
};

/// How long another manager may take to say what it has.
const PATIENCE: Duration = Duration::from_millis(500);

/// In words: one of these apps, an app of a `tine run`, or a process by pid and name.
pub(crate) async fn of(key: &ListenKey, apps: Vec<PortsReport>) -> String {
    let mut managed = apps;
    managed.extend(managers().await);
    let wanted = key.to_string();
    let ours = managed
        .iter()
        .find(|report| report.listeners.iter().any(|listener| listener.address == wanted));
    if let Some(report) = ours {
        return by_app(report);
    }
    let holders = holders(key);
    let pids = |report: &PortsReport| -> Vec<i32> {
        let seats = report.listeners.iter().flat_map(|listener| &listener.seats);
        seats.filter_map(|seat| seat.pid).collect()
    };
    let held_by = |report: &&PortsReport| {
        let pids = pids(report);
        holders
            .iter()
            .filter_map(|h| h.process.as_ref())
            .any(|p| pids.contains(&p.pid.as_raw_pid()))
    };
    if let Some(report) = managed.iter().find(held_by) {
        return by_app(report);
    }
    by_process(key, &holders)
}

fn by_app(report: &PortsReport) -> String {
    if report.manager_pid == std::process::id() {
        return format!("the app `{}` has it; stop that, or choose another port", report.app);
    }
    format!("tine's app `{}` has it (manager pid {})", report.app, report.manager_pid)
}

fn by_process(key: &ListenKey, holders: &[Holder]) -> String {
    let known = holders.iter().filter_map(|holder| holder.process.as_ref());
    let mut names: Vec<String> = known.map(ToString::to_string).collect();
    names.dedup();
    match (names.as_slice(), &key.endpoint) {
        ([], Endpoint::Path(path)) if holders.is_empty() => {
            format!("a stale file, perhaps; if nobody uses it, remove {}", path.display())
        }
        ([], _) if geteuid().is_root() => {
            "a process that cannot be seen from here, in another container perhaps, has it; stop that, \
             or choose another port"
                .to_owned()
        }
        ([], _) => "a process that this user may not see has it (`sudo tine ports` names it); choose \
                    another port"
            .to_owned(),
        (some, _) => format!("{} has it; stop that, or choose another port", some.join(", ")),
    }
}

fn holders(key: &ListenKey) -> Vec<Holder> {
    let transport = match key.transport {
        Transport::Udp => sock_diag::Transport::Udp,
        Transport::Tcp
        | Transport::UnixStream
        | Transport::UnixSeqPacket
        | Transport::UnixDatagram => sock_diag::Transport::Tcp,
    };
    let found = match &key.endpoint {
        Endpoint::Inet { address, .. } => sock_diag::who_listens(transport, *address),
        Endpoint::Path(path) => sock_diag::who_listens_at(path),
        Endpoint::Abstract(_) => Ok(Vec::new()),
    };
    // Then nobody is known.
    found.unwrap_or_default()
}

async fn managers() -> Vec<PortsReport> {
    let Ok(Ok(Some(directory))) = Home::from_env().map(|home| home.run_dir_if_there()) else {
        return Vec::new();
    };
    let own = std::process::id();
    let mut found = Vec::new();
    for manager in directory.sockets().unwrap_or_default() {
        // This one is busy asking.
        if manager.pid == own {
            continue;
        }
        if let Ok(Response::Ports(report)) = control::ask(&manager, Request::Ports, PATIENCE).await
        {
            found.push(report);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;
    use tine_linux::sock_diag::{Inode, ProcessName};

    use super::*;

    fn holder(name: Option<&str>) -> Holder {
        let process = name.map(|name| ProcessName { pid: Pid::INIT, name: name.into() });
        Holder { inode: Inode(1), process }
    }

    fn told(holders: &[Holder]) -> String {
        let endpoint = Endpoint::inet(([127, 0, 0, 1], 80).into(), false);
        by_process(&ListenKey { transport: Transport::Tcp, endpoint }, holders)
    }

    #[test]
    fn a_holder_is_told_by_name_and_a_hidden_one_is_not_to_be_stopped() {
        let named = "nginx (pid 1) has it; stop that, or choose another port";
        assert_eq!(told(&[holder(Some("nginx"))]), named);
        assert_eq!(told(&[holder(None), holder(Some("nginx")), holder(Some("nginx"))]), named);
        for hidden in [told(&[holder(None)]), told(&[])] {
            let who =
                if geteuid().is_root() { "cannot be seen from here" } else { "may not see has it" };
            assert!(hidden.starts_with("a process that ") && hidden.contains(who), "{hidden}");
            assert!(hidden.ends_with("choose another port"), "{hidden}");
        }
    }
}
