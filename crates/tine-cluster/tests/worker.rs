//! The worker's side, with the test in the part of the primary.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

mod peer;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use peer::{Beside, Primary, beside, cluster};
use tine_cluster::{
    wire::native::{Event, Wanted},
    worker::{Options, Worker},
};

fn listens(worker: &Worker, address: &'static str) -> Beside<tine_cluster::worker::Listener> {
    let worker = worker.clone();
    beside(move || worker.listen(address).unwrap())
}

#[test]
fn alone_a_worker_binds_by_itself() {
    let worker = Worker::alone();
    assert!(!worker.is_in_cluster() && !worker.stop_requested());
    worker.ready().unwrap();
    let listener = worker.listen("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, peer) = listener.accept().unwrap().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    let taken = worker.listen(listener.local_addr().unwrap()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
}

#[test]
fn alone_v6only_and_backlog_are_as_asked() {
    let options = Options { backlog: Some(7), v6only: true, ..Options::default() };
    let listener = Worker::alone().listen_with("[::]:0", options).unwrap().into_std().unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect(("::1", port)).unwrap();
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn alone_a_worker_takes_datagrams_and_paths() {
    let worker = Worker::alone();
    let udp = worker.listen_udp("127.0.0.1:0").unwrap();
    assert_ne!(udp.local_addr().unwrap().port(), 0);
    let directory = std::env::temp_dir().join(format!("tine-worker-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("alone.sock");
    let listener = worker.listen_unix(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (mut served, _) = listener.accept().unwrap().unwrap();
    served.write_all(b"hello").unwrap();
    drop(served);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_worker_accepts_from_the_socket_that_it_is_given() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let asked = primary.hear_listen();
    let address = "127.0.0.1:8003".parse().unwrap();
    assert_eq!(asked.wanted, Wanted::Tcp { address, v6only: false });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    primary.say(|session| session.reply_seat(asked.seq, "h1", OwnedFd::from(socket)).unwrap());
    let listener = listening.result();
    assert_eq!(listener.local_addr().unwrap(), address);
    let client = TcpStream::connect(address).unwrap();
    let (_, peer) = listener.accept().unwrap().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn a_stop_wakes_a_worker_that_accepts_and_what_is_queued_comes_first() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let seq = primary.hear_listen().seq;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    primary.say(|session| session.reply_seat(seq, "h1", OwnedFd::from(socket)).unwrap());
    let listener = listening.result();
    let _client = TcpStream::connect(address).unwrap();
    primary.say(|session| session.stop().unwrap());
    let stop = worker.stop();
    beside(move || stop.wait()).result();
    assert!(worker.stop_requested());
    let accepting = beside(move || (listener.accept().unwrap(), listener.accept().unwrap()));
    let (first, second) = accepting.result();
    assert!(first.is_some() && second.is_none());
}

#[test]
fn a_connection_that_is_handed_over_is_answered_for_when_the_program_takes_it() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let seq = primary.hear_listen().seq;
    let address: SocketAddr = "127.0.0.1:8003".parse().unwrap();
    primary.say(|session| session.reply_handed_over(seq, "h1", Some(address)).unwrap());
    let listener = listening.result();
    assert_eq!(listener.local_addr().unwrap(), address);
    let (mut client, connection) = primary.hand_over("h1");
    worker.ready().unwrap();
    assert_eq!(primary.hear(), Some(Event::Ready), "nothing was said of the connection so far");
    let (mut served, peer) = listener.accept().unwrap().unwrap();
    assert_eq!(primary.hear(), Some(Event::Reply { connection, accepted: true }));
    assert_eq!(peer, client.local_addr().unwrap());
    // Blocking, though the primary's share is not: more than fits.
    let text = vec![b'x'; 8 << 20];
    let length = text.len();
    let writing = beside(move || served.write_all(&text));
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    writing.result().unwrap();
    assert_eq!(got.len(), length);
}

#[test]
fn what_a_program_has_not_taken_is_refused_when_it_closes_its_listener() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let seq = primary.hear_listen().seq;
    primary.say(|session| session.reply_handed_over(seq, "h1", None).unwrap());
    let listener = listening.result();
    let (_client, waiting) = primary.hand_over("h1");
    let (_stranger, unknown) = primary.hand_over("never given");
    assert_eq!(primary.hear(), Some(Event::Reply { connection: unknown, accepted: false }));
    drop(listener);
    assert_eq!(primary.hear(), Some(Event::Close { key: "h1".to_owned() }));
    assert_eq!(primary.hear(), Some(Event::Reply { connection: waiting, accepted: false }));
    let (_late, crossing) = primary.hand_over("h1");
    assert_eq!(primary.hear(), Some(Event::Reply { connection: crossing, accepted: false }));
}

#[test]
fn after_a_stop_no_connection_is_taken_and_accept_comes_to_its_end() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let seq = primary.hear_listen().seq;
    primary.say(|session| session.reply_handed_over(seq, "h1", None).unwrap());
    let listener = listening.result();
    let accepting = beside(move || listener.accept().unwrap().is_none());
    primary.say(|session| session.stop().unwrap());
    assert!(accepting.result());
    assert!(worker.stop_requested());
}

#[test]
fn an_error_is_the_one_that_bind_would_have_had() {
    let (worker, mut primary) = cluster();
    let asking = beside(move || worker.listen("127.0.0.1:8003").unwrap_err());
    let seq = primary.hear_listen().seq;
    primary.say(|session| session.reply_error(seq, 98).unwrap());
    assert_eq!(asking.result().kind(), ErrorKind::AddrInUse);
}

#[test]
fn questions_with_port_0_are_numbered() {
    let (worker, mut primary) = cluster();
    let asking = beside(move || {
        ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:80"]
            .map(|address| worker.listen(address).is_err())
    });
    let mut seen = Vec::new();
    for _ in 0..3 {
        let asked = primary.hear_listen();
        seen.push(asked.index);
        primary.say(|session| session.reply_error(asked.seq, 98).unwrap());
    }
    assert_eq!(asking.result(), [true; 3]);
    assert_eq!(seen, [0, 1, 0]);
}

#[test]
fn a_datagram_socket_is_given() {
    let (worker, mut primary) = cluster();
    let asking = beside(move || worker.listen_udp("127.0.0.1:5353").unwrap());
    let asked = primary.hear_listen();
    assert!(matches!(asked.wanted, Wanted::Udp { .. }));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    primary.say(|session| session.reply_seat(asked.seq, "u1", OwnedFd::from(socket)).unwrap());
    assert_eq!(asking.result().local_addr().unwrap(), address);
}

#[test]
fn a_path_is_asked_for_as_an_absolute_one() {
    let (worker, mut primary) = cluster();
    let asking = beside(move || worker.listen_unix("app.sock").is_err());
    let asked = primary.hear_listen();
    let path = std::env::current_dir().unwrap().join("app.sock");
    assert_eq!(asked.wanted, Wanted::Unix { path });
    primary.say(|session| session.reply_error(asked.seq, 13).unwrap());
    assert!(asking.result());
}

#[test]
fn a_primary_that_goes_away_ends_what_needs_it() {
    let (worker, mut primary) = cluster();
    let listening = listens(&worker, "127.0.0.1:8003");
    let seq = primary.hear_listen().seq;
    primary.say(|session| session.reply_handed_over(seq, "h1", None).unwrap());
    let listener = listening.result();
    let accepting = beside(move || listener.accept().unwrap_err().kind());
    let asker = worker.clone();
    let asking = beside(move || asker.listen("127.0.0.1:8004").unwrap_err().kind());
    primary.hear_listen();
    drop(primary);
    assert_eq!(accepting.result(), ErrorKind::BrokenPipe);
    assert_eq!(asking.result(), ErrorKind::BrokenPipe);
    assert_eq!(worker.listen("127.0.0.1:8005").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(!worker.stop_requested(), "nobody asked for it");
}

#[test]
fn dropping_the_worker_closes_the_channel() {
    let (worker, mut primary) = cluster();
    drop(worker);
    assert_eq!(primary.hear(), None);
}

/// The other half of the next test, in a process of its own.
#[cfg(feature = "worker")]
fn child() {
    let worker = Worker::from_env().unwrap();
    assert!(worker.is_in_cluster());
    let again = Worker::from_env().unwrap_err();
    assert!(again.to_string().contains("find the channel"), "{again}");
    worker.ready().unwrap();
    worker.stop().wait();
}

#[cfg(feature = "worker")]
#[test]
fn a_worker_finds_its_channel_in_the_environment_once() {
    // It starts itself once more, with the variable.
    if std::env::var_os(tine_cluster::wire::native::CHANNEL).is_some() {
        return child();
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    // std places descriptors at 0, 1 and 2 only; the shell moves it on.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" --exact a_worker_finds_its_channel_in_the_environment_once 7<&0 </dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(tine_cluster::wire::native::CHANNEL, "7")
        .stdin(OwnedFd::from(theirs))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut primary = Primary::new(ours);
    assert_eq!(primary.hear(), Some(Event::Hello { pid: child.id() }));
    assert_eq!(primary.hear(), Some(Event::Ready));
    primary.say(|session| session.stop().unwrap());
    assert!(child.wait().unwrap().success());
}
