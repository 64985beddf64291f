//! Asks one worker of several behind a port whether it is well.
//!
//! Nobody can choose who takes a connection, but everybody can see who has: the kernel's list of connections has
//! the socket at the other end, and `/proc` its process. What another worker has taken is closed without a word.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tine_cluster::primary::Program;
use tine_linux::{
    foreign,
    sock_diag::{self, Inode, TcpConnection},
    tree,
};
use tokio::{net::TcpStream, sync::watch, time};

use super::probe::{Probe, ProbeError, address, ask, connect};
use crate::spec::Health;

/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A check that a worker has to pass.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    probe: Probe,
    timeout: Duration,
    /// Why the last try failed.
    why: watch::Sender<Option<String>>,
}

/// Who is asked, and those who share its port.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub worker: Pid,
    pub others: Vec<Pid>,
    /// The first that the app listens on.
    pub port: Option<SocketAddr>,
}

/// Who has taken a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    /// This worker, or nobody can tell.
    Itself,
    Another,
}

impl Trial {
    /// # Errors
    ///
    /// When the probe makes no sense.
    pub(crate) fn new(health: &Health, program: &Program) -> Result<Self, ProbeError> {
        let (probe, timeout) = (Probe::new(&health.probe, program)?, health.timeout.duration());
        Ok(Self { probe, timeout, why: watch::Sender::new(None) })
    }

    /// Why the last one that was asked is not well.
    pub(crate) fn why(&self) -> Option<String> {
        self.why.borrow().clone()
    }

    /// Returns when this worker is well.
    pub(crate) async fn pass(&self, tried: &Tried) {
        loop {
            let attempt = time::timeout(self.timeout, self.attempt(tried)).await;
            let late = |_| Err(format!("no answer within {} ms", self.timeout.as_millis()));
            match attempt.unwrap_or_else(late) {
                Ok(Taker::Itself) => return drop(self.why.send_replace(None)),
                Ok(Taker::Another) => {}
                Err(why) => drop(self.why.send_replace(Some(why))),
            }
            time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, tried: &Tried) -> Result<Taker, String> {
        let (at, path) = match &self.probe {
            Probe::Http { at, path } => (at, Some(path)),
            Probe::Tcp { at } => (at, None),
            Probe::Exec(_) => {
                let asked = self.probe.attempt(tried.port, tried.worker, self.timeout).await;
                return asked.map(|()| Taker::Itself);
            }
        };
        let address = address(at.as_deref(), tried.port)?;
        let stream = connect(&address).await?;
        match (taker(&stream, tried, self.timeout / 2).await, path) {
            (Taker::Itself, Some(path)) => {
                ask(stream, &address, path).await.map(|()| Taker::Itself)
            }
            (taker, _) => Ok(taker),
        }
    }
}

/// Waits until somebody has it, and takes it for the worker where that cannot be seen.
async fn taker(stream: &TcpStream, tried: &Tried, within: Duration) -> Taker {
    let (Ok(own), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return Taker::Itself;
    };
    let until = Instant::now() + within;
    while Instant::now() < until {
        let tried = tried.clone();
        let look = tokio::task::spawn_blocking(move || holder((own, peer), &tried));
        match look.await {
            Ok(Some(taker)) => return taker,
            Ok(None) => time::sleep(LOOK_AGAIN).await,
            Err(_) => break,
        }
    }
    Taker::Itself
}

/// Who of them has the other end of this connection.
fn holder((own, peer): (SocketAddr, SocketAddr), tried: &Tried) -> Option<Taker> {
    let all = sock_diag::tcp_connections(Some(peer.port())).ok()?;
    let is_other_end = |it: &&TcpConnection| plain(it.peer) == own && plain(it.local) == peer;
    let inode = all.iter().find(is_other_end)?.inode;
    if inode == Inode(0) {
        return None;
    }
    let table = tree::Table::read(None).ok()?;
    let has = |first: Pid| {
        let members = table.members(Some(first), None);
        members.iter().any(|it| foreign::holds_socket(it.pid, u64::from(inode.0)))
    };
    if has(tried.worker) {
        return Some(Taker::Itself);
    }
    tried.others.iter().any(|other| has(*other)).then_some(Taker::Another)
}

/// A socket of IPv6 calls a peer of IPv4 by another name.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
