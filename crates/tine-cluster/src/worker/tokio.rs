//! The same for programs on tokio.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{TcpListener, TcpStream, UnixListener as TokioUnixListener, UnixStream, unix},
};

use super::{
    Listener, Message, Messages, Stop, UnixListener,
    channel::{Lease, Queue, Taken},
    inbox::Look,
    listener::Source,
};
use crate::primary::ready;

/// A [`Listener`] on tokio.
#[derive(Debug)]
pub struct AsyncListener(Async<TcpListener>);

/// A [`UnixListener`] on tokio.
#[derive(Debug)]
pub struct AsyncUnixListener(Async<TokioUnixListener>);

/// [`Messages`] on tokio.
#[derive(Debug)]
pub struct AsyncMessages {
    messages: Messages,
    signal: Option<AsyncFd<OwnedFd>>,
}

#[derive(Debug)]
enum Async<L> {
    /// With the lease behind the socket, which is closed first.
    Socket {
        listener: L,
        stop: AsyncStop,
        _lease: Option<Lease>,
    },
    HandedOver {
        queue: Queue,
        signal: AsyncFd<OwnedFd>,
        stop: Stop,
    },
}

/// The wish to stop, to be waited for; `None` where nobody can wish it.
#[derive(Debug)]
struct AsyncStop(Option<AsyncFd<OwnedFd>>);

impl Listener {
    /// For tokio, in whose runtime this must be called.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn into_async(self) -> io::Result<AsyncListener> {
        self.0.into_async(TcpListener::from_std).map(AsyncListener)
    }
}

impl UnixListener {
    /// For tokio, in whose runtime this must be called.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn into_async(self) -> io::Result<AsyncUnixListener> {
        self.0.into_async(TokioUnixListener::from_std).map(AsyncUnixListener)
    }
}

impl AsyncListener {
    /// The next connection; `None` when this worker is to stop. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`Listener::accept`].
    pub async fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let accept = async |listener: &TcpListener| listener.accept().await;
        self.0.accept(accept, tcp_stream).await
    }

    /// The address that clients see.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Async::Socket { listener, .. } => listener.local_addr(),
            Async::HandedOver { queue, .. } => {
                queue.address().ok_or_else(|| super::channel::nonsense("it told no address"))
            }
        }
    }
}

impl AsyncUnixListener {
    /// The next connection; `None` when this worker is to stop. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`Listener::accept`].
    pub async fn accept(&self) -> io::Result<Option<(UnixStream, unix::SocketAddr)>> {
        let accept = async |listener: &TokioUnixListener| listener.accept().await;
        self.0.accept(accept, unix_stream).await
    }
}

fn tcp_stream(taken: Taken) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = std::net::TcpStream::from(taken);
    stream.set_nonblocking(true)?;
    let peer = stream.peer_addr()?;
    Ok((TcpStream::from_std(stream)?, peer))
}

fn unix_stream(taken: Taken) -> io::Result<(UnixStream, unix::SocketAddr)> {
    let stream = StdUnixStream::from(taken);
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let peer = stream.peer_addr()?;
    Ok((stream, peer))
}

impl<L> Source<L> {
    fn into_async<A>(self, of_std: impl Fn(L) -> io::Result<A>) -> io::Result<Async<A>> {
        Ok(match self {
            Self::Socket { listener, stop, lease } => Async::Socket {
                listener: of_std(listener)?,
                stop: AsyncStop::new(&stop)?,
                _lease: lease,
            },
            Self::HandedOver { queue, stop } => {
                let signal = twin(&*queue.signal()?)?;
                Async::HandedOver { queue, signal, stop }
            }
        })
    }
}

impl<L> Async<L> {
    async fn accept<A>(
        &self,
        accept: impl AsyncFn(&L) -> io::Result<A>,
        take: impl Fn(Taken) -> io::Result<A>,
    ) -> io::Result<Option<A>> {
        match self {
            Self::Socket { listener, stop, .. } => accept_own(listener, stop, accept).await,
            Self::HandedOver { queue, signal, stop } => {
                accept_handed_over((queue, signal, stop), take).await
            }
        }
    }
}

async fn accept_own<L, A>(
    listener: &L,
    stop: &AsyncStop,
    accept: impl AsyncFn(&L) -> io::Result<A>,
) -> io::Result<Option<A>> {
    loop {
        // What is queued comes first.
        let accepted = tokio::select! {
            biased;
            accepted = accept(listener) => accepted,
            () = stop.requested() => return Ok(None),
        };
        match accepted {
            // The client has gone in the meantime.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            other => return other.map(Some),
        }
    }
}

async fn accept_handed_over<A>(
    (queue, signal, stop): (&Queue, &AsyncFd<OwnedFd>, &Stop),
    take: impl Fn(Taken) -> io::Result<A>,
) -> io::Result<Option<A>> {
    loop {
        match queue.look() {
            // An error: the client has gone in the meantime.
            Look::Item(taken) => {
                if let Ok(accepted) = take(taken) {
                    return Ok(Some(accepted));
                }
            }
            Look::Ended if stop.requested() => return Ok(None),
            Look::Ended => return Err(ErrorKind::BrokenPipe.into()),
            Look::Empty => has_news(signal).await?,
        }
    }
}

/// Sleeps until there may be something in the inbox again, which was found empty.
async fn has_news(signal: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut ready = signal.readable().await?;
    // tokio's memory may be older than the look. Forgotten, the kernel tells again when there is news:
    // it has raised the signal since, or will.
    if !is_raised(signal.get_ref()) {
        ready.clear_ready();
    }
    Ok(())
}

fn is_raised(signal: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(signal, PollFlags::IN)], Some(&now)), Ok(1))
}

impl Messages {
    /// For tokio, in whose runtime this must be called.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn into_async(self) -> io::Result<AsyncMessages> {
        let signal = self.descriptor()?.map(twin).transpose()?;
        Ok(AsyncMessages { messages: self, signal })
    }
}

impl AsyncMessages {
    /// The next message; `None` when the primary has gone and all are taken. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub async fn recv(&self) -> io::Result<Option<Message>> {
        loop {
            match (self.messages.look(), &self.signal) {
                (Look::Item(message), _) => return Ok(Some(message)),
                (Look::Ended, _) | (Look::Empty, None) => return Ok(None),
                (Look::Empty, Some(signal)) => has_news(signal).await?,
            }
        }
    }
}

impl AsyncStop {
    fn new(stop: &Stop) -> io::Result<Self> {
        stop.as_descriptor().map(twin).transpose().map(Self)
    }

    async fn requested(&self) {
        match &self.0 {
            // An error: the runtime is shutting down, and everything with it.
            Some(wish) => drop(wish.readable().await),
            None => std::future::pending().await,
        }
    }
}

impl Stop {
    /// For tokio, in whose runtime this must be called: waits until the wish is expressed; for ever
    /// without a primary. Fits `with_graceful_shutdown` of axum and hyper.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn into_async(self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let stop = AsyncStop::new(&self)?;
        Ok(async move { stop.requested().await })
    }
}

fn twin(of: impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    ready::watch(of.as_fd().try_clone_to_owned()?, Interest::READABLE)
}
