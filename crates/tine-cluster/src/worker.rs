//! The worker's side: a program that wants to be one of N.
//!
//! ```no_run
//! # #[cfg(feature = "worker")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Write;
//!
//! let worker = tine_cluster::worker::Worker::from_env()?;
//! let listener = worker.listen("127.0.0.1:8003")?;
//! worker.ready()?;
//! while let Some((mut connection, _)) = listener.accept()? {
//!     writeln!(connection, "hello from {}", std::process::id())?;
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "worker"))]
//! # fn main() {}
//! ```
//!
//! Started by a primary (`tine run`, or a program built on this crate), it shares its port with the
//! other workers. Started by hand, it simply binds, as Node's `net.listen` does.
//!
//! Uses std alone, so that it fits any runtime: [`Listener::into_std`] gives up the socket where
//! there is one, and [`Stop`] is a descriptor to wait for. In a cluster one thread reads the channel
//! to the primary; it ends when the worker and its listeners are dropped. It never waits for the
//! program, so no call here can be held up by another one.
//!
//! # A pool of threads
//!
//! All of them accept from the one listener, whatever is behind it:
//!
//! ```no_run
//! # fn serve(_: std::net::TcpStream) {}
//! # fn pool(listener: tine_cluster::worker::Listener) {
//! std::thread::scope(|scope| {
//!     for _ in 0..8 {
//!         scope.spawn(|| {
//!             while let Ok(Some((connection, _))) = listener.accept() {
//!                 serve(connection);
//!             }
//!         });
//!     }
//! });
//! # }
//! ```
//!
//! # tokio, hyper, axum
//!
//! [`Listener::into_async`] gives a listener for tokio, feature `tokio`; `examples/axum.rs` serves axum
//! with it in ten lines.
//!
//! If the primary goes away, sockets go on working; connections that would have been handed over do
//! not come any more, and `accept` says so.

mod bind;
mod channel;
mod inbox;
mod listener;
mod message;
mod outgoing;
mod state;
mod stop;
#[cfg(feature = "tokio")]
mod tokio;

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use channel::{Answer, Client};
pub use listener::{Listener, UnixListener};
pub use message::{Message, Messages, Readable, Reply, RequestError, SendError};
use state::Question;
pub use stop::Stop;

#[cfg(feature = "tokio")]
pub use self::tokio::{AsyncListener, AsyncMessages, AsyncUnixListener};
use crate::{
    id::{Instance, WorkerId},
    wire::native::Wanted,
};

/// This process, in a cluster or alone.
#[derive(Clone, Debug)]
pub struct Worker {
    client: Option<Arc<Client>>,
    stop: Stop,
    id: Option<WorkerId>,
    instance: Option<Instance>,
}

/// How to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How many connections may wait to be accepted; `None` for the usual number. The kernel caps it
    /// at `net.core.somaxconn`.
    pub backlog: Option<u32>,
    /// An IPv6 address is not to serve IPv4 as well.
    pub v6only: bool,
    /// The address is to be this worker's alone, and not the cluster's: another one that wants it gets
    /// `AddrInUse`. Connections queued there end with the worker.
    pub exclusive: bool,
}

/// Why this process is neither in a cluster nor alone.
#[cfg(feature = "worker")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FromEnvError {
    /// The environment names a channel that is not there, or that was taken before.
    #[error("find the channel to the primary")]
    Claim(#[from] tine_linux::inherited::ClaimError),
    /// The channel could not be used.
    #[error("greet the primary")]
    Greet(#[source] io::Error),
}

/// Listens on one TCP address: all that a program with one listener needs.
///
/// It takes the channel to the primary, so it can be called once; with more listeners, or to say
/// [`Worker::ready`], keep a [`Worker`].
///
/// # Errors
///
/// When the channel cannot be taken, and those of [`Worker::listen`].
#[cfg(feature = "worker")]
pub fn listen(address: impl ToSocketAddrs) -> io::Result<Listener> {
    Worker::from_env().map_err(io::Error::other)?.listen(address)
}

impl Worker {
    /// The worker that the environment makes of this process: in a cluster if
    /// [`CHANNEL`](crate::wire::native::CHANNEL) is set, alone otherwise. It takes the channel, so
    /// it can be called once; clone what it returns.
    ///
    /// # Errors
    ///
    /// When the channel is not there, was taken before, or the primary has gone.
    #[cfg(feature = "worker")]
    pub fn from_env() -> Result<Self, FromEnvError> {
        match tine_linux::inherited::claim(crate::wire::native::CHANNEL)? {
            Some(channel) => {
                let worker = Self::over(channel).map_err(FromEnvError::Greet)?;
                let id = number("TINE_WORKER_ID").map(WorkerId);
                let instance = number("TINE_INSTANCE").map(Instance);
                Ok(Self { id, instance, ..worker })
            }
            None => Ok(Self::alone()),
        }
    }

    /// A worker without a primary. It binds by itself and is never asked to stop.
    #[must_use]
    pub const fn alone() -> Self {
        Self { client: None, stop: Stop::never(), id: None, instance: None }
    }

    /// A worker at the end of this UNIX stream socket. It is made blocking.
    ///
    /// # Errors
    ///
    /// When the primary has gone, or a thread cannot be started.
    pub fn over(channel: OwnedFd) -> io::Result<Self> {
        let (client, stop) = Client::start(channel)?;
        Ok(Self { client: Some(Arc::new(client)), stop, id: None, instance: None })
    }

    /// Whether there is a primary: Node's `cluster.isWorker`. It may have gone since.
    #[must_use]
    pub const fn is_in_cluster(&self) -> bool {
        self.client.is_some()
    }

    /// Its number in its cluster: Node's `cluster.worker.id`. `None` without a primary, and for a
    /// worker that was made from a descriptor.
    #[must_use]
    pub const fn id(&self) -> Option<WorkerId> {
        self.id
    }

    /// Which instance it fills; `None` if it was forked beside them.
    #[must_use]
    pub const fn instance(&self) -> Option<Instance> {
        self.instance
    }

    /// Whether the channel to the primary is open: Node's `worker.isConnected()`.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.is_connected())
    }

    /// Leaves the cluster by this worker's own wish: Node's `cluster.worker.disconnect()`. It gets no
    /// new connection; all else is as after a [stop](Self::stop), so the program finishes what it has
    /// and exits. The channel stays open until the worker and its listeners are dropped. Nothing
    /// happens the second time, and without a primary.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the primary has gone.
    pub fn disconnect(&self) -> io::Result<()> {
        self.client.as_ref().map_or(Ok(()), |client| client.leave())
    }

    /// Whether this worker is leaving on purpose, by the primary's wish or its own: Node's
    /// `worker.exitedAfterDisconnect`.
    #[must_use]
    pub fn exited_after_disconnect(&self) -> bool {
        self.stop_requested()
    }

    /// Listens on a TCP address, the first of several that can be bound.
    ///
    /// # Errors
    ///
    /// As `bind(2)` has them, whoever called it; `BrokenPipe` when the primary has gone.
    pub fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        self.listen_with(address, Options::default())
    }

    /// [`Self::listen`], with options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::listen`].
    pub fn listen_with(
        &self,
        address: impl ToSocketAddrs,
        options: Options,
    ) -> io::Result<Listener> {
        first(address, |address| self.listen_on(address, options))
    }

    fn listen_on(&self, address: SocketAddr, options: Options) -> io::Result<Listener> {
        let Some(client) = &self.client else {
            return Listener::own(bind::tcp(address, options)?, self.stop.clone(), None);
        };
        let wanted = Wanted::Tcp { address, v6only: options.v6only };
        match client.ask(options.of(wanted))? {
            Answer::Seat(fd, lease) => Listener::own(fd.into(), self.stop.clone(), Some(lease)),
            Answer::HandedOver(queue) => Ok(Listener::handed_over(queue, self.stop.clone())),
        }
    }

    /// Binds a datagram socket, the first of several addresses that can be bound. Within a cluster
    /// the kernel spreads the datagrams by their sender.
    ///
    /// # Errors
    ///
    /// Those of [`Self::listen`].
    pub fn listen_udp(&self, address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        self.listen_udp_with(address, Options::default())
    }

    /// [`Self::listen_udp`], with options. There is no backlog of datagrams.
    ///
    /// # Errors
    ///
    /// Those of [`Self::listen`].
    pub fn listen_udp_with(
        &self,
        address: impl ToSocketAddrs,
        options: Options,
    ) -> io::Result<UdpSocket> {
        first(address, |address| {
            let Some(client) = &self.client else { return bind::udp(address, options) };
            let wanted = Wanted::Udp { address, v6only: options.v6only };
            match client.ask(options.of(wanted))? {
                Answer::Seat(fd, lease) => {
                    lease.keep();
                    Ok(fd.into())
                }
                Answer::HandedOver(_) => Err(channel::nonsense("datagrams cannot be handed over")),
            }
        })
    }

    /// Listens on a path.
    ///
    /// # Errors
    ///
    /// Those of [`Self::listen`]; `InvalidInput` in a cluster for a path that is not UTF-8.
    pub fn listen_unix(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let Some(client) = &self.client else {
            let listener = std::os::unix::net::UnixListener::bind(path)?;
            return UnixListener::own(listener, self.stop.clone(), None);
        };
        let wanted = Wanted::Unix { path: absolute(path.as_ref())? };
        match client.ask(Options::default().of(wanted))? {
            Answer::Seat(fd, lease) => UnixListener::own(fd.into(), self.stop.clone(), Some(lease)),
            Answer::HandedOver(queue) => Ok(UnixListener::handed_over(queue, self.stop.clone())),
        }
    }

    /// Tells the primary that this worker can serve. Does nothing without one.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the primary has gone.
    pub fn ready(&self) -> io::Result<()> {
        self.client.as_ref().map_or(Ok(()), |client| client.ready())
    }

    /// Whether the primary has asked this worker to stop accepting, finish and exit.
    #[must_use]
    pub fn stop_requested(&self) -> bool {
        self.stop.requested()
    }

    /// The same as something to wait for. Listeners heed it by themselves.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Options {
    const fn of(self, wanted: Wanted) -> Question {
        Question { wanted, backlog: self.backlog, exclusive: self.exclusive }
    }
}

/// The number in a variable, without what may follow it.
#[cfg(feature = "worker")]
fn number(variable: &str) -> Option<u32> {
    std::env::var(variable).ok()?.split('.').next()?.parse().ok()
}

/// The first success, as `std::net::TcpListener::bind` looks for it.
fn first<T>(
    addresses: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no addresses");
    for address in addresses.to_socket_addrs()? {
        match attempt(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if path.to_str().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"));
    }
    Ok(path)
}
