//! What was kept, sorted out. Nothing is done here.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use serde::de::DeserializeOwned;

use crate::{
    core::instance::PlaceRecord,
    id::{ListenerId, SeatId, WorkerId},
    primary::{
        keep::{AdoptError, Kept},
        records::{
            ClusterRecord, GroupRecord, Has, ListenerRecord, SeatNow, SeatRecord, VERSION,
            WorkerRecord, WorkerState,
        },
    },
};

/// All records of a cluster.
#[derive(Debug)]
pub(in crate::primary) struct Estate {
    pub(super) cluster: ClusterRecord,
    pub(super) places: BTreeMap<u32, PlaceRecord>,
    pub(super) workers: BTreeMap<WorkerId, Heir>,
    pub(super) listeners: BTreeMap<ListenerId, (ListenerRecord, Vec<OwnedFd>)>,
    pub(super) groups: BTreeMap<ListenerId, GroupRecord>,
    pub(super) seats: BTreeMap<SeatId, (SeatRecord, SeatNow, OwnedFd)>,
    /// Of everything that was kept.
    pub(super) keys: Vec<String>,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Heir {
    pub(super) record: WorkerRecord,
    pub(super) process: OwnedFd,
    pub(super) ends: BTreeMap<Has, OwnedFd>,
    /// Into what it holds itself.
    pub(super) way: Option<OwnedFd>,
    /// `None`: it was started in the last moment.
    pub(super) state: Option<WorkerState>,
    /// Where its trapped calls are written down.
    pub(super) calls: Option<OwnedFd>,
}

/// What is wrong with a record.
#[derive(Debug)]
pub(super) enum Was {
    Descriptors,
    Io(io::Error),
}

impl Was {
    pub(super) fn of(self, key: &str) -> AdoptError {
        let key = key.to_owned();
        match self {
            Self::Descriptors => AdoptError::Descriptors { key },
            Self::Io(source) => AdoptError::Io { key, source },
        }
    }
}

/// Only the version, which is to be known before the rest is read.
#[derive(serde::Deserialize)]
struct Head {
    version: u32,
}

/// Of what a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Place(u32),
    Worker(WorkerId),
    WorkerState(WorkerId),
    WorkerEnds(WorkerId),
    WorkerCalls(WorkerId),
    Listener(ListenerId),
    Group(ListenerId),
    Seat(SeatId),
    SeatState(SeatId),
}

impl Kind {
    /// `None`: nothing that this version keeps.
    fn of(key: &str) -> Option<Self> {
        let mut words = key.split('/');
        let (kind, number) = (words.next()?, words.next()?.parse().ok()?);
        Some(match (kind, words.next()) {
            ("place", None) => Self::Place(number),
            ("worker", None) => Self::Worker(WorkerId(number)),
            ("worker", Some("state")) => Self::WorkerState(WorkerId(number)),
            ("worker", Some("ends")) => Self::WorkerEnds(WorkerId(number)),
            ("worker", Some("calls")) => Self::WorkerCalls(WorkerId(number)),
            ("listener", None) => Self::Listener(ListenerId(number)),
            ("listener", Some("group")) => Self::Group(ListenerId(number)),
            ("seat", None) => Self::Seat(SeatId(number)),
            ("seat", Some("state")) => Self::SeatState(SeatId(number)),
            (_, _) => return None,
        })
    }
}

/// Parts of which the other part may not have been put yet.
#[derive(Default)]
struct Halves {
    states: BTreeMap<WorkerId, WorkerState>,
    ways: BTreeMap<WorkerId, OwnedFd>,
    calls: BTreeMap<WorkerId, OwnedFd>,
    seats: BTreeMap<SeatId, (SeatRecord, OwnedFd)>,
    now: BTreeMap<SeatId, SeatNow>,
}

impl Estate {
    /// Reads all records. A part of one without its other part was put in the last moment, or was to be
    /// forgotten, and means nothing.
    pub(in crate::primary) fn read(kept: Vec<Kept>) -> Result<Self, AdoptError> {
        let keys = kept.iter().map(|kept| kept.key.clone()).collect();
        let cluster = kept.iter().find(|kept| kept.key == "cluster");
        let cluster = cluster.ok_or(AdoptError::Missing("cluster"))?;
        let found = parse::<Head>(cluster)?.version;
        if found != VERSION {
            return Err(AdoptError::Version { found, known: VERSION });
        }
        let mut estate = Self {
            cluster: parse(cluster)?,
            places: BTreeMap::new(),
            workers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            groups: BTreeMap::new(),
            seats: BTreeMap::new(),
            keys,
        };
        let mut halves = Halves::default();
        for kept in kept {
            if let Some(kind) = Kind::of(&kept.key) {
                estate.sort_in(kind, kept, &mut halves)?;
            }
        }
        estate.join(halves);
        Ok(estate)
    }

    fn sort_in(&mut self, kind: Kind, kept: Kept, halves: &mut Halves) -> Result<(), AdoptError> {
        match kind {
            Kind::Place(number) => drop(self.places.insert(number, parse(&kept)?)),
            Kind::Worker(id) => drop(self.workers.insert(id, heir(kept)?)),
            Kind::WorkerState(id) => drop(halves.states.insert(id, parse(&kept)?)),
            Kind::WorkerEnds(id) => halves.ways.extend([(id, one(kept)?)]),
            Kind::WorkerCalls(id) => drop(halves.calls.insert(id, one(kept)?)),
            Kind::Listener(id) => {
                self.listeners.insert(id, (parse(&kept)?, kept.descriptors));
            }
            Kind::Group(id) => drop(self.groups.insert(id, parse(&kept)?)),
            Kind::Seat(id) => drop(halves.seats.insert(id, (parse(&kept)?, one(kept)?))),
            Kind::SeatState(id) => drop(halves.now.insert(id, parse(&kept)?)),
        }
        Ok(())
    }

    fn join(&mut self, mut halves: Halves) {
        for (id, state) in halves.states {
            if let Some(heir) = self.workers.get_mut(&id) {
                heir.state = Some(state);
            }
        }
        for (id, way) in halves.ways {
            if let Some(heir) = self.workers.get_mut(&id) {
                heir.way = Some(way);
            }
        }
        for (id, calls) in halves.calls {
            if let Some(heir) = self.workers.get_mut(&id) {
                heir.calls = Some(calls);
            }
        }
        for (id, (record, socket)) in halves.seats {
            if let Some(now) = halves.now.remove(&id) {
                self.seats.insert(id, (record, now, socket));
            }
        }
    }
}

fn parse<T: DeserializeOwned>(kept: &Kept) -> Result<T, AdoptError> {
    serde_json::from_slice(&kept.value)
        .map_err(|source| AdoptError::Broken { key: kept.key.clone(), source })
}

fn one(kept: Kept) -> Result<OwnedFd, AdoptError> {
    let key = kept.key;
    kept.descriptors.into_iter().next().ok_or(AdoptError::Descriptors { key })
}

fn heir(kept: Kept) -> Result<Heir, AdoptError> {
    let record: WorkerRecord = parse(&kept)?;
    let lacks = || AdoptError::Descriptors { key: kept.key.clone() };
    if kept.descriptors.len() != record.has.len() + 1 {
        return Err(lacks());
    }
    let mut descriptors = kept.descriptors.into_iter();
    let process = descriptors.next().ok_or_else(lacks)?;
    let ends = record.has.iter().copied().zip(descriptors).collect();
    Ok(Heir { record, process, ends, way: None, state: None, calls: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(key: &str, value: &serde_json::Value, descriptors: usize) -> Kept {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let descriptors = (0..descriptors).map(|_| null()).collect();
        Kept { key: key.to_owned(), value: value.to_string().into_bytes(), descriptors }
    }

    fn cluster(version: u32) -> Kept {
        let value = json!({
            "version": version, "number": 0, "last_worker": 3, "last_name": 1, "next_listener": 1,
            "next_seat": 3, "ever_listened": true, "instances": 3, "bound": [], "data": {},
            "files": [],
        });
        kept("cluster", &value, 0)
    }

    fn worker(has: &[&str], descriptors: usize) -> Kept {
        let value = json!({
            "pid": 7, "started": 1, "at": 2, "instance": 0, "kind": "other", "mark": "1",
            "cgroup": null, "has": has,
        });
        kept("worker/1", &value, descriptors)
    }

    #[test]
    fn another_version_is_refused_before_anything_else_is_read() {
        let broken = kept("worker/1", &json!({ "what": 1 }), 0);
        let error = Estate::read(vec![cluster(VERSION + 1), broken]).unwrap_err();
        assert!(matches!(error, AdoptError::Version { found, .. } if found == VERSION + 1));
        assert!(matches!(Estate::read(Vec::new()), Err(AdoptError::Missing("cluster"))));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let broken = kept("seat/4", &json!({ "listener": "x" }), 1);
        let error = Estate::read(vec![cluster(VERSION), broken]).unwrap_err();
        assert_eq!(error.to_string(), "the record `seat/4` cannot be read");
    }

    #[test]
    fn a_worker_has_the_descriptors_that_its_record_names() {
        let read = |kept| Estate::read(vec![cluster(VERSION), kept]);
        let estate = read(worker(&["trap", "channel"], 3)).unwrap();
        let heir = &estate.workers[&WorkerId(1)];
        assert!(heir.ends.contains_key(&Has::Trap) && !heir.ends.contains_key(&Has::Out));
        assert!(heir.state.is_none(), "it was started in the last moment");
        for count in [0, 2, 4] {
            let error = read(worker(&["trap", "channel"], count)).unwrap_err();
            assert!(matches!(error, AdoptError::Descriptors { .. }), "{error}");
        }
    }

    #[test]
    fn half_a_seat_and_what_a_later_version_may_keep_mean_nothing() {
        let half = kept("seat/4", &json!({ "listener": 0 }), 1);
        let other = kept("weather/4/today", &json!("fine"), 1);
        let state = kept(
            "worker/9/state",
            &json!({
                "leaves": false, "asked": false, "retired": false, "listened": true, "said_ready": false,
                "ready": true, "on_trial": false, "exited_after_disconnect": false, "talk": "silent",
                "ports": [80], "addresses": [], "listens": [0], "declared": [], "given": [],
            }),
            0,
        );
        let estate = Estate::read(vec![cluster(VERSION), half, other, state]).unwrap();
        assert!(estate.seats.is_empty() && estate.workers.is_empty());
    }
}
