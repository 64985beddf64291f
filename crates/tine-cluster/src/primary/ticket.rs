//! A connection on its way to a worker, accepted in the moment in which it is sent.
//!
//! What this process has accepted and not sent is reset if it is killed. What waits in the kernel's queue is
//! not, and a successor finds it there; what was sent is in the worker's channel. So the place in the row is
//! given away first, and the connection is taken out of the kernel's queue by whoever sends it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::accept::accept_one;

/// Tickets for connections that are still in the kernel's queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Unredeemed(Arc<AtomicUsize>);

impl Unredeemed {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// For one connection.
#[derive(Debug)]
pub(super) enum Ticket {
    /// That has been accepted.
    For(Arc<OwnedFd>),
    /// For the next one of a queue.
    ForNext(ForNext),
}

#[derive(Debug)]
pub(super) struct ForNext {
    from: Arc<OwnedFd>,
    /// Set once, by the channel's task that sends it; the main task gives it to another worker if that
    /// one dies.
    connection: OnceLock<Arc<OwnedFd>>,
    unredeemed: Unredeemed,
}

impl Ticket {
    /// For the next one of the listener's queue.
    pub(super) fn for_next(from: &Arc<OwnedFd>, unredeemed: &Unredeemed) -> Self {
        unredeemed.0.fetch_add(1, Ordering::Relaxed);
        let (from, unredeemed) = (Arc::clone(from), unredeemed.clone());
        Self::ForNext(ForNext { from, connection: OnceLock::new(), unredeemed })
    }

    /// The connection. Accepted now, if that was not done yet.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where none waits any more, `EMFILE` and its like.
    pub(super) fn redeem(&self) -> io::Result<Arc<OwnedFd>> {
        match self {
            Self::For(connection) => Ok(Arc::clone(connection)),
            Self::ForNext(next) => next.redeem(),
        }
    }

    pub(super) fn is_redeemed(&self) -> bool {
        match self {
            Self::For(_) => true,
            Self::ForNext(next) => next.connection.get().is_some(),
        }
    }
}

impl ForNext {
    fn redeem(&self) -> io::Result<Arc<OwnedFd>> {
        if let Some(connection) = self.connection.get() {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(accept_one(self.from.as_fd())?);
        if self.connection.set(Arc::clone(&connection)).is_ok() {
            self.unredeemed.0.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(connection)
    }
}

impl Drop for ForNext {
    fn drop(&mut self) {
        if self.connection.get().is_none() {
            self.unredeemed.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_stays_in_the_kernels_queue_until_it_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("it is bound");
        let (from, unredeemed) = (Arc::new(OwnedFd::from(listener)), Unredeemed::default());
        let waiting = || tine_linux::socket::accept_queue(&*from).expect("it is TCP").length;

        let ticket = Ticket::for_next(&from, &unredeemed);
        assert_eq!(unredeemed.count(), 1);
        let error = ticket.redeem().expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

        let _client = TcpStream::connect(address).expect("it listens");
        assert_eq!((waiting(), ticket.is_redeemed()), (1, false));
        let first = ticket.redeem().expect("one waits");
        let again = ticket.redeem().expect("the same");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!((waiting(), unredeemed.count()), (0, 0));

        drop(Ticket::for_next(&from, &unredeemed));
        drop(ticket);
        assert_eq!(unredeemed.count(), 0);
    }
}
