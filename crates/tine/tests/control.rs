//! The control socket, with clients that do everything wrong.
#![forbid(unsafe_code)]

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tine::{
    api::{PortsReport, Request, Response},
    control::{AskError, ControlSocket, Question, ask, ask_all, serve},
    home::{Home, HomeError, ManagerSocket, RunDir},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::mpsc,
    task::JoinHandle,
};

const SOON: Duration = Duration::from_secs(5);

/// A directory of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tine-control-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a name of this test's own");
        Self(path)
    }

    fn run_dir(&self) -> RunDir {
        Home::at(self.0.clone()).run_dir().expect("a fresh directory is private")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn report(app: &str) -> PortsReport {
    PortsReport { manager_pid: std::process::id(), app: app.into(), listeners: Vec::new() }
}

/// A manager that answers every question, until the task is aborted.
fn manager(directory: &RunDir) -> (ManagerSocket, JoinHandle<()>) {
    let (questions, mut asked) = mpsc::channel::<Question>(1);
    let socket = ControlSocket::open(directory).expect("the directory is private");
    let address = socket.address().clone();
    tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            let _ = question.answer.send(Response::Ports(report("hello")));
        }
    });
    (address, tokio::spawn(serve(socket, questions)))
}

async fn client(address: &ManagerSocket) -> BufReader<UnixStream> {
    let mut client =
        BufReader::new(UnixStream::connect(&address.path).await.expect("the manager listens"));
    let hello = read(&mut client).await;
    assert_eq!(hello, format!(r#"{{"hello":"tine","version":1,"manager_pid":{}}}"#, address.pid));
    client
}

async fn read(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(SOON, client.read_line(&mut line)).await;
    read.expect("an answer in time").expect("a line of text");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn malformed_bytes_get_an_error_line_and_the_next_request_an_answer() {
    let scratch = Scratch::new();
    let (address, _server) = manager(&scratch.run_dir());
    let mut client = client(&address).await;
    for nonsense in [&b"\xff\xfe\x00"[..], b"{", b"[]", b"{\"request\":\"explode\"}", b""] {
        client.write_all(nonsense).await.unwrap();
        client.write_all(b"\n").await.unwrap();
        let answer = read(&mut client).await;
        assert!(
            answer.starts_with(r#"{"response":"error","body":"this is no request: "#),
            "{answer}"
        );
    }
    client.write_all(b"{\"request\":\"ports\"}\n").await.unwrap();
    let answer: Response = serde_json::from_str(&read(&mut client).await).unwrap();
    assert_eq!(answer, Response::Ports(report("hello")));
}

#[tokio::test]
async fn a_line_without_end_is_cut_off_and_others_are_served_meanwhile() {
    let scratch = Scratch::new();
    let (address, _server) = manager(&scratch.run_dir());
    let mut bad = client(&address).await;
    let mut silent = client(&address).await;
    // The manager closes in the middle of it: the rest may find nobody.
    let _ = bad.write_all(&vec![b'x'; 1 << 20]).await;
    assert_eq!(
        read(&mut bad).await,
        r#"{"response":"error","body":"a line is longer than 4096 bytes"}"#
    );
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, bad.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(rest, b"");
    ask(&address, Request::Ports, SOON).await.unwrap();
    silent.write_all(b"{\"request\":\"ports\"}\n").await.unwrap();
    assert!(read(&mut silent).await.contains("hello"));
}

#[tokio::test]
async fn two_clients_have_their_own_conversations() {
    let scratch = Scratch::new();
    let (address, _server) = manager(&scratch.run_dir());
    let (mut one, mut two) = (client(&address).await, client(&address).await);
    one.write_all(b"{\"request\":").await.unwrap();
    two.write_all(b"nonsense\n").await.unwrap();
    assert!(read(&mut two).await.contains("error"));
    one.write_all(b"\"ports\"}\n").await.unwrap();
    assert!(read(&mut one).await.contains("hello"));
}

#[tokio::test]
async fn of_many_clients_those_beyond_the_limit_wait_until_others_have_gone() {
    let scratch = Scratch::new();
    let (address, _server) = manager(&scratch.run_dir());
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(client(&address).await);
    }
    let moment = Duration::from_millis(100);
    assert!(matches!(ask(&address, Request::Ports, moment).await, Err(AskError::TooLate(_))));
    drop(idle);
    ask(&address, Request::Ports, SOON).await.unwrap();
}

#[tokio::test]
async fn a_manager_that_is_stopping_says_so() {
    let scratch = Scratch::new();
    let (questions, mut asked) = mpsc::channel::<Question>(1);
    let socket = ControlSocket::open(&scratch.run_dir()).unwrap();
    let address = socket.address().clone();
    let _server = tokio::spawn(serve(socket, questions));
    let loses_it = async { drop(asked.recv().await) };
    let (answer, ()) = tokio::join!(ask(&address, Request::Ports, SOON), loses_it);
    assert!(matches!(answer, Err(AskError::Refused(reason)) if reason.contains("stopping")));
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_its_server() {
    let scratch = Scratch::new();
    let (address, server) = manager(&scratch.run_dir());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(address.path.clone()), 0o600);
    assert_eq!(mode(scratch.0.join("run")), 0o700);
    server.abort();
    let _ = server.await;
    assert!(!address.path.exists());
}

#[tokio::test]
async fn the_socket_goes_when_nobody_takes_questions_any_more() {
    let scratch = Scratch::new();
    let (questions, asked) = mpsc::channel(1);
    let socket = ControlSocket::open(&scratch.run_dir()).unwrap();
    let address = socket.address().clone();
    drop(asked);
    tokio::time::timeout(SOON, serve(socket, questions)).await.unwrap();
    assert!(!address.path.exists());
}

#[tokio::test]
async fn what_a_dead_process_of_this_pid_left_is_replaced_and_a_live_one_is_not() {
    let scratch = Scratch::new();
    let directory = scratch.run_dir();
    let own = directory.socket_of(std::process::id());
    drop(std::os::unix::net::UnixListener::bind(&own.path).unwrap());
    let (address, _server) = manager(&directory);
    ask(&address, Request::Ports, SOON).await.unwrap();
    let error = ControlSocket::open(&directory).unwrap_err();
    assert!(error.to_string().contains("another manager with pid"), "{error}");
    ask(&address, Request::Ports, SOON).await.unwrap();
}

#[tokio::test]
async fn a_hung_manager_is_told_and_a_dead_one_is_cleaned_up() {
    let scratch = Scratch::new();
    let directory = scratch.run_dir();
    let (answering, _server) = manager(&directory);
    let hung = directory.socket_of(1);
    let _never_accepts = std::os::unix::net::UnixListener::bind(&hung.path).unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = directory.socket_of(child.id());
    drop(std::os::unix::net::UnixListener::bind(&dead.path).unwrap());
    let patience = Duration::from_millis(200);
    let answers = ask_all(&directory, Request::Ports, patience).await.unwrap();
    let [late, good] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(late.manager, hung);
    assert!(matches!(late.result, Err(AskError::TooLate(waited)) if waited == patience));
    assert_eq!(good.manager, answering);
    assert!(matches!(&good.result, Ok(Response::Ports(_))));
    assert!(!dead.path.exists());
}

#[tokio::test]
async fn a_socket_that_speaks_something_else_is_not_believed() {
    let scratch = Scratch::new();
    let stranger = scratch.run_dir().socket_of(std::process::id());
    let listener = tokio::net::UnixListener::bind(&stranger.path).unwrap();
    let words =
        ["HTTP/1.1 200 OK\n", "{\"hello\":\"tine\",\"version\":99,\"manager_pid\":1}\n", ""];
    let speaks = tokio::spawn(async move {
        for words in words {
            let (mut client, _) = listener.accept().await.expect("a client comes");
            client.write_all(words.as_bytes()).await.expect("the client listens");
        }
    });
    let say = || ask(&stranger, Request::Ports, SOON);
    assert!(matches!(say().await, Err(AskError::Malformed(_))));
    assert!(matches!(say().await, Err(AskError::Version(99))));
    assert!(matches!(say().await, Err(AskError::Io(_))));
    speaks.await.unwrap();
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    for (open, mode) in [("run", 0o770), ("run", 0o707), (".", 0o777)] {
        let scratch = Scratch::new();
        scratch.run_dir();
        let path = scratch.0.join(open);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let home = Home::at(scratch.0.clone());
        for error in [home.run_dir().unwrap_err(), home.run_dir_if_there().unwrap_err()] {
            assert!(matches!(error, HomeError::Open { .. }), "{error}");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
    }
}

#[test]
fn a_link_or_a_file_in_place_of_the_directory_is_refused() {
    let scratch = Scratch::new();
    let home = Home::at(scratch.0.clone());
    let elsewhere = Scratch::new();
    symlink(&elsewhere.0, scratch.0.join("run")).unwrap();
    assert!(matches!(home.run_dir(), Err(HomeError::NoDirectory { .. })));
    fs::remove_file(scratch.0.join("run")).unwrap();
    fs::write(scratch.0.join("run"), "").unwrap();
    assert!(matches!(home.run_dir(), Err(HomeError::NoDirectory { .. })));
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let scratch = Scratch::new();
    scratch.run_dir();
    // Only root can give a directory away; another user owns `/` less than anybody.
    let home = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(scratch.0.join("run"), Some(65_534), None).unwrap();
        Home::at(scratch.0.clone())
    } else {
        Home::at("/".into())
    };
    assert!(matches!(home.run_dir_if_there(), Err(HomeError::Owner { .. })));
}

#[test]
fn where_no_manager_ever_ran_nothing_is_made() {
    let scratch = Scratch::new();
    let home = Home::at(scratch.0.join("none"));
    assert_eq!(home.run_dir_if_there().unwrap(), None);
    assert!(!scratch.0.join("none").exists());
}
