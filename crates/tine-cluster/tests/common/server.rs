//! This binary as the program of workers: any server that answers with its pid.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tine_cluster::{primary::Program, worker::Worker};

const MODE: &str = "SERVER_MODE";
const PORT: &str = "SERVER_PORT";

/// To be called by a test named `serves`.
pub(crate) fn serves() -> ExitCode {
    let Ok(mode) = std::env::var(MODE) else { return ExitCode::SUCCESS };
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    let address = (Ipv4Addr::LOCALHOST, port);
    match mode.as_str() {
        "plain" => plain(&TcpListener::bind(address).unwrap()),
        "parts" => parts(&TcpListener::bind(address).unwrap()),
        "keeps" => keeps(&TcpListener::bind(address).unwrap(), Duration::ZERO),
        "pairs" => keeps(&TcpListener::bind(address).unwrap(), Duration::from_millis(2)),
        "native" => native(address, false),
        "ready" => native(address, true),
        "notifies" => notifies(address),
        // Does nothing.
        "idle" => loop {
            thread::park();
        },
        code => ends(code.parse().unwrap()),
    }
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "the harness has a code of its own")]
fn ends(code: i32) -> ! {
    println!("the end is {code}");
    std::process::exit(code)
}

fn plain(listener: &TcpListener) {
    loop {
        drop(answer(listener.accept().unwrap().0));
    }
}

/// Answers as often as it is asked, with a pause in the middle of each answer.
fn keeps(listener: &TcpListener, pause: Duration) {
    loop {
        let mut client = listener.accept().unwrap().0;
        thread::spawn(move || while answer_twice(&mut client, pause).is_ok() {});
    }
}

/// Gives up where the client seems to have gone meanwhile, as asynchronous servers do; not where it had gone
/// when it was heard.
fn answer_twice(client: &mut TcpStream, pause: Duration) -> io::Result<()> {
    client.set_read_timeout(None)?;
    client.set_nodelay(true)?;
    client.read_exact(&mut [0; 4])?;
    client.set_nonblocking(true)?;
    let has_gone = client.peek(&mut [0]).is_ok_and(|length| length == 0);
    client.set_nonblocking(false)?;
    if pause.is_zero() || has_gone {
        return client.write_all(b"me");
    }
    client.write_all(b"m")?;
    client.set_read_timeout(Some(pause))?;
    match client.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.write_all(b"e"),
        _ => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn parts(listener: &TcpListener) {
    loop {
        // Whoever hangs up has no answer.
        drop(answer_in_parts(listener.accept().unwrap().0));
    }
}

/// Says its second word when it has heard nothing for a while, and gives up where the client seems to
/// have gone, as nginx does.
fn answer_in_parts(mut client: TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0; 4])?;
    client.write_all(b"one")?;
    client.set_read_timeout(Some(Duration::from_millis(500)))?;
    match client.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.write_all(b" two"),
        other => other.map(drop),
    }
}

fn native(address: (Ipv4Addr, u16), says_ready: bool) {
    let worker = Worker::from_env().unwrap();
    let listener = worker.listen(address).unwrap();
    if says_ready {
        worker.ready().unwrap();
    }
    while let Some((client, _)) = listener.accept().unwrap() {
        drop(answer(client));
    }
}

/// Says `READY=1` when somebody has connected, and not before.
fn notifies(address: (Ipv4Addr, u16)) {
    let listener = TcpListener::bind(address).unwrap();
    drop(answer(listener.accept().unwrap().0));
    notify(&std::env::var("NOTIFY_SOCKET").unwrap());
    plain(&listener);
}

/// As `sd_notify(3)` does.
pub(crate) fn notify(name: &str) {
    let name = name.strip_prefix('@').unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    UnixDatagram::unbound().unwrap().send_to_addr(b"STATUS=up\nREADY=1", &address).unwrap();
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0; 4])?;
    write!(client, "{}", std::process::id())
}

/// This binary in this mode; a number is an exit code.
pub(crate) fn program(mode: &str, port: u16) -> Program {
    let mut program = Program::new(std::env::current_exe().unwrap());
    program.args = ["--exact", "serves", "--nocapture"].map(Into::into).to_vec();
    let own = [(MODE, mode.to_owned()), (PORT, port.to_string())];
    program.env.extend(own.map(|(name, value)| (name.into(), value.into())));
    program
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Connects; the worker that accepts this is busy until [`finish`].
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(crate::common::DEADLINE))?;
    Ok(stream)
}

/// Asks who is there.
pub(crate) fn finish(mut stream: TcpStream) -> io::Result<i32> {
    stream.write_all(b"who?")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().map_err(io::Error::other)
}

/// Longer than a busy machine should keep a client from its first word; a worker that leaves hangs up
/// on who has said nothing for 200 ms.
const HESITATION: Duration = Duration::from_millis(150);

/// Whether there was an answer. A client that hesitated has no right to one.
fn exchange(port: u16) -> io::Result<bool> {
    let began = Instant::now();
    let mut stream = connect(port)?;
    stream.write_all(b"who?")?;
    let hesitated = began.elapsed() > HESITATION;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) if text.parse::<i32>().is_ok() => Ok(true),
        Ok(_) | Err(_) if hesitated => Ok(false),
        Ok(_) => Err(io::Error::other("hung up")),
        Err(error) => Err(error),
    }
}

/// Clients that connect one after another until told to end.
pub(crate) struct Clients {
    end: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Clients {
    pub(crate) fn start(port: u16) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let threads = (0..4).map(|_| {
            let end = Arc::clone(&end);
            thread::spawn(move || {
                let (mut answers, mut failures) = (0, Vec::new());
                while !end.load(Ordering::Relaxed) {
                    match exchange(port) {
                        Ok(answered) => answers += usize::from(answered),
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                (answers, failures)
            })
        });
        Self { threads: threads.collect(), end }
    }

    /// How many answers they got; nothing else came.
    pub(crate) fn end(self) -> usize {
        self.end.store(true, Ordering::Relaxed);
        let mut all = 0;
        for thread in self.threads {
            let (answers, failures) = thread.join().unwrap();
            assert_eq!(failures, Vec::<String>::new());
            all += answers;
        }
        all
    }
}
