//! Accepting, however the connections come.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{SocketAddr as UnixAddr, UnixListener as StdUnixListener, UnixStream},
    },
};

use super::{
    channel::{Lease, Queue, Taken},
    stop::{Stop, Woken},
};

/// A TCP listener of a worker: a socket of its own, one that all workers share, or one that the
/// primary holds for all and hands the connections over from.
///
/// Several threads may accept from it at the same time. Dropped, it is closed, and the primary is told;
/// the worker can listen there again.
#[derive(Debug)]
pub struct Listener(pub(super) Source<TcpListener>);

/// A UNIX listener of a worker; see [`Listener`].
#[derive(Debug)]
pub struct UnixListener(pub(super) Source<StdUnixListener>);

#[derive(Debug)]
pub(super) enum Source<L> {
    /// With the lease behind the socket, which is closed first.
    Socket {
        listener: L,
        stop: Stop,
        lease: Option<Lease>,
    },
    HandedOver {
        queue: Queue,
        stop: Stop,
    },
}

impl Listener {
    pub(super) fn own(listener: TcpListener, stop: Stop, lease: Option<Lease>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Source::Socket { listener, stop, lease }))
    }

    pub(super) const fn handed_over(queue: Queue, stop: Stop) -> Self {
        Self(Source::HandedOver { queue, stop })
    }

    /// Sleeps until there is a connection, which is blocking, as std's are. `None` when this worker
    /// is to stop and no connection is left.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)` that concern this process (out of descriptors), and `BrokenPipe` when
    /// connections were handed over by a primary that has gone. One that concerns a single
    /// connection is passed over.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.0.accept(TcpListener::accept, |taken| {
            let stream = TcpStream::from(taken);
            stream.set_nonblocking(false)?;
            let peer = stream.peer_addr()?;
            Ok((stream, peer))
        })
    }

    /// The address that clients see.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Source::Socket { listener, .. } => listener.local_addr(),
            Source::HandedOver { queue, .. } => {
                queue.address().ok_or_else(|| super::channel::nonsense("it told no address"))
            }
        }
    }

    /// The socket, non-blocking, for a runtime that accepts by itself and heeds [`Stop`] by itself.
    ///
    /// # Errors
    ///
    /// Gives the listener back if the primary holds the socket.
    pub fn into_std(self) -> Result<TcpListener, Self> {
        self.0.into_socket().map_err(Self)
    }
}

impl UnixListener {
    pub(super) fn own(
        listener: StdUnixListener,
        stop: Stop,
        lease: Option<Lease>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Source::Socket { listener, stop, lease }))
    }

    pub(super) const fn handed_over(queue: Queue, stop: Stop) -> Self {
        Self(Source::HandedOver { queue, stop })
    }

    /// See [`Listener::accept`].
    ///
    /// # Errors
    ///
    /// Those of [`Listener::accept`].
    pub fn accept(&self) -> io::Result<Option<(UnixStream, UnixAddr)>> {
        self.0.accept(StdUnixListener::accept, |taken| {
            let stream = UnixStream::from(taken);
            stream.set_nonblocking(false)?;
            let peer = stream.peer_addr()?;
            Ok((stream, peer))
        })
    }

    /// See [`Listener::into_std`].
    ///
    /// # Errors
    ///
    /// Gives the listener back if the primary holds the socket.
    pub fn into_std(self) -> Result<StdUnixListener, Self> {
        self.0.into_socket().map_err(Self)
    }
}

impl<L: AsFd> Source<L> {
    fn into_socket(self) -> Result<L, Self> {
        match self {
            Self::Socket { listener, lease, .. } => {
                if let Some(lease) = lease {
                    lease.keep();
                }
                Ok(listener)
            }
            Self::HandedOver { .. } => Err(self),
        }
    }

    fn accept<A>(
        &self,
        accept: impl Fn(&L) -> io::Result<A>,
        take: impl Fn(Taken) -> io::Result<A>,
    ) -> io::Result<Option<A>> {
        match self {
            Self::Socket { listener, stop, .. } => accept_own(listener, stop, accept),
            Self::HandedOver { queue, stop } => accept_handed_over(queue, stop, take),
        }
    }
}

/// The socket may be shared: another worker can be quicker, so it is non-blocking.
fn accept_own<L: AsFd, A>(
    listener: &L,
    stop: &Stop,
    accept: impl Fn(&L) -> io::Result<A>,
) -> io::Result<Option<A>> {
    loop {
        match accept(listener) {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {}
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => continue,
                _ => return Err(error),
            },
        }
        match stop.or_readable(listener)? {
            Woken::Ready => {}
            Woken::Stop => return Ok(None),
        }
    }
}

fn accept_handed_over<A>(
    queue: &Queue,
    stop: &Stop,
    take: impl Fn(Taken) -> io::Result<A>,
) -> io::Result<Option<A>> {
    loop {
        match queue.take() {
            // An error: the client has gone in the meantime.
            Some(taken) => {
                if let Ok(accepted) = take(taken) {
                    return Ok(Some(accepted));
                }
            }
            None if stop.requested() => return Ok(None),
            None => return Err(ErrorKind::BrokenPipe.into()),
        }
    }
}
