//! Many connections while a worker is killed every 200 ms: none is lost but those that the killed
//! worker had accepted, and the manager does not grow.
//!
//! `TINE_SOAK=1000000` makes it a million connections instead of what fits into a quick run.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use compliance::{DEADLINE, Run, Tine, Who, Worker, free_port, skip};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal,
};

/// Between two kills.
const PACE: Duration = Duration::from_millis(200);
/// Clients at a time, each with one connection.
const CLIENTS: u8 = 6;
/// Workers.
const WORKERS: usize = 4;
/// A connection without an answer for so long hangs.
const LIMIT: Duration = Duration::from_secs(10);
/// What the allocator may keep in between, in KiB.
const NOISE: u64 = 512;

/// A connection that was not served to its end.
#[derive(Debug)]
struct Loss {
    client: SocketAddr,
    #[expect(dead_code, reason = "for a person who looks for the reason of a failure")]
    error: io::Error,
}

/// What became of the connections.
#[derive(Debug, Default)]
struct Tally {
    served: usize,
    lost: Vec<Loss>,
    /// Refused, or reset while connecting.
    refused: Vec<io::Error>,
}

/// Clients at work, until `left` is used up.
struct Load {
    left: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    fn start(port: u16, connections: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(connections));
        let client = |number| {
            let left = Arc::clone(&left);
            thread::spawn(move || work(Ipv4Addr::new(127, 0, 1, number), port, &left))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { left, clients }
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn end(self) -> Tally {
        let mut all = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("a client does not panic");
            all.served += tally.served;
            all.lost.extend(tally.lost);
            all.refused.extend(tally.refused);
        }
        all
    }
}

fn work(source: Ipv4Addr, port: u16, left: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    let one_less = |left: usize| left.checked_sub(1);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
        match connect(source, port) {
            Err(error) => tally.refused.push(error),
            Ok(stream) => match talk(stream) {
                Ok(()) => tally.served += 1,
                Err(loss) => tally.lost.push(loss),
            },
        }
    }
    tally
}

fn connect(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn talk(mut stream: TcpStream) -> Result<(), Loss> {
    let client = stream.local_addr().expect("it is bound");
    let mut answer = Vec::new();
    let result = stream.write_all(b".").and_then(|()| stream.read_to_end(&mut answer));
    match result {
        Ok(_) if answer == b"done" => Ok(()),
        Ok(_) => Err(Loss { client, error: io::ErrorKind::UnexpectedEof.into() }),
        Err(error) => Err(Loss { client, error }),
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("our process").count()
}

/// Resident, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    memory.expect("a process that runs has memory")
}

/// What the kills did.
#[derive(Debug, Default)]
struct Kills {
    killed: BTreeSet<u32>,
    /// Those killed without being stopped before: what each had accepted is not known.
    sudden: usize,
    /// The clients whose connections the others had accepted.
    accepted: BTreeSet<SocketAddr>,
}

impl Kills {
    /// Kills a worker every 200 ms, in turn, as long as the load lasts.
    fn in_turn(&mut self, tine: &mut Tine, load: &Load, one_at_a_time: bool) {
        let mut next = Instant::now();
        while load.left() > 0 {
            // The pace of the kills is what is tested; nothing is waited for here.
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // Where workers take longer to start than the others live, nobody would serve.
            tine.wait_listening(WORKERS / 2);
            next = Instant::now() + PACE;
            let worker = tine.workers().get(self.killed.len() % WORKERS).copied();
            let Some(Worker { pid, .. }) = worker else { continue };
            if self.killed.insert(pid) {
                let sudden = one_at_a_time && self.killed.len().is_multiple_of(2);
                let killed = if sudden { self.at_once(pid) } else { self.knowingly(pid) };
                killed.unwrap_or_else(|error| panic!("{pid}: {error}: {:#?}", tine.lines()));
            }
        }
    }

    fn at_once(&mut self, pid: u32) -> io::Result<()> {
        self.sudden += 1;
        Ok(pidfd_send_signal(open(pid)?, Signal::KILL)?)
    }

    /// Stops the worker, so that what it has accepted is known and some connections come to wait in
    /// its queue; then kills it.
    fn knowingly(&mut self, pid: u32) -> io::Result<()> {
        let process = open(pid)?;
        pidfd_send_signal(&process, Signal::STOP)?;
        while !has_stopped(pid)? {
            thread::yield_now();
        }
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let number = entry?.file_name().to_str().and_then(|number| number.parse().ok());
            let fd = number.expect("a number for each descriptor");
            let fd = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty())?;
            let client = rustix::net::getpeername(&fd).ok().flatten();
            self.accepted.extend(client.and_then(|client| SocketAddr::try_from(client).ok()));
        }
        Ok(pidfd_send_signal(&process, Signal::KILL)?)
    }
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn has_stopped(pid: u32) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")))
}

/// How much a run is to carry.
struct Soak {
    mechanism: &'static str,
    connections: usize,
    /// A worker accepts the next connection when it is done with the last.
    one_at_a_time: bool,
}

impl Soak {
    fn hold(&self, run: Run, port: u16) {
        let mut tine = run.start();
        let seats = tine.wait_listening(WORKERS);
        assert!(seats.iter().all(|seat| seat.mechanism == self.mechanism), "{seats:?}");
        let (manager, mut kills) = (tine.manager(), Kills::default());
        let few = descriptors(manager);
        self.round(&mut tine, &mut kills, (port, self.connections / 10));
        let warm = memory(manager);
        self.round(&mut tine, &mut kills, (port, self.connections));
        println!("{warm} kB, and then {} kB", memory(manager));
        assert!(memory(manager) <= warm + NOISE, "{warm} kB, and then {} kB", memory(manager));
        let deadline = Instant::now() + DEADLINE;
        while descriptors(manager) > few {
            assert!(Instant::now() < deadline, "{} descriptors, first {few}", descriptors(manager));
            thread::yield_now();
        }
        assert_eq!(tine.stop().code, Some(0));
    }

    fn round(&self, tine: &mut Tine, kills: &mut Kills, (port, connections): (u16, usize)) {
        let load = Load::start(port, connections);
        kills.in_turn(tine, &load, self.one_at_a_time);
        let tally = load.end();
        assert!(tally.refused.is_empty(), "{} refused: {:?}", tally.refused.len(), tally.refused);
        assert_eq!(tally.served + tally.lost.len(), connections);
        let (killed, lost) = (kills.killed.len(), tally.lost.len());
        println!("{killed} kills, {} served, {lost} lost", tally.served);
        let was_accepted = |loss: &&Loss| kills.accepted.contains(&loss.client);
        let unknown: Vec<&Loss> = tally.lost.iter().filter(|loss| !was_accepted(loss)).collect();
        let sudden = std::mem::take(&mut kills.sudden);
        let few = unknown.len() <= sudden;
        assert!(few, "{sudden} sudden kills, too many lost: {unknown:?}; {:#?}", tine.lines());
        tine.wait_listening(WORKERS);
    }
}

fn connections(quick: usize) -> usize {
    let wanted = env::var("TINE_SOAK").ok().and_then(|number| number.parse().ok());
    wanted.unwrap_or(quick)
}

fn run(port: u16, options: &[&str]) -> Run {
    let port = format!("PORT={port}");
    let usual = ["-i", "4", "--min-uptime", "1ms", "--env", &port];
    Tine::run(usual.iter().chain(options).copied())
}

fn one_by_one(port: u16, options: &[&str]) -> Run {
    let options = [options, &["./one-by-one"]].concat();
    run(port, &options).copy(env!("CARGO_BIN_EXE_one-by-one"))
}

const NODE: &str = r"
require('net').createServer((socket) => {
  socket.on('data', () => socket.end('done'));
  socket.on('error', () => {});
}).listen(process.env.PORT, '127.0.0.1');
";

mod alone {
    use super::*;

    #[test]
    fn round_robin_in_the_kernel_loses_only_what_a_killed_worker_had_accepted() {
        if let Some(reason) = Who::Root.missing() {
            return skip(reason);
        }
        let soak = Soak {
            mechanism: "kernel-ebpf",
            connections: connections(100_000),
            one_at_a_time: true,
        };
        let port = free_port();
        soak.hold(one_by_one(port, &[]), port);
    }

    #[test]
    fn an_ordinary_users_kernel_policy_loses_only_what_a_killed_worker_had_accepted() {
        let soak = Soak {
            mechanism: "kernel-cbpf",
            connections: connections(20_000),
            one_at_a_time: true,
        };
        let port = free_port();
        soak.hold(one_by_one(port, &["--policy", "random"]).as_user(), port);
    }

    #[test]
    fn one_queue_loses_only_what_a_killed_worker_had_accepted() {
        let soak =
            Soak { mechanism: "one-queue", connections: connections(20_000), one_at_a_time: true };
        let port = free_port();
        soak.hold(one_by_one(port, &["--policy", "shared"]).as_user(), port);
    }

    #[test]
    fn hand_over_loses_only_what_a_killed_worker_had_accepted() {
        if Who::User.find("node").is_none() {
            return skip("no node here");
        }
        let soak =
            Soak { mechanism: "hand-over", connections: connections(10_000), one_at_a_time: false };
        let port = free_port();
        let run = run(port, &["--mechanism", "hand-over", "soak.js"]).file("soak.js", NODE);
        soak.hold(run.as_user(), port);
    }
}
