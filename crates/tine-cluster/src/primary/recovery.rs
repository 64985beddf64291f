//! Makes what a successor needs of what is written down and of what workers hold themselves, when this
//! cluster's process was killed together with whoever kept it all.
//!
//! ```text
//!   values, written down ───┐
//!   ends, held by workers ──┼──▶ Kept ──▶ Cluster::adopt
//!   seats, in the workers ──┘
//! ```
//!
//! A number of a process is believed only together with its start time, and a descriptor only together
//! with its inode.

mod held;
mod remains;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
};

use rustix::process::Pid;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tine_linux::{process::Process, tree::Table};

use super::{
    keep::{AdoptError, Kept},
    records::{EndsRecord, GroupRecord, ListenerRecord, SeatNow, SeatRecord, WorkerRecord},
    taken::Taken,
};
use crate::{
    core::order::Order,
    id::{ListenerId, SeatId, WorkerId},
    policy::Mechanism,
};
pub use remains::Lost;

/// What could be found of a cluster.
#[derive(Debug, Default)]
pub struct Recovered {
    /// For [`Cluster::adopt`](super::Cluster::adopt); nothing, if no worker can be taken over.
    pub kept: Vec<Kept>,
    /// The first process of each worker that can be.
    pub workers: Vec<Pid>,
    /// Workers that live and cannot be taken over.
    pub lost: Vec<Lost>,
    /// Why none can be. All that live are lost then.
    pub error: Option<AdoptError>,
}

/// Why a worker that lives cannot be taken over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WhyLost {
    /// This user may not trace it, or a filter forbids the call.
    #[error("its descriptors may not be taken (pidfd_getfd)")]
    Refused(#[source] io::Error),
    /// Its program has closed what it did not know.
    #[error("its program has closed the descriptor by which it could be taken over")]
    Closed,
    /// It was started by a cluster without
    /// [`Settings::ends_in_workers`](super::Settings::ends_in_workers), or by one with too many workers.
    #[error("it was started without a descriptor by which it could be taken over")]
    Never,
    /// See [`Recovered::error`].
    #[error("others of its cluster cannot be taken over")]
    Together,
}

/// Finds what is left of a cluster, from the values that it had put ([`Keep`](super::Keep)) by their keys.
/// Kills what workers have left behind that are gone; whoever lives is left alone.
#[must_use]
pub fn recover(values: BTreeMap<String, Vec<u8>>) -> Recovered {
    let mut recovery = Recovery { values, ..Recovery::default() };
    match recovery.run() {
        Ok(()) => recovery.finish(),
        Err(error) => recovery.give_up(error),
    }
}

#[derive(Debug, Default)]
struct Recovery {
    values: BTreeMap<String, Vec<u8>>,
    found: BTreeMap<String, Vec<OwnedFd>>,
    alive: BTreeMap<WorkerId, (WorkerRecord, Process)>,
    lost: Vec<Lost>,
    table: Option<Table>,
}

impl Recovery {
    fn run(&mut self) -> Result<(), AdoptError> {
        for id in self.numbers("worker") {
            self.take_worker(WorkerId(id))?;
        }
        let mut missing = BTreeSet::new();
        for id in self.numbers("seat") {
            if !self.take_seat(SeatId(id))? {
                missing.insert(SeatId(id));
            }
        }
        for id in self.numbers("listener") {
            self.take_listener(ListenerId(id), &missing)?;
        }
        for id in missing {
            self.forget(&[format!("seat/{}", id.0), format!("seat/{}/state", id.0)]);
        }
        Ok(())
    }

    fn finish(mut self) -> Recovered {
        if self.alive.is_empty() {
            return Recovered { lost: self.lost, ..Recovered::default() };
        }
        let workers = self.alive.values().map(|(_, process)| process.pid()).collect();
        let kept = self.values.into_iter().map(|(key, value)| {
            let descriptors = self.found.remove(&key).unwrap_or_default();
            Kept { key, value, descriptors }
        });
        Recovered { kept: kept.collect(), workers, lost: self.lost, error: None }
    }

    fn give_up(self, error: AdoptError) -> Recovered {
        let all = self.alive.into_values();
        let together = all.map(|(record, process)| Lost::new(record, process, WhyLost::Together));
        let lost = self.lost.into_iter().chain(together).collect();
        Recovered { lost, error: Some(error), ..Recovered::default() }
    }

    /// Of the records whose keys are this word and a number.
    fn numbers(&self, word: &str) -> Vec<u32> {
        let prefix = format!("{word}/");
        let numbers = self.values.keys().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok());
        numbers.collect()
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, AdoptError> {
        let value = self.values.get(key).map(|value| serde_json::from_slice(value)).transpose();
        value.map_err(|source| AdoptError::Broken { key: key.to_owned(), source })
    }

    fn write(&mut self, key: String, value: &impl Serialize) {
        let value = serde_json::to_vec(value).expect("a record has a form in JSON");
        self.values.insert(key, value);
    }

    fn forget(&mut self, keys: &[String]) {
        for key in keys {
            self.values.remove(key);
            self.found.remove(key);
        }
    }

    fn take_worker(&mut self, id: WorkerId) -> Result<(), AdoptError> {
        let key = format!("worker/{}", id.0);
        let [state, ends, calls] = ["state", "ends", "calls"].map(|part| format!("{key}/{part}"));
        let Some(record) = self.read::<WorkerRecord>(&key)? else { return Ok(()) };
        let Some(process) = remains::still_there(&record) else {
            remains::end(&record);
            self.forget(&[key, state, ends, calls]);
            return Ok(());
        };
        let place = self.read::<EndsRecord>(&ends)?;
        match held::ends(&process, &record, place.as_ref()) {
            Ok((own, way, of_the_group)) => {
                // Under a key that nothing is known of there is something that was forgotten meanwhile.
                self.found.extend(of_the_group);
                self.found.extend([(key, own), (ends, vec![way])]);
                self.begin_calls(calls)?;
                self.alive.insert(id, (record, process));
            }
            Err(why) => {
                self.lost.push(Lost::new(record, process, why));
                self.forget(&[key, state, ends, calls]);
            }
        }
        Ok(())
    }

    /// A file for the worker's trapped calls, if there was one. What was in that, only its worker could say.
    fn begin_calls(&mut self, key: String) -> Result<(), AdoptError> {
        if self.values.contains_key(&key) {
            let file = Taken::new();
            let file = file.map_err(|source| AdoptError::Io { key: key.clone(), source })?;
            self.found.insert(key, vec![file.into_file()]);
        }
        Ok(())
    }

    /// Whether there is its socket still. It may be gone with the worker that had it.
    fn take_seat(&mut self, id: SeatId) -> Result<bool, AdoptError> {
        let key = format!("seat/{}", id.0);
        let record = self.read::<SeatRecord>(&key)?;
        let now = self.read::<SeatNow>(&format!("{key}/state"))?;
        let (Some(inode), Some(now)) = (record.and_then(|record| record.inode), now) else {
            return Ok(false);
        };
        let is_it = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_ino == inode);
        if self.found.get(&key).and_then(|found| found.first()).is_some_and(is_it) {
            return Ok(true);
        }
        let holders = now.holders.iter().filter_map(|holder| self.alive.get(holder));
        let mut holders = holders.map(|(_, process)| process.pid()).peekable();
        if holders.peek().is_none() {
            return Ok(false);
        }
        let table = self.table.get_or_insert_with(|| Table::read(None).unwrap_or_default());
        let socket = holders.find_map(|pid| held::socket(pid, inode, table));
        let is_there = socket.is_some();
        self.found.extend(socket.map(|socket| (key, vec![socket])));
        Ok(is_there)
    }

    fn take_listener(
        &mut self,
        id: ListenerId,
        missing: &BTreeSet<SeatId>,
    ) -> Result<(), AdoptError> {
        let key = format!("listener/{}", id.0);
        let group = format!("{key}/group");
        let Some(record) = self.read::<ListenerRecord>(&key)? else { return Ok(()) };
        let seats = self.seats_of(id)?;
        if seats.is_subset(missing) {
            let is_needed = !seats.is_empty() && !self.alive.is_empty();
            if is_needed && record.choice.mechanism == Mechanism::HandOver {
                return Err(AdoptError::Descriptors { key });
            }
            self.forget(&[key, group]);
            return Ok(());
        }
        match self.found.get(&key).map(Vec::len) {
            Some(held::PROGRAM) if record.balancer.is_some() => {}
            // The sockets are in the map of the one that is attached, and another map would not get them.
            _ if record.balancer.is_some() => return Err(AdoptError::Descriptors { key }),
            // It was put a moment before the end, and its record was not.
            _ => drop(self.found.remove(&key)),
        }
        let members = self.read::<GroupRecord>(&group)?.unwrap_or_default();
        let is_classic = record.choice.mechanism == Mechanism::KernelCbpf;
        let members = left_in(members, missing, is_classic).ok_or(AdoptError::Order { key })?;
        self.write(group, &members);
        Ok(())
    }

    fn seats_of(&self, listener: ListenerId) -> Result<BTreeSet<SeatId>, AdoptError> {
        let mut seats = BTreeSet::new();
        for id in self.numbers("seat") {
            let record = self.read::<SeatRecord>(&format!("seat/{id}"))?;
            if record.is_some_and(|record| record.listener == listener) {
                seats.insert(SeatId(id));
            }
        }
        Ok(seats)
    }
}

/// Who is left in a group when sockets were closed by the kernel; `None` where the kernel's order is not
/// known any more: of two it matters which was first, unless only one is left.
fn left_in(
    members: GroupRecord,
    missing: &BTreeSet<SeatId>,
    order_matters: bool,
) -> Option<GroupRecord> {
    let gone = members.order.iter().filter(|seat| missing.contains(seat)).count();
    if gone > 1 && order_matters && members.order.len() > gone + 1 {
        return None;
    }
    let mut order = Order::default();
    members.order.iter().for_each(|seat| order.joined(*seat));
    for seat in missing {
        order.left(*seat);
    }
    let mut slots = members.slots;
    slots.retain(|(seat, _)| !missing.contains(seat));
    Some(GroupRecord { slots, order: order.seats().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_have_left_a_group_it_matters_which_was_first() {
        let seats = |numbers: &[u32]| numbers.iter().copied().map(SeatId).collect::<Vec<_>>();
        let members = || GroupRecord {
            slots: vec![(SeatId(1), 7), (SeatId(2), 8)],
            order: seats(&[1, 2, 3, 4]),
        };
        let missing = |numbers: &[u32]| seats(numbers).into_iter().collect::<BTreeSet<_>>();
        let one = left_in(members(), &missing(&[2]), true).unwrap();
        assert_eq!((one.order, one.slots), (seats(&[1, 4, 3]), vec![(SeatId(1), 7)]));
        assert!(left_in(members(), &missing(&[1, 2]), true).is_none());
        assert!(left_in(members(), &missing(&[1, 2]), false).is_some());
        let last = left_in(members(), &missing(&[1, 2, 4]), true).unwrap();
        assert_eq!(last.order, seats(&[3]), "there is no other order of one");
    }
}
