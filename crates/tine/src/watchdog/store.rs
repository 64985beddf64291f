//! What is kept: bytes and descriptors, by a key.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// One thing that is kept.
#[derive(Debug, Default)]
pub struct Item {
    /// What it says; for the watchdog, any bytes.
    pub value: Vec<u8>,
    /// The descriptors that belong to it, in the order in which they came.
    pub descriptors: Vec<OwnedFd>,
}

/// All that is kept, in the order of the keys.
#[derive(Debug, Default)]
pub struct Store {
    items: BTreeMap<String, Item>,
}

impl Item {
    /// One with descriptors of its own.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be duplicated.
    pub fn of(value: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let copies = descriptors.iter().map(BorrowedFd::try_clone_to_owned);
        Ok(Self { value: value.to_owned(), descriptors: copies.collect::<io::Result<_>>()? })
    }
}

impl Store {
    /// Puts it in place of what was there.
    pub fn put(&mut self, key: &str, item: Item) {
        self.items.insert(key.to_owned(), item);
    }

    /// What is under this key, if anything is.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }

    /// Keeps it no longer.
    pub fn take(&mut self, key: &str) -> Option<Item> {
        self.items.remove(key)
    }
}
