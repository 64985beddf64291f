//! The conversation with a worker, in its language.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Dialect, Since};
use crate::wire::{
    lines::{Outbox, QueueFull, Receiver},
    native, node,
};

#[derive(Debug)]
pub(super) enum Session {
    Node(Box<node::Session>),
    Native(Box<native::Session>),
}

/// What does not depend on the dialect.
impl Session {
    pub(super) fn begin(dialect: Dialect, since: Since) -> Self {
        match (dialect, since) {
            (Dialect::Node, Since::Now) => Self::Node(Box::default()),
            (Dialect::Native, Since::Now) => Self::Native(Box::default()),
            (Dialect::Node, Since::Before { .. }) => {
                Self::Node(Box::new(node::Session::resumed(unused_numbers())))
            }
            (Dialect::Native, Since::Before { greeted }) => {
                Self::Native(Box::new(native::Session::resumed(unused_numbers(), greeted)))
            }
        }
    }

    pub(super) fn outbox(&mut self) -> &mut Outbox {
        match self {
            Self::Node(session) => session.outbox(),
            Self::Native(session) => session.outbox(),
        }
    }

    pub(super) fn receiver(&mut self) -> &mut Receiver {
        match self {
            Self::Node(session) => session.receiver(),
            Self::Native(session) => session.receiver(),
        }
    }

    /// Bytes that wait for the worker.
    pub(super) fn queued(&self) -> usize {
        match self {
            Self::Node(session) => session.bytes_queued(),
            Self::Native(session) => session.bytes_queued(),
        }
    }

    /// Sends a connection; the number is what its answer will name.
    pub(super) fn new_connection(&mut self, key: &str, fd: Arc<OwnedFd>) -> Result<u64, QueueFull> {
        match self {
            Self::Node(session) => session.new_connection(key, fd),
            Self::Native(session) => session.new_connection(key, fd),
        }
    }
}

/// The first of numbers that no predecessor has come to: it counted from one, or from an earlier time.
/// Numbers in JSON are exact to 2^53.
fn unused_numbers() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(1 << 50)
}
