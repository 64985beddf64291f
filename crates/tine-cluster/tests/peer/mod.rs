//! The primary, played by a test, at the other end of a worker's channel.

use std::{
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tine_cluster::{
    wire::{
        lines::{Flushed, Received, flush, receive},
        native::{Event, Listen, Session},
    },
    worker::Worker,
};

/// Nothing here takes long; a test that fails should not take for ever.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct Primary {
    pub(crate) socket: UnixStream,
    pub(crate) session: Session,
}

impl Primary {
    pub(crate) fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, session: Session::default() }
    }

    /// The next thing that the worker says; `None` when it has closed its end.
    pub(crate) fn hear(&mut self) -> Option<Event> {
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

    pub(crate) fn hear_listen(&mut self) -> Listen {
        match self.hear() {
            Some(Event::Listen(listen)) => listen,
            other => panic!("{other:?} is no question"),
        }
    }

    pub(crate) fn say(&mut self, what: impl FnOnce(&mut Session)) {
        what(&mut self.session);
        assert_eq!(flush(&self.socket, self.session.outbox()).unwrap(), Flushed::All);
    }

    /// A client's end, when the other has been handed over.
    pub(crate) fn hand_over(&mut self, key: &str) -> (TcpStream, u64) {
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

pub(crate) fn cluster() -> (Worker, Primary) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let worker = Worker::over(theirs.into()).unwrap();
    let mut primary = Primary::new(ours);
    assert_eq!(primary.hear(), Some(Event::Hello { pid: std::process::id() }));
    (worker, primary)
}

/// Runs `what` beside the test, for whatever waits for the primary.
pub(crate) fn beside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> Beside<T> {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || drop(done.send(what())));
    Beside { finished, thread }
}

pub(crate) struct Beside<T> {
    finished: mpsc::Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T> Beside<T> {
    pub(crate) fn result(self) -> T {
        let result = self.finished.recv_timeout(DEADLINE).expect("it ends");
        self.thread.join().unwrap();
        result
    }
}
