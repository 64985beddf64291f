//! Small Python programs under tine, and clients that learn the pid of who answers.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use compliance::{DEADLINE, Run, Tine, Who};
use rustix::process::Signal;

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections after which a worker that was never chosen is not chance: (2/3)^200 is 10^-35.
const TRIES: usize = 200;

/// Every policy, with the users who have another mechanism for it.
pub(crate) const WAYS: [(&str, Who); 5] = [
    ("rr", Who::Root),
    ("random", Who::User),
    ("sticky", Who::Root),
    ("shared", Who::Root),
    ("shared", Who::User),
];

/// The ways that this user of the tests can be.
pub(crate) fn ways() -> impl Iterator<Item = (&'static str, Who)> {
    WAYS.into_iter().filter(|(_, who)| who.missing().is_none())
}

/// A `tine run` of a Python program that may use `answering.py`; `PORT` is in its environment.
pub(crate) fn python(workers: &str, port: u16, options: &[&str], script: &str) -> Run {
    let port = format!("PORT={port}");
    let fixed = ["-i", workers, "--name", "app", "--env", &port];
    let script = format!("from answering import *\nPORT = int(os.environ['PORT'])\n{script}");
    Tine::run(fixed.iter().chain(options).chain(&["app.py"]))
        .file("answering.py", include_str!("answering.py"))
        .file("app.py", script)
}

/// Waits until this many workers have said `ready`, and each is known to listen at so many places:
/// only then the policy holds for all.
pub(crate) fn wait_ready(tine: &mut Tine, workers: usize, seats: usize) {
    said(tine, workers, "ready");
    tine.wait_for_nth(workers * seats, |line| line.contains(" listens on "), "all seats");
}

/// Waits for the `n`th line with exactly these words of a worker.
pub(crate) fn said(tine: &mut Tine, n: usize, words: &str) {
    let end = format!("| {words}");
    tine.wait_for_nth(n, |line| line.ends_with(&end), words);
}

/// Stops it; the end must be clean.
pub(crate) fn stop(tine: Tine) {
    let exit = tine.stop();
    assert_eq!(exit.code, Some(0), "{}{}", exit.stdout, exit.stderr);
}

/// Who answers a TCP client at this address.
pub(crate) fn tcp(ip: IpAddr, port: u16) -> io::Result<u32> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    pid(&mut stream)
}

/// Who answers a datagram.
pub(crate) fn udp(ip: IpAddr, port: u16) -> io::Result<u32> {
    let from = SocketAddr::new(ip, 0);
    let socket = UdpSocket::bind(from)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(ip, port))?;
    socket.send(b"who?")?;
    let mut answer = [0; 32];
    let length = socket.recv(&mut answer)?;
    pid(&mut &answer[..length])
}

/// Who answers a client of this UNIX path.
pub(crate) fn unix(path: &Path) -> io::Result<u32> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    pid(&mut stream)
}

pub(crate) fn pid(from: &mut impl Read) -> io::Result<u32> {
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let said = format!("an answer that is no pid: {text:?}");
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, said))
}

/// The workers share an address as the policy says. (Of datagrams under the other policies the kernel
/// chooses by both addresses: the port of each client is another.)
pub(crate) fn answer_as(policy: &str, tine: &mut Tine, ask: impl Fn() -> io::Result<u32>) {
    match policy {
        "shared" => each_answers_alone(tine, ask),
        // One client is always given to the same worker.
        "sticky" => assert_eq!(ask().expect("an answer"), ask().expect("an answer")),
        _ => all_answer(tine, ask),
    }
}

/// Every worker answers sooner or later, and nobody else does.
pub(crate) fn all_answer(tine: &mut Tine, ask: impl Fn() -> io::Result<u32>) {
    let wanted: BTreeSet<u32> = tine.pids().into_iter().collect();
    let mut reached = BTreeSet::new();
    for _ in 0..TRIES {
        let pid = ask().unwrap_or_else(|error| panic!("{error}; {:#?}", tine.lines()));
        reached.insert(pid);
        if reached == wanted {
            return;
        }
    }
    panic!("after {TRIES} clients {reached:?} of {wanted:?} answered: {:#?}", tine.lines());
}

/// Every worker answers while the others are stopped.
pub(crate) fn each_answers_alone(tine: &mut Tine, ask: impl Fn() -> io::Result<u32>) {
    let pids = tine.pids();
    for chosen in &pids {
        let others: Vec<u32> = pids.iter().filter(|pid| *pid != chosen).copied().collect();
        for pid in &others {
            suspend(tine, *pid);
        }
        let answer = ask().unwrap_or_else(|error| panic!("{error}; {:#?}", tine.lines()));
        for pid in &others {
            tine.signal_worker(*pid, Signal::CONT);
        }
        assert_eq!(answer, *chosen);
    }
}

/// Stops the process for a while, as Ctrl-Z does, and waits until it has stopped.
pub(crate) fn suspend(tine: &Tine, pid: u32) {
    tine.signal_worker(pid, Signal::STOP);
    until("a process stops", || threads_states(pid).iter().all(|state| *state == 'T'));
}

fn threads_states(pid: u32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the worker lives");
    let stats =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let first = |stat: String| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    stats.filter_map(first).collect()
}

/// Waits for what can be seen.
pub(crate) fn until(what: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !seen() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
