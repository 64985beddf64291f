//! What the manager says to its watchdog, and is told.

use std::os::fd::OwnedFd;

use super::{Keeping, Manager};
use crate::{
    daemon::say,
    watchdog::{
        message::Word,
        packet::{self, Packet, Wait},
        reach,
        store::Item,
    },
};

impl Keeping {
    /// Takes in all that has come by now.
    pub(super) fn hear(&mut self) {
        while let Some(packet) = self.next_packet() {
            let room = std::mem::take(&mut self.room);
            self.obey(&room[..packet.length], packet.descriptors, packet.is_cut);
            self.room = room;
        }
        if let Some(manager) = &mut self.manager {
            manager.tell();
        }
    }

    fn next_packet(&mut self) -> Option<Packet> {
        let manager = self.manager.as_mut()?;
        let line = manager.line.as_ref()?;
        match packet::receive(line, &mut self.room, Wait::Never) {
            Ok(Some(packet)) => Some(packet),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Ok(None) | Err(_) => {
                manager.line = None;
                None
            }
        }
    }

    /// A record without its descriptors is worse than none: its worker would be taken over by half.
    fn obey(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>, is_cut: bool) {
        match Word::decode(bytes) {
            Ok(Word::Put { key, .. } | Word::PutLarge { key }) if is_cut => {
                say(&format!("`{key}` cannot be kept: no more descriptors are to be had"));
                self.store.take(key);
            }
            Ok(Word::Put { key, value }) => {
                self.store.put(key, Item { value: value.to_vec(), descriptors });
            }
            Ok(Word::PutLarge { key }) => self.keep_large(key, descriptors),
            Ok(Word::Forget { key }) => drop(self.store.take(key)),
            Ok(Word::Duplicate { number }) => reach::duplicate(number, &descriptors),
            Ok(Word::Memory { thread, address, length }) => {
                reach::read_memory((thread, address, length), &descriptors);
            }
            Ok(Word::Become { program }) => self.program = Some(program.to_owned()),
            Err(error) => say(&format!("the manager said what cannot be understood: {error}")),
        }
    }

    fn keep_large(&mut self, key: &str, mut descriptors: Vec<OwnedFd>) {
        if descriptors.is_empty() {
            return say(&format!("`{key}` came without its value"));
        }
        match packet::read_file(descriptors.remove(0)) {
            Ok(value) => self.store.put(key, Item { value, descriptors }),
            Err(error) => say(&format!("`{key}` cannot be read: {error}")),
        }
    }
}

impl Manager {
    /// Of the ends that it has not heard of yet, as many as it takes.
    pub(super) fn tell(&mut self) {
        let Some(line) = &self.line else { return };
        while let Some(ended) = self.untold.front() {
            // A line that is full is waited for; one that is broken will show as closed.
            if packet::send(line, &ended.encode(), &[], Wait::Never).is_err() {
                return;
            }
            self.untold.pop_front();
        }
    }
}
