//! The worker's side, with the test in the part of the primary.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use tine_cluster::{
    json::Json,
    wire::{
        lines::{Flushed, Received, flush, receive},
        native::{Event, Listen, Session, Wanted},
    },
    worker::{Options, SendError, Worker},
};

/// Nothing here takes long; a test that fails should not take for ever.
const DEADLINE: Duration = Duration::from_secs(10);

struct Primary {
    socket: UnixStream,
    session: Session,
}

impl Primary {
    fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, session: Session::default() }
    }

    /// The next thing that the worker says; `None` when it has closed its end.
    fn hear(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.session.next_event().unwrap() {
                return Some(event);
            }
            match receive(&self.socket, self.session.receiver()).unwrap() {
                Received::Bytes(_) | Received::Last(_) => {}
                Received::Closed => return None,
                Received::WouldBlock => panic!("the worker said nothing within {DEADLINE:?}"),
            }
        }
    }

    fn hear_listen(&mut self) -> Listen {
        match self.hear() {
            Some(Event::Listen(listen)) => listen,
            other => panic!("{other:?} is no question"),
        }
    }

    fn say(&mut self, what: impl FnOnce(&mut Session)) {
        what(&mut self.session);
        assert_eq!(flush(&self.socket, self.session.outbox()).unwrap(), Flushed::All);
    }

    /// A client's end, when the other has been handed over.
    fn hand_over(&mut self, key: &str) -> (TcpStream, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut number = 0;
        self.say(|session| {
            number = session.new_connection(key, OwnedFd::from(accepted)).unwrap();
        });
        (client, number)
    }
}

fn cluster() -> (Worker, Primary) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let worker = Worker::over(theirs.into()).unwrap();
    let mut primary = Primary::new(ours);
    assert_eq!(primary.hear(), Some(Event::Hello { pid: std::process::id() }));
    (worker, primary)
}

/// Runs `what` beside the test, for whatever waits for the primary.
fn beside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> Beside<T> {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || drop(done.send(what())));
    Beside { finished, thread }
}

struct Beside<T> {
    finished: mpsc::Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T> Beside<T> {
    fn result(self) -> T {
        let result = self.finished.recv_timeout(DEADLINE).expect("it ends");
        self.thread.join().unwrap();
        result
    }
}

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

#[test]
fn messages_can_be_polled_for_and_end_with_the_primary() {
    let (worker, mut primary) = cluster();
    let messages = worker.messages();
    assert!(messages.try_recv().is_none());
    let readable = messages.descriptor().unwrap().expect("there is a primary");
    primary.say(|session| session.send(Json::of(&"hello").unwrap(), None).unwrap());
    let mut fds = [PollFd::new(&readable, PollFlags::IN)];
    assert_eq!(poll(&mut fds, None).unwrap(), 1);
    assert_eq!(messages.try_recv().unwrap().message.get(), "\"hello\"");
    drop(primary);
    let ended = beside(move || messages.recv().is_none());
    assert!(ended.result());
    assert!(!worker.is_connected());
    let unheard = worker.send(&1).unwrap_err();
    assert!(matches!(unheard, SendError::Closed(_)), "{unheard}");
}

#[test]
fn alone_there_is_nobody_to_talk_to() {
    let worker = Worker::alone();
    assert!(matches!(worker.send(&1), Err(SendError::Alone)));
    assert!(worker.request(&1, DEADLINE).is_err());
    assert!(worker.messages().recv().is_none());
    assert!(worker.messages().descriptor().unwrap().is_none());
    worker.disconnect().unwrap();
    assert!(worker.id().is_none() && !worker.is_connected() && !worker.exited_after_disconnect());
}

#[test]
fn a_primary_that_does_not_read_holds_up_who_sends_and_nobody_else() {
    let (worker, mut primary) = cluster();
    let sender = worker.clone();
    let fill = "x".repeat(100_000);
    let sending = beside(move || (0..50).all(|_| sender.send(&fill).is_ok()));
    // The primary's words arrive, and what is asked gets its answer, while the sender waits.
    primary.say(|session| session.send(Json::of(&"still there?").unwrap(), None).unwrap());
    assert_eq!(worker.messages().recv().unwrap().message.get(), "\"still there?\"");
    worker.ready().unwrap();
    let mut heard = 0;
    while heard < 50 {
        match primary.hear() {
            Some(Event::Message { .. }) => heard += 1,
            Some(Event::Ready) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(sending.result());
}
