//! A real Node worker, served by the session and the hand-over queue.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tine_cluster::{
    core::handover::{HandOver, Sent},
    id::WorkerId,
    wire::{
        lines::{Flushed, Received, flush, receive},
        node::{Answer, Event, HandleKind, QueryServer, Session},
    },
};

const DEADLINE: Duration = Duration::from_secs(90);

const SERVER: &str = "
require('http').createServer((q, s) => s.end('hello')).listen(PORT, '127.0.0.1', function () {
  process.send(this.address());
});";

struct Worker {
    child: Child,
    socket: UnixStream,
    session: Session,
    script: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.script));
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

impl Worker {
    /// `None` where there is no node.
    fn start(script: &str) -> Option<Self> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        let name = format!("tine-wire-{}-{:p}.js", std::process::id(), &raw const ours);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, script).unwrap();
        let child = Command::new("sh")
            .args(["-c", "command -v node >&2 || exit 77; exec node \"$0\" 3<&0 </dev/null"])
            .arg(&path)
            .env("NODE_CHANNEL_FD", "3")
            .env("NODE_CHANNEL_SERIALIZATION_MODE", "json")
            .env("NODE_UNIQUE_ID", "1")
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let session = Session::default();
        let mut worker = Self { child, socket: ours, session, script: path };
        match worker.hear() {
            Some(Event::Online) => Some(worker),
            None if worker.child.wait().unwrap().code() == Some(77) => {
                println!("SKIP: no node here");
                None
            }
            other => panic!("{other:?} came first"),
        }
    }

    fn hear(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.session.next_event().unwrap() {
                return Some(event);
            }
            // What was answered on the way, or released by an acknowledgement.
            assert_ne!(flush(&self.socket, self.session.outbox()).unwrap(), Flushed::WouldBlock);
            match receive(&self.socket, self.session.receiver()).unwrap() {
                Received::Bytes(_) | Received::Last(_) => {}
                Received::Closed => return None,
                Received::WouldBlock => panic!("node said nothing within {DEADLINE:?}"),
            }
        }
    }

    fn hear_query(&mut self) -> (u64, QueryServer) {
        match self.hear() {
            Some(Event::QueryServer { seq, query }) => (seq, query),
            other => panic!("{other:?} is no question"),
        }
    }

    /// Node says both, in this order.
    fn hear_listening(&mut self) -> String {
        let mut address = None;
        loop {
            match self.hear() {
                Some(Event::User(message)) => address = Some(message.get().to_owned()),
                Some(Event::Listening(_)) => {}
                other => panic!("{other:?} while it should listen"),
            }
            if let Some(address) = address {
                return address;
            }
        }
    }

    fn leave(mut self) {
        self.session.disconnect().unwrap();
        while let Some(event) = self.hear() {
            assert!(
                matches!(event, Event::Close { .. } | Event::Listening(_)),
                "{event:?} on the way out"
            );
        }
        assert!(self.child.wait().unwrap().success());
    }
}

fn ask(client: &mut TcpStream) {
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
}

fn assert_served(mut client: TcpStream) {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer:?}");
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn node_takes_connections_that_are_handed_over() {
    let Some(mut worker) = Worker::start(&SERVER.replace("PORT", "0")) else { return };
    let (listener, address) = listener();
    let (seq, query) = worker.hear_query();
    assert_eq!(query.server_key().as_str(), "127.0.0.1:0:4:undefined:0");
    let to = Answer { seq, key: "h1", data: query.data() };
    worker.session.reply_round_robin(to, Some(address)).unwrap();
    let told = worker.hear_listening();
    assert!(told.contains(&format!("\"port\":{}", address.port())), "{told}");

    let mut queue = HandOver::default();
    queue.worker_joined(WorkerId(1));
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = TcpStream::connect(address).unwrap();
        ask(&mut client);
        clients.push(client);
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        queue.connection(Arc::new(OwnedFd::from(accepted)));
    }
    let mut sent = HashMap::new();
    while queue.pending() + queue.in_flight() > 0 {
        while let Some(Sent { number, connection, .. }) = queue.next(Instant::now()) {
            let seq = worker.session.new_connection("h1", Arc::clone(connection)).unwrap();
            sent.insert(seq, number);
        }
        match worker.hear() {
            Some(Event::Reply { ack, accepted }) => {
                let number = sent[&ack];
                assert!(queue.reply(WorkerId(1), number, accepted, Instant::now()).is_some());
            }
            Some(Event::Listening(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    clients.into_iter().for_each(assert_served);
    worker.leave();
}

#[test]
fn node_listens_on_the_seat_that_it_is_given() {
    let (seat, address) = listener();
    // The true one: node takes a socket that is bound to another port for EADDRINUSE.
    let script = SERVER.replace("PORT", &address.port().to_string());
    let Some(mut worker) = Worker::start(&script) else { return };
    seat.set_nonblocking(true).unwrap();
    let (seq, query) = worker.hear_query();
    let to = Answer { seq, key: "h1", data: query.data() };
    worker.session.reply_seat(to, HandleKind::Stream, OwnedFd::from(seat)).unwrap();
    let told = worker.hear_listening();
    assert!(told.contains(&format!("\"port\":{}", address.port())), "{told}");
    let mut client = TcpStream::connect(address).unwrap();
    ask(&mut client);
    assert_served(client);
    worker.leave();
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "no share of the seat is left");
}

#[test]
fn node_is_told_an_error_and_leaves_by_its_own_wish() {
    let script = "
        const cluster = require('cluster');
        require('net').createServer().on('error', (e) => {
            process.send([e.code, e.errno, e.syscall]);
            cluster.worker.disconnect();
        }).listen({ port: 1024, host: '127.0.0.1' });";
    let Some(mut worker) = Worker::start(script) else { return };
    let (seq, query) = worker.hear_query();
    worker.session.reply_error(Answer { seq, key: "h1", data: query.data() }, -98).unwrap();
    let said = worker.hear();
    let Some(Event::User(message)) = said else { panic!("{said:?}") };
    assert_eq!(message.get(), r#"["EADDRINUSE",-98,"bind"]"#);
    let Some(Event::ExitedAfterDisconnect { seq }) = worker.hear() else { panic!("no farewell") };
    worker.session.acknowledge(seq).unwrap();
    assert!(worker.hear().is_none());
    assert!(worker.child.wait().unwrap().success());
}

#[test]
fn a_socket_that_node_sends_arrives_and_is_acknowledged() {
    let script = "
        const net = require('net');
        const s = net.createServer((c) => {
            process.send('mine', c, () => process.send('after'));
        }).listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
            net.connect(s.address().port, '127.0.0.1').unref();
        });";
    let Some(mut worker) = Worker::start(script) else { return };
    let mut handle = None;
    loop {
        match worker.hear() {
            Some(Event::UserHandle { message, kind, fd }) => handle = Some((message, kind, fd)),
            Some(Event::User(message)) => {
                assert_eq!(message.get(), "\"after\"");
                break;
            }
            Some(Event::Listening(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let (message, kind, fd) = handle.expect("before what was sent after it");
    assert_eq!((message.get(), kind.as_str()), ("\"mine\"", "net.Socket"));
    TcpStream::from(fd).peer_addr().unwrap();
    worker.socket.shutdown(Shutdown::Both).unwrap();
    assert!(worker.child.wait().unwrap().success(), "it leaves when its channel ends");
}
