//! The kernel's own list of sockets: who listens, how long each queue is, which connections stand.
//!
//! `NETLINK_SOCK_DIAG` answers any user about all sockets of the network namespace; only the way
//! from a socket to its process goes over `/proc` and sees what this user may see.
//! Each function makes one dump over a socket of its own and waits for the kernel for two seconds
//! at most. A dump is no snapshot: sockets that come or go meanwhile may be missing or told twice.
//!
//! See [`sock_diag(7)`](https://man7.org/linux/man-pages/man7/sock_diag.7.html).

mod holders;
mod inet;
mod netlink;
mod unix;

pub use holders::{
    Holder, ProcessName, holders_of, inodes_of, process_name, who_listens, who_listens_at,
};
pub use inet::{
    InetListener, TcpConnection, TcpState, Transport, tcp_connections, tcp_listeners, udp_listeners,
};
pub use unix::{UnixConnection, UnixListener, UnixName, unix_connections, unix_listeners};

use rustix::io::Errno;
use thiserror::Error;

/// The number of a socket in `sockfs`: what `/proc/PID/fd/N` shows as `socket:[N]`.
///
/// The kernel gives 0 to a connection that nobody has accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u32);

/// A dump that could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SockDiagError {
    /// No netlink socket: a seccomp filter, or a kernel without `CONFIG_INET_DIAG`.
    #[error("open a socket to the kernel's socket list")]
    Open(#[source] Errno),
    /// The question could not be sent, or its answer not be read.
    #[error("ask the kernel for the list of {what} sockets")]
    Ask {
        /// Which sockets.
        what: &'static str,
        /// `EAGAIN` when the kernel did not answer in time.
        #[source]
        source: Errno,
    },
    /// The kernel refused the question.
    #[error("the kernel refuses the list of {what} sockets")]
    Refused {
        /// Which sockets.
        what: &'static str,
        /// `ENOENT` when the kernel has no module for these sockets.
        #[source]
        source: Errno,
    },
    /// The answer is shorter than the kernel's own headers say.
    #[error("the kernel's list of {what} sockets is cut off")]
    CutOff {
        /// Which sockets.
        what: &'static str,
    },
}
