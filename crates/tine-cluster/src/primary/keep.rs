//! What outlives this process: a keeper is told all that a successor needs, as it happens.
//!
//! The records are described in `docs/design/adoption.md`. Whoever keeps them (a parent that does little
//! else, say) starts another primary when this one has died, and gives them to [`Cluster::adopt`]: the
//! workers, who noticed nothing, are its workers then.
//!
//! [`Cluster::adopt`]: super::Cluster::adopt

use std::{
    fmt, io,
    os::fd::{BorrowedFd, OwnedFd},
};

use thiserror::Error;

/// Keeps what a successor of this process needs to go on with a cluster.
///
/// Both methods are called from the cluster's own task, in the order of what happens, and must not block:
/// no worker is served meanwhile.
pub trait Keep: fmt::Debug + Send + Sync {
    /// Keeps this under that key, in place of what was there. Who keeps it duplicates the descriptors.
    fn put(&self, key: &str, value: &[u8], descriptors: &[BorrowedFd<'_>]);

    /// Keeps it no longer.
    fn forget(&self, key: &str);
}

/// One thing that was kept.
#[derive(Debug)]
pub struct Kept {
    /// As in [`Keep::put`].
    pub key: String,
    /// What was put last.
    pub value: Vec<u8>,
    /// In the same order.
    pub descriptors: Vec<OwnedFd>,
}

/// Why what was kept cannot be taken over. Nothing was done to the workers then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// It was written by another version of this crate.
    #[error("what was kept has version {found}, and this is version {known}")]
    Version {
        /// Of what was kept.
        found: u32,
        /// Of this crate.
        known: u32,
    },
    /// A record is not there without which the others mean nothing.
    #[error("what was kept has no record `{0}`")]
    Missing(&'static str),
    /// A record cannot be read.
    #[error("the record `{key}` cannot be read")]
    Broken {
        /// Which.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A record lacks a descriptor, or has one too many.
    #[error("the record `{key}` does not have the descriptors that it names")]
    Descriptors {
        /// Which.
        key: String,
    },
    /// Sockets have left the group that the kernel numbers, and nobody saw in which order.
    #[error("several sockets have left the group of `{key}`, and their order is not known")]
    Order {
        /// The listener's.
        key: String,
    },
    /// The kernel refused something.
    #[error("take over `{key}`")]
    Io {
        /// Which record.
        key: String,
        /// Why.
        source: io::Error,
    },
}
