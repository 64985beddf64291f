//! What a leaving worker has still to do, as far as the kernel can tell from outside: handshakes that
//! began before it left, and connections.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{net::Shutdown, process::Pid};
use tine_linux::{
    foreign,
    process::Process,
    sock_diag::{self, Inode, TcpConnection, TcpState},
    socket,
};

use super::{
    habits::Habits,
    reach::Sight,
    unfinished::Answers,
    witness::{self, Over, Watched},
    worker::Worker,
};

/// A handshake that has not ended by then is that of a client that has gone: the kernel has asked
/// after it four times.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// No request of HTTP is as short; a word of another protocol often is.
const SHORTER_THAN_A_REQUEST: u64 = 16;

/// More ports than this are looked for among all connections.
const ANSWERS: usize = 4;

/// What is known of a worker that leaves.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Connections that were open when its time was up and have been ever since.
    pub(super) cut: Option<Cut>,
    pub(super) handshakes: Handshakes,
    kept: Option<Kept>,
    answers: Answers,
    /// So many of the unclear connections come next, when those before them were watched.
    watched: usize,
}

/// Connections that are not to end by themselves, and the processes that were looked at for them.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) connections: usize,
    members: Vec<Pid>,
}

impl Cut {
    /// What these processes have open now.
    pub(super) fn of(worker: &mut Worker, members: Vec<Pid>) -> Option<Self> {
        let connections = held(worker, &members).len();
        (connections > 0).then_some(Self { connections, members })
    }

    /// Whether all of them still run: what a dead one does not have open was cut with it.
    pub(super) fn can_be_counted_again(&self) -> bool {
        let has_files = |pid: &Pid| {
            fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut files| files.next().is_some())
        };
        self.members.iter().all(has_files)
    }
}

type Handshake = (SocketAddr, SocketAddr);

/// Those that had begun at the first look.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Option<(Instant, HashSet<Handshake>)>);

/// Connections that node keeps though nobody asks for anything, with the bytes that had come in: it
/// would have closed them if they were HTTP.
type Kept = HashMap<Inode, u64>;

impl Handshakes {
    /// Whether some of them go on, if these do now.
    pub(super) fn go_on(&mut self, now: &HashSet<Handshake>) -> bool {
        let (since, begun) = self.0.get_or_insert_with(|| (Instant::now(), now.clone()));
        since.elapsed() < HANDSHAKE && begun.iter().any(|one| now.contains(one))
    }
}

/// The handshakes that go on at these ports.
pub(super) fn handshakes(ports: &BTreeSet<u16>) -> HashSet<Handshake> {
    let begun = at(ports).into_iter().filter(|it| it.state == TcpState::SynReceived);
    begun.map(|it| (it.local, it.peer)).collect()
}

/// All connections at these ports. For each answer the kernel goes over all connections that there are, those
/// in `TIME_WAIT` too, which takes it milliseconds: many ports are looked for in one.
fn at(ports: &BTreeSet<u16>) -> Vec<TcpConnection> {
    if ports.len() <= ANSWERS {
        let all = ports.iter().filter_map(|port| sock_diag::tcp_connections(Some(*port)).ok());
        return all.flatten().collect();
    }
    let mut all = sock_diag::tcp_connections(None).unwrap_or_default();
    all.retain(|connection| ports.contains(&connection.local.port()));
    all
}

/// What is done with connections that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The idle ones are told that their client has nothing more to say.
    Close,
    /// The same, but for those that node keeps when it has closed what is idle.
    CloseAfterNode,
}

/// A connection: who holds it, under which number, and which it is.
type Held = (Pid, i32, Inode);

/// The connections of our listeners that these processes hold.
pub(super) fn held(worker: &Worker, members: &[Pid]) -> Vec<Held> {
    let open = connections(worker);
    if open.is_empty() {
        return Vec::new();
    }
    let all = members.iter().flat_map(|pid| sockets(*pid));
    all.filter(|(_, _, inode)| open.contains(inode)).collect()
}

/// How many connections these processes hold. On the last call all UNIX connections count as idle with
/// which nothing is unread: the kernel does not tell more of them.
pub(super) fn look(
    (worker, sight): (&mut Worker, &Sight),
    members: &[Pid],
    (look, last_call): (Look, bool),
    habits: &mut Habits,
) -> usize {
    let held = held(worker, members);
    if held.is_empty() {
        return 0;
    }
    let first = look == Look::CloseAfterNode && worker.leaving.kept.is_none();
    let Leaving { kept, answers, watched, .. } = &mut worker.leaving;
    let kept = kept.get_or_insert_default();
    habits.listen();
    let (at, unclear) = (Instant::now(), Unclear::after(*watched));
    // Node ends what is idle by itself, and its client is not told while a duplicate is held.
    let learns = look == Look::Close;
    let mut how = How { sight, answers, habits, learns, at, last_call, unclear };
    let count = held.len();
    for one in held {
        // What may not be looked at ends by itself, or at the drain's end.
        let _ = match look {
            Look::Close => close_if_idle(one, &mut how),
            Look::CloseAfterNode => keep_or_close(one, (kept, first), &mut how),
        };
    }
    let unclear = how.unclear;
    *watched = unclear.next();
    if !unclear.chosen.is_empty() {
        let parts = answers.parts(habits).cloned().unwrap_or_default();
        let over = if last_call { Over::at_last_call() } else { Over::rested(parts, !learns) };
        habits.watch(unclear.chosen, over);
    }
    count
}

/// The connections that came in by the worker's listeners, whoever holds them.
fn connections(worker: &Worker) -> HashSet<Inode> {
    let open = at(&worker.ports).into_iter().filter(|connection| {
        matches!(connection.state, TcpState::Established | TcpState::CloseWait)
    });
    let mut all: HashSet<Inode> = open.map(|connection| connection.inode).collect();
    if !worker.names.is_empty() {
        let unix = sock_diag::unix_connections().unwrap_or_default();
        let ours = unix.into_iter().filter(|it| worker.names.contains(&it.name));
        all.extend(ours.map(|it| it.inode));
    }
    // Nobody has accepted it yet.
    all.remove(&Inode(0));
    all
}

/// The sockets that the process holds.
fn sockets(pid: Pid) -> Vec<Held> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let numbers =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let sockets = numbers.filter_map(|number| {
        let inode = foreign::socket_inode(pid, number).ok()??;
        Some((pid, number, Inode(u32::try_from(inode).ok()?)))
    });
    sockets.collect()
}

/// What tells which connections are idle, at one look at all of a worker's.
struct How<'a> {
    sight: &'a Sight,
    answers: &'a mut Answers,
    habits: &'a mut Habits,
    /// Who may not be ended yet is watched all the same.
    learns: bool,
    at: Instant,
    last_call: bool,
    unclear: Unclear,
}

/// Connections that may be over and never seem so, to be watched: some at each look, all in turn.
struct Unclear {
    skip: usize,
    found: usize,
    chosen: Vec<Watched>,
}

impl Unclear {
    const fn after(skip: usize) -> Self {
        Self { skip, found: 0, chosen: Vec::new() }
    }

    fn add(&mut self, connection: OwnedFd, ends: bool) {
        if self.found >= self.skip && self.chosen.len() < witness::MOST {
            self.chosen.push(Watched { connection, ends });
        }
        self.found += 1;
    }

    /// How many come before those of the next look.
    const fn next(&self) -> usize {
        let end = self.skip + self.chosen.len();
        if end < self.found { end } else { 0 }
    }
}

/// What the kernel tells of a connection.
enum Said {
    /// Its client has nothing more to say.
    Idle,
    /// A request may be under way, or was answered just now.
    Unclear,
    /// The same, and what was answered may go on.
    Young,
    /// It is not over.
    Busy,
}

impl How<'_> {
    fn duplicate(&self, pid: Pid, number: i32) -> io::Result<OwnedFd> {
        self.sight.duplicate(&Process::open(pid)?, number)
    }

    fn said(&mut self, connection: &OwnedFd, inode: Inode) -> io::Result<Said> {
        if socket::is_unix(connection)? {
            let idle = self.last_call && rustix::io::ioctl_fionread(connection)? == 0;
            return Ok(if idle { Said::Idle } else { Said::Busy });
        }
        let exchange = socket::exchange(connection)?;
        let rests = socket::is_idle_connection(connection)?;
        let goes_on = self.answers.may_go_on(self.habits, (inode, exchange, rests), self.at);
        let is_asked = exchange.received > 0 && exchange.segments_out > 0 && !exchange.streams();
        if goes_on && !self.last_call {
            let learns = self.learns && is_asked && self.habits.lengths().is_some();
            return Ok(if learns { Said::Young } else { Said::Busy });
        }
        let may_be_known = self.last_call || self.answers.parts(self.habits).is_some();
        let may_be_watched = is_asked && may_be_known;
        let is_over =
            rests && (self.last_call || self.answers.is_over(self.habits, (inode, exchange)));
        Ok(match (is_over, may_be_watched) {
            (true, _) => Said::Idle,
            (false, true) => Said::Unclear,
            (false, false) => Said::Busy,
        })
    }
}

fn close_if_idle((pid, number, inode): Held, how: &mut How<'_>) -> io::Result<()> {
    close_one_if_idle(how.duplicate(pid, number)?, inode, how)
}

fn close_one_if_idle(connection: OwnedFd, inode: Inode, how: &mut How<'_>) -> io::Result<()> {
    match how.said(&connection, inode)? {
        Said::Idle => rustix::net::shutdown(connection, Shutdown::Read)?,
        Said::Unclear => how.unclear.add(connection, true),
        Said::Young => how.unclear.add(connection, false),
        Said::Busy => {}
    }
    Ok(())
}

/// On the `first` look node has been told, and closes what is idle in its protocol. What it leaves is a
/// websocket or the like, up to its first word that could be a request.
fn keep_or_close(
    (pid, number, inode): Held,
    (kept, first): (&mut Kept, bool),
    how: &mut How<'_>,
) -> io::Result<()> {
    let connection = how.duplicate(pid, number)?;
    if socket::is_unix(&connection)? {
        return close_one_if_idle(connection, inode, how);
    }
    let received = socket::bytes_received(&connection)?;
    if first && socket::is_idle_connection(&connection)? {
        kept.insert(inode, received);
        return Ok(());
    }
    if let Some(before) = kept.get_mut(&inode) {
        let more = received.saturating_sub(*before);
        *before = received;
        if more < SHORTER_THAN_A_REQUEST {
            return Ok(());
        }
        kept.remove(&inode);
    }
    close_one_if_idle(connection, inode, how)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn of_few_ports_and_of_many_the_connections_are_found_and_no_others() {
        let listeners: Vec<_> =
            (0..=ANSWERS).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let connect = |listener| TcpStream::connect((Ipv4Addr::LOCALHOST, port(listener))).unwrap();
        let clients: Vec<TcpStream> = listeners.iter().map(connect).collect();
        let found = |ports: BTreeSet<u16>| {
            at(&ports).iter().map(|it| (it.local.port(), it.peer.port())).collect::<BTreeSet<_>>()
        };
        let all = || listeners.iter().zip(&clients);
        let open: BTreeSet<_> =
            all().map(|(one, client)| (port(one), client.local_addr().unwrap().port())).collect();
        assert_eq!(found(listeners.iter().map(port).collect()), open);
        let one = open.first().copied().unwrap();
        assert_eq!(found([one.0].into()), [one].into());
    }

    fn handshake(port: u16) -> Handshake {
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        (local, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_handshake_that_began_before_is_waited_for_and_a_later_one_is_not() {
        let mut handshakes = Handshakes::default();
        let both: HashSet<Handshake> = [handshake(1), handshake(2)].into();
        assert!(handshakes.go_on(&[handshake(1)].into()));
        assert!(handshakes.go_on(&both));
        assert!(!handshakes.go_on(&[handshake(2)].into()));
    }
}
