//! What is kept: bytes and descriptors, by a key.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::process::Pid;
use tine_linux::process::Exit;

use super::message::Ended;

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

    /// All descriptors, lent.
    #[must_use]
    pub fn lent(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd).collect()
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

    /// Everything with its key.
    pub fn items(&self) -> impl Iterator<Item = (&String, &Item)> {
        self.items.iter()
    }

    /// How much there is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// The keys that begin so.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a String> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.items.range::<str, _>(from).map(|(key, _)| key);
        keys.take_while(move |key| key.starts_with(prefix))
    }

    /// Everything whose key begins so, by the rest of the key.
    pub fn take_below(&mut self, prefix: &str) -> Vec<(String, Item)> {
        let keys: Vec<String> = self.below(prefix).cloned().collect();
        let taken = keys.into_iter().filter_map(|key| {
            let item = self.items.remove(&key)?;
            Some((key[prefix.len()..].to_owned(), item))
        });
        taken.collect()
    }

    /// How children of the watchdog have ended that no manager has heard of.
    pub fn take_ended(&mut self) -> Vec<(Pid, Exit)> {
        let keys: Vec<String> = self.below(Ended::PREFIX).cloned().collect();
        let ends = keys.into_iter().filter_map(|key| {
            let item = self.items.remove(&key)?;
            Ended::of(&key, &item.value).map(|ended| (ended.pid, ended.exit))
        });
        ends.collect()
    }

    /// The same with descriptors of its own.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be duplicated.
    pub fn try_clone(&self) -> io::Result<Self> {
        let items = self
            .items
            .iter()
            .map(|(key, item)| Ok((key.clone(), Item::of(&item.value, &item.lent())?)));
        Ok(Self { items: items.collect::<io::Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_key_is_taken_and_nothing_else() {
        let mut store = Store::default();
        for key in ["app/1/a", "app/1/b", "app/10/a", "app", "state"] {
            store.put(key, Item { value: key.into(), ..Item::default() });
        }
        let taken = store.take_below("app/1/");
        assert_eq!(taken.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            store.items().map(|(key, _)| &**key).collect::<Vec<_>>(),
            ["app", "app/10/a", "state"]
        );
    }

    #[test]
    fn a_copy_has_descriptors_of_its_own() {
        let (one, other) = std::io::pipe().expect("a pipe");
        let mut store = Store::default();
        store.put("pipe", Item::of(b"x", &[other.as_fd()]).expect("descriptors"));
        drop(other);
        let copy = store.try_clone().expect("descriptors");
        drop(store);
        drop(copy);
        let mut one = one;
        let read = std::io::Read::read(&mut one, &mut [0; 1]).expect("a pipe");
        assert_eq!(read, 0, "nothing holds the other end any more");
    }
}
