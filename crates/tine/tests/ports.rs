//! `tine ports` against sockets of this process.
#![forbid(unsafe_code)]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    process::{Command, Output},
};

use tine::{
    api::{Kind, ListenerReport, PortsReport, PortsView, Response, SeatReport, SeatState},
    control::{ControlSocket, Question, serve},
    home::Home,
};
use tine_cluster::policy::{Acquisition, Mechanism, Policy};
use tokio::sync::mpsc;

struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tine-ports-{}-{test}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a name of this test's own");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tine(home: &Scratch, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tine"))
        .args(args)
        .env("TINE_HOME", &home.0)
        .output()
        .expect("the program is built")
}

fn json(output: &Output) -> PortsView {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the report is JSON of the documented shape")
}

fn own_name() -> String {
    let comm = fs::read_to_string("/proc/self/comm").expect("/proc is mounted");
    comm.trim().to_owned()
}

#[test]
fn a_foreign_listener_is_shown_with_pid_name_and_queue() {
    let home = Scratch::new("foreign");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let _waits = TcpStream::connect(address).unwrap();
    let view = json(&tine(&home, &["ports", "--json"]));
    let found = view.foreign.iter().find(|f| f.address == address.to_string()).unwrap();
    assert_eq!((found.kind, found.queue), (Kind::Tcp, 1));
    // A child of another test may hold it as well, between its fork and its exec.
    let own = i32::try_from(std::process::id()).unwrap();
    let process = found.processes.iter().find(|process| process.pid == own).unwrap();
    assert_eq!(process.name, own_name());
    let text = String::from_utf8(tine(&home, &["ports"]).stdout).unwrap();
    let line = text.lines().find(|line| line.contains(&address.to_string())).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(&words[..3], ["tcp", &address.to_string(), &own_name()]);
    assert!(words.contains(&&std::process::id().to_string()[..]) && words.ends_with(&["1"]));
    assert!(!text.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn unix_sockets_of_others_are_shown_when_asked_for() {
    let home = Scratch::new("unix");
    let path = home.0.join("server.sock");
    let _server = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let shown = |args: &[&str]| {
        json(&tine(&home, args)).foreign.iter().any(|found| found.address == address)
    };
    assert!(shown(&["ports", "--json", "--unix"]));
    assert!(!shown(&["ports", "--json"]));
}

fn managed(address: String) -> PortsReport {
    let seat = SeatReport {
        worker: Some(1),
        instance: 0,
        pid: Some(4242),
        connections: Some(17),
        queue: Some(0),
        state: SeatState::InRotation,
    };
    let listener = ListenerReport {
        address,
        kind: Kind::Tcp,
        policy: Policy::Rr,
        mechanism: Mechanism::KernelEbpf,
        degraded: false,
        acquisition: Acquisition::BindTrap,
        seats: vec![seat],
    };
    PortsReport { manager_pid: std::process::id(), app: "shop".into(), listeners: vec![listener] }
}

#[tokio::test]
async fn a_managers_listener_is_shown_as_its_own_and_a_hung_manager_by_name() {
    let home = Scratch::new("managed");
    let directory = Home::at(home.0.clone()).run_dir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let report = managed(server.local_addr().unwrap().to_string());
    let (questions, mut asked) = mpsc::channel::<Question>(1);
    let socket = ControlSocket::open(&directory).unwrap();
    tokio::spawn(serve(socket, questions));
    let told = report.clone();
    tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            let _ = question.answer.send(Response::Ports(told.clone()));
        }
    });
    let hung = directory.socket_of(1);
    let _never_accepts = std::os::unix::net::UnixListener::bind(&hung.path).unwrap();

    let (home, output) = tokio::task::spawn_blocking(move || {
        let output = tine(&home, &["ports", "--json"]);
        (home, output)
    })
    .await
    .unwrap();
    let view = json(&output);
    assert_eq!(view.managers, std::slice::from_ref(&report));
    let address = &report.listeners[0].address;
    assert!(view.foreign.iter().all(|foreign| &foreign.address != address));
    let [silent] = &view.unreachable[..] else { panic!("{:?}", view.unreachable) };
    assert_eq!((silent.manager_pid, &silent.reason[..]), (1, "no answer within 500 ms"));

    let output = tokio::task::spawn_blocking(move || tine(&home, &["ports"])).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(address)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let expected =
        ["tcp", address, "shop", "rr,", "kernel-ebpf", "0", "4242", "17", "0", "in-rotation"];
    assert_eq!(words, expected);
    assert!(text.contains("the manager with pid 1 does not answer on"));
}

#[test]
fn an_unsafe_home_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let home = Scratch::new("unsafe");
    fs::set_permissions(&home.0, fs::Permissions::from_mode(0o777)).unwrap();
    let output = tine(&home, &["ports"]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("is writable by others (mode 777): run `chmod go-w"), "{sentence}");
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    let home = Scratch::new("usage");
    for args in [&["ports", "--nonsense"][..], &["nonsense"], &[]] {
        let output = tine(&home, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(tine(&home, &["ports", "--help"]).status.code(), Some(0));
    assert_eq!(tine(&home, &["--version"]).status.code(), Some(0));
}
