//! The load generator: a new connection for every request, from a few blocking threads.
//!
//! A thread waits inside `read`, so a connection costs five system calls and no bookkeeping. Every
//! connection is read to its end and then reset (`SO_LINGER` 0): neither side keeps a `TIME_WAIT`
//! entry, and a run of any length never runs out of local ports.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, connect, recv, socket_with, sockopt,
};

/// Nobody who is alive takes that long to answer with a pid.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long after a run an answer is late; later it is missing.
const LATE: Duration = Duration::from_secs(1);

/// What one connection came to.
pub(crate) enum Reply {
    /// The worker with this pid answered in full.
    From(u32),
    /// Nothing yet. The connection stays open for as long as the stream is kept; there is none
    /// when not even the handshake ended in time.
    Silence(Option<TcpStream>),
}

/// Connections per second of a closed loop.
#[derive(Default)]
pub(crate) struct Rate {
    pub(crate) answers: usize,
    pub(crate) failures: usize,
    pub(crate) first_failure: Option<String>,
    pub(crate) per_second: f64,
}

/// How a fixed number of connections fared.
#[derive(Default)]
pub(crate) struct Batch {
    /// Milliseconds from `connect` to the end of the answer. One that came after the client had
    /// lost patience counts with that patience.
    pub(crate) latencies: Vec<f64>,
    /// Answers by the pid that gave them.
    pub(crate) shares: HashMap<u32, usize>,
    /// Connections without an answer at the end of the run.
    pub(crate) hanging: usize,
    /// Refused, reset or garbled.
    pub(crate) failures: usize,
    silent: Vec<(TcpStream, Duration)>,
}

/// Asks for `/` and reads to the end of the stream. An error is a refusal, a reset or a wrong answer.
pub(crate) fn ask(addr: SocketAddrV4, patience: Duration) -> io::Result<Reply> {
    match dial(addr, "/", patience) {
        Ok(mut stream) => match finish(&mut stream) {
            Err(error) if is_timeout(&error) => Ok(Reply::Silence(Some(stream))),
            answer => answer.map(Reply::From),
        },
        Err(error) if is_timeout(&error) => Ok(Reply::Silence(None)),
        Err(error) => Err(error),
    }
}

/// Makes a worker block its only thread, and says which. It stays blocked for good; the stream
/// is to be kept until the run is over.
pub(crate) fn block(addr: SocketAddrV4) -> io::Result<(TcpStream, u32)> {
    let mut stream = dial(addr, "/block", PATIENCE)?;
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 256];
        let got = stream.read(&mut piece)?;
        text.extend_from_slice(&piece[..got]);
        match pid_in(&text) {
            Some(pid) if text.ends_with(b"\n") => return Ok((stream, pid)),
            _ if got == 0 => return Err(garbled()),
            _ => {}
        }
    }
}

/// One connection after another, each answered before the next is opened.
pub(crate) fn one_by_one(addr: SocketAddrV4, count: usize) -> io::Result<HashMap<u32, usize>> {
    let mut shares = HashMap::new();
    for _ in 0..count {
        match ask(addr, PATIENCE)? {
            Reply::From(pid) => *shares.entry(pid).or_default() += 1,
            Reply::Silence(_) => return Err(ErrorKind::TimedOut.into()),
        }
    }
    Ok(shares)
}

/// Keeps `clients` connections going for `time`.
pub(crate) fn rate(addr: SocketAddrV4, clients: usize, time: Duration) -> Rate {
    let start = Instant::now();
    let mut total = Rate::default();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| keep_asking(addr, start + time))).collect();
        for thread in threads {
            total.add(thread.join().expect("a client thread does not panic"));
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let answers = total.answers as f64;
    total.per_second = answers / start.elapsed().as_secs_f64();
    total
}

/// Opens `count` connections from `clients` threads. A client waits for `patience`, then sets the
/// connection aside and opens the next; those set aside are looked at once more in the end.
pub(crate) fn batch(addr: SocketAddrV4, count: usize, clients: usize, patience: Duration) -> Batch {
    let tickets = AtomicUsize::new(0);
    let mut total = Batch::default();
    thread::scope(|scope| {
        let client = || share_of_batch(addr, &tickets, count, patience);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        for thread in threads {
            total.add(thread.join().expect("a client thread does not panic"));
        }
    });
    total.settle();
    total
}

fn keep_asking(addr: SocketAddrV4, end: Instant) -> Rate {
    let mut rate = Rate::default();
    while Instant::now() < end {
        match ask(addr, PATIENCE) {
            Ok(Reply::From(_)) => rate.answers += 1,
            Ok(Reply::Silence(_)) => rate.fail("no answer in time".into()),
            Err(error) => rate.fail(error.to_string()),
        }
    }
    rate
}

fn share_of_batch(
    addr: SocketAddrV4,
    tickets: &AtomicUsize,
    count: usize,
    patience: Duration,
) -> Batch {
    let mut batch = Batch::default();
    while tickets.fetch_add(1, Ordering::Relaxed) < count {
        let start = Instant::now();
        match ask(addr, patience) {
            Ok(Reply::From(pid)) => batch.answered(pid, start.elapsed()),
            Ok(Reply::Silence(Some(stream))) => batch.silent.push((stream, start.elapsed())),
            Ok(Reply::Silence(None)) => batch.hanging += 1,
            Err(_) => batch.failures += 1,
        }
    }
    batch
}

impl Rate {
    fn fail(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

impl Batch {
    fn answered(&mut self, pid: u32, after: Duration) {
        *self.shares.entry(pid).or_default() += 1;
        self.latencies.push(after.as_secs_f64() * 1000.0);
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (pid, count) in other.shares {
            *self.shares.entry(pid).or_default() += count;
        }
        self.hanging += other.hanging;
        self.failures += other.failures;
        self.silent.extend(other.silent);
    }

    /// Tells those that were merely late from those that hang: all of them have until a common
    /// deadline.
    fn settle(&mut self) {
        let deadline = Instant::now() + LATE;
        for (mut stream, waited) in std::mem::take(&mut self.silent) {
            let left = deadline.saturating_duration_since(Instant::now());
            // A time-out of zero would be none at all.
            let left = Some(left.max(Duration::from_millis(1)));
            match stream.set_read_timeout(left).and_then(|()| finish(&mut stream)) {
                Ok(pid) => self.answered(pid, waited),
                Err(error) if is_timeout(&error) => self.hanging += 1,
                Err(_) => self.failures += 1,
            }
        }
    }
}

/// Connects and sends the request; the time-out bounds the handshake as well as every read.
fn dial(addr: SocketAddrV4, path: &str, patience: Duration) -> io::Result<TcpStream> {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(patience))?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(patience))?;
    connect(&fd, &addr)?;
    let mut stream = TcpStream::from(fd);
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    Ok(stream)
}

/// Reads to the end. The server closes first, so that it is not reset while it still works. The
/// whole answer is waited for in one call: a client that woke for every piece would take
/// processor time from the server.
fn finish(stream: &mut TcpStream) -> io::Result<u32> {
    let mut text = [0; 1024];
    let mut filled = 0;
    loop {
        match recv(&*stream, &mut text[filled..], RecvFlags::WAITALL)?.0 {
            0 => return pid_in(&text[..filled]).ok_or_else(garbled),
            got => filled += got,
        }
    }
}

/// The pid that is the body of a good answer.
fn pid_in(answer: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?;
    if status == "200" { body.trim().parse().ok() } else { None }
}

/// A time-out of `read` says EAGAIN, one of `connect` EINPROGRESS
/// ([socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)).
fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

fn garbled() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the answer is not a pid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};

    fn listener() -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        match listener.local_addr().expect("it is bound") {
            SocketAddr::V4(addr) => (listener, addr),
            SocketAddr::V6(addr) => panic!("asked for IPv4, got {addr}"),
        }
    }

    /// Answers `count` connections with these bytes, each after its request has come.
    fn serve(listener: TcpListener, count: usize, bytes: &'static [u8]) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            for _ in 0..count {
                let (mut client, _) = listener.accept().expect("a client comes");
                let got = client.read(&mut [0; 512]).expect("the client asks");
                assert!(got > 0);
                client.write_all(bytes).expect("the client listens");
            }
        })
    }

    #[test]
    fn only_a_pid_with_status_200_is_an_answer() {
        assert_eq!(pid_in(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n4711\n"), Some(4711));
        assert_eq!(pid_in(b"HTTP/1.1 503 Busy\r\n\r\n4711\n"), None);
        assert_eq!(pid_in(b"HTTP/1.1 200 OK\r\n\r\nhello"), None);
        assert_eq!(pid_in(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(pid_in(b""), None);
    }

    #[test]
    fn every_connection_of_a_batch_is_counted_once() {
        let (listener, addr) = listener();
        let server = serve(listener, 20, b"HTTP/1.1 200 OK\r\n\r\n17\n");
        let batch = batch(addr, 20, 3, PATIENCE);
        server.join().expect("the server is content");
        assert_eq!(batch.shares, HashMap::from([(17, 20)]));
        assert_eq!(batch.latencies.len(), 20);
        assert_eq!((batch.hanging, batch.failures), (0, 0));
    }

    #[test]
    fn a_connection_that_nobody_accepts_hangs() {
        let (_listener, addr) = listener();
        let batch = batch(addr, 2, 1, Duration::from_millis(20));
        assert_eq!((batch.hanging, batch.failures, batch.latencies.len()), (2, 0, 0));
    }

    #[test]
    fn a_wrong_answer_is_a_failure() {
        let (listener, addr) = listener();
        let server = serve(listener, 1, b"HTTP/1.1 200 OK\r\n\r\nnot a pid\n");
        let batch = batch(addr, 1, 1, PATIENCE);
        server.join().expect("the server is content");
        assert_eq!((batch.hanging, batch.failures), (0, 1));
    }

    #[test]
    fn a_refused_connection_is_an_error_at_once() {
        let (listener, addr) = listener();
        drop(listener);
        let error = ask(addr, PATIENCE).err().expect("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
