//! `IPV6_V6ONLY`, where only the trapped `setsockopt` tells.

use std::collections::HashMap;

use tine_linux::seccomp::Notification;

use super::{Answer, Asked};
use crate::{
    id::WorkerId,
    primary::{caller, task::Task},
};

/// What a program said of its sockets, by their inodes.
#[derive(Debug, Default)]
pub(in crate::primary) struct ToldV6Only {
    told: HashMap<u64, bool>,
    /// How many were left when those that are closed were last forgotten.
    left: usize,
}

/// Fewer are not worth a look at what is closed.
const FEW: usize = 64;

impl ToldV6Only {
    fn of(&self, inode: u64) -> Option<bool> {
        self.told.get(&inode).copied()
    }

    fn tell(&mut self, inode: u64, on: bool) {
        self.told.insert(inode, on);
    }

    /// Whether it has doubled since closed sockets were last forgotten.
    fn is_full(&self) -> bool {
        self.told.len() >= FEW.max(self.left * 2)
    }

    fn forget_all_but(&mut self, open: impl Fn(u64) -> bool) {
        self.told.retain(|inode, _| open(*inode));
        self.left = self.told.len();
    }
}

impl Task {
    pub(super) fn v6only(&self, asked: Asked<'_>) -> bool {
        let told = self.workers.get(&asked.worker).map(|worker| &worker.v6only);
        let told = told.and_then(|told| told.of(asked.socket.inode));
        asked.socket.v6only.or(told).unwrap_or(false)
    }

    /// The program says whether its IPv6 socket leaves IPv4 alone; the kernel is told as well.
    pub(super) fn on_v6only(
        &mut self,
        worker: WorkerId,
        notification: &Notification,
        (fd, value): (i32, u64),
    ) -> Option<Answer> {
        let thread = notification.thread?;
        let value = caller::memory(&self.sight, thread, value, 4).ok()?;
        let inode = caller::inode(thread, fd).ok()??;
        let on = value.iter().any(|byte| *byte != 0);
        if self.workers.get(&worker)?.v6only.is_full()
            && let Some(open) = self.open_sockets(worker)
        {
            self.workers.get_mut(&worker)?.v6only.forget_all_but(|inode| open.contains_key(&inode));
        }
        self.workers.get_mut(&worker)?.v6only.tell(inode, on);
        Some(Answer::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_thousand_sockets_one_after_the_other_does_not_pile_up() {
        let mut told = ToldV6Only::default();
        for inode in 0..1000 {
            if told.is_full() {
                told.forget_all_but(|open| open == 0 || open == inode - 1);
            }
            told.tell(inode, inode % 2 == 0);
            assert!(told.told.len() <= FEW);
            assert_eq!((told.of(0), told.of(inode)), (Some(true), Some(inode % 2 == 0)));
        }
    }

    #[test]
    fn many_open_sockets_are_not_looked_at_each_time() {
        let mut told = ToldV6Only::default();
        let mut looks = 0;
        for inode in 0..1024 {
            if told.is_full() {
                looks += 1;
                told.forget_all_but(|_| true);
            }
            told.tell(inode, true);
        }
        assert_eq!((looks, told.told.len()), (4, 1024));
    }
}
