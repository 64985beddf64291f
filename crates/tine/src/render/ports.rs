//! `tine ports`.

use std::collections::BTreeMap;

use super::{Screen, harmless};
use crate::api::{
    ForeignListener, ForeignProcess, Kind, ListenerReport, PortsReport, PortsView, SeatReport,
    UnreachableManager,
};

/// Managed listeners with a line a seat, then managers that do not answer, then everybody else.
#[must_use]
pub fn ports(view: &PortsView, screen: Screen) -> String {
    let mut parts = Vec::new();
    if view.managers.iter().any(|manager| !manager.listeners.is_empty()) {
        parts.push(managed(&view.managers, screen));
    }
    if view.managers.iter().any(|manager| manager.listeners.iter().any(|l| l.degraded)) {
        parts.push(screen.paint("33", DEGRADED) + "\n");
    }
    if !view.unreachable.is_empty() {
        parts.push(view.unreachable.iter().map(|manager| unreachable(manager, screen)).collect());
    }
    if !view.foreign.is_empty() {
        parts.push(foreign(&view.foreign, screen));
    }
    if parts.is_empty() {
        return "nothing listens, as far as this user may see\n".into();
    }
    parts.join("\n")
}

const DEGRADED: &str =
    "* the policy asked for is not to be had by this user: `tine doctor` says why";

const MANAGED: [&str; 8] =
    ["LISTENER", "APP", "POLICY", "INSTANCE", "PID", "CONNECTIONS", "QUEUE", "STATE"];

pub(super) fn managed(managers: &[PortsReport], screen: Screen) -> String {
    let mut table = screen.table(&MANAGED);
    for manager in managers {
        for listener in &manager.listeners {
            for row in rows(&manager.app, listener) {
                table.add_row(row);
            }
        }
    }
    screen.lines(&mut table)
}

/// The listener is named on its first line only; without seats it has one line all the same.
fn rows(app: &str, listener: &ListenerReport) -> Vec<[String; 8]> {
    let star = if listener.degraded { "*" } else { "" };
    let head = [
        socket(&listener.address, listener.kind),
        harmless(app),
        format!("{}{star}, {}", listener.policy, listener.mechanism),
    ];
    let mut heads = std::iter::once(head);
    let mut rows: Vec<[String; 8]> =
        listener.seats.iter().map(|seat| row(heads.next(), Some(seat))).collect();
    if rows.is_empty() {
        rows.push(row(heads.next(), None));
    }
    rows
}

fn row(head: Option<[String; 3]>, seat: Option<&SeatReport>) -> [String; 8] {
    let [listener, app, policy] = head.unwrap_or_default();
    let Some(seat) = seat else {
        let state = "no worker has bound it".into();
        return [listener, app, policy, dash(), dash(), dash(), dash(), state];
    };
    [
        listener,
        app,
        policy,
        seat.instance.to_string(),
        or_dash(seat.pid),
        or_dash(seat.connections),
        or_dash(seat.queue),
        seat.state.word().to_owned(),
    ]
}

fn unreachable(manager: &UnreachableManager, screen: Screen) -> String {
    let sentence = format!(
        "the manager with pid {} does not answer on {}: {}",
        manager.manager_pid,
        harmless(&manager.socket),
        harmless(&manager.reason)
    );
    screen.paint("33", &sentence) + "\n"
}

fn foreign(listeners: &[ForeignListener], screen: Screen) -> String {
    let mut table = screen.table(&["OTHER LISTENER", "PROCESS", "PID", "QUEUE"]);
    for listener in listeners {
        let mut head = Some((socket(&listener.address, listener.kind), listener.queue.to_string()));
        for (name, pids) in by_name(&listener.processes) {
            let (address, queue) = head.take().unwrap_or_default();
            table.add_row([address, name, pids, queue]);
        }
        if let Some((address, queue)) = head {
            table.add_row([address, "not visible from here".into(), dash(), queue]);
        }
    }
    screen.lines(&mut table)
}

/// Each program once, with its pids.
fn by_name(processes: &[ForeignProcess]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for process in processes {
        let pids = found.entry(harmless(&process.name)).or_default();
        let space = if pids.is_empty() { "" } else { " " };
        pids.extend([space, &process.pid.to_string()]);
    }
    found
}

/// `tcp 0.0.0.0:80`; a UNIX address says its kind itself.
fn socket(address: &str, kind: Kind) -> String {
    let address = harmless(address);
    match kind {
        Kind::Tcp | Kind::Udp => format!("{} {address}", kind.word()),
        Kind::Unix => address,
    }
}

fn dash() -> String {
    "-".into()
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use tine_cluster::policy::{Acquisition, Mechanism, Policy};

    use super::*;
    use crate::api::{SeatState, VERSION};

    const WIDE: Screen = Screen { width: None, colour: false };

    fn seat(instance: u32, pid: Option<i32>, state: SeatState) -> SeatReport {
        SeatReport {
            worker: pid.map(|_| instance + 1),
            instance,
            pid,
            connections: pid.map(|_| 1000),
            queue: Some(instance),
            state,
        }
    }

    fn view() -> PortsView {
        let listener = ListenerReport {
            address: "0.0.0.0:8003".into(),
            kind: Kind::Tcp,
            policy: Policy::Rr,
            mechanism: Mechanism::KernelEbpf,
            degraded: false,
            acquisition: Acquisition::BindTrap,
            seats: vec![
                seat(0, Some(4712), SeatState::InRotation),
                seat(1, Some(4713), SeatState::Draining),
                seat(2, None, SeatState::Waiting),
            ],
        };
        let report =
            PortsReport { manager_pid: 4711, app: "hello".into(), listeners: vec![listener] };
        let process = |pid, name: &str| ForeignProcess { pid, name: name.into() };
        let foreign = |address: &str, kind, processes| ForeignListener {
            address: address.into(),
            kind,
            uid: Some(0),
            queue: 0,
            processes,
        };
        PortsView {
            version: VERSION,
            managers: vec![report],
            unreachable: Vec::new(),
            foreign: vec![
                foreign(
                    "[::]:80",
                    Kind::Tcp,
                    vec![process(9, "nginx"), process(10, "nginx"), process(8, "sh")],
                ),
                foreign("127.0.0.1:53", Kind::Udp, Vec::new()),
            ],
        }
    }

    #[test]
    fn seats_and_strangers_are_shown_in_one_look() {
        let expected = "\
LISTENER          APP    POLICY           INSTANCE  PID   CONNECTIONS  QUEUE  STATE
tcp 0.0.0.0:8003  hello  rr, kernel-ebpf  0         4712  1000         0      in-rotation
                                          1         4713  1000         1      draining
                                          2         -     -            2      waiting

OTHER LISTENER    PROCESS                PID   QUEUE
tcp [::]:80       nginx                  9 10  0
                  sh                     8
udp 127.0.0.1:53  not visible from here  -     0
";
        assert_eq!(ports(&view(), WIDE), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = ports(&view(), Screen { width: Some(60), colour: false });
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("4713"));
    }

    #[test]
    fn without_colour_nothing_is_there_that_a_terminal_obeys() {
        let mut view = view();
        view.foreign[0].processes[0].name = "evil\x1b[2J\n".into();
        assert!(!ports(&view, WIDE).contains('\x1b'));
        let coloured = ports(&view, Screen { width: None, colour: true });
        assert!(coloured.starts_with("\x1b[1mLISTENER") && !coloured.contains("\x1b[2J"));
    }

    #[test]
    fn a_degraded_policy_and_a_silent_manager_are_pointed_out() {
        let mut view = view();
        view.foreign.clear();
        view.managers[0].listeners[0].seats.clear();
        view.managers[0].listeners[0].degraded = true;
        view.unreachable = vec![UnreachableManager {
            manager_pid: 7,
            socket: "/run/7.sock".into(),
            reason: "no answer within 500 ms".into(),
        }];
        let expected = "\
LISTENER          APP    POLICY            INSTANCE  PID  CONNECTIONS  QUEUE  STATE
tcp 0.0.0.0:8003  hello  rr*, kernel-ebpf  -         -    -            -      no worker has bound it

* the policy asked for is not to be had by this user: `tine doctor` says why

the manager with pid 7 does not answer on /run/7.sock: no answer within 500 ms
";
        assert_eq!(ports(&view, WIDE), expected);
    }

    #[test]
    fn an_empty_host_is_told_in_words() {
        let view =
            PortsView { version: VERSION, managers: vec![], unreachable: vec![], foreign: vec![] };
        assert!(ports(&view, WIDE).starts_with("nothing listens"));
    }
}
