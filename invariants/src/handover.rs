//! Connections that are handed over: none is lost, none is delivered twice, none waits for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tine_cluster::{
    core::handover::{HandOver, MOST_PENDING, PATIENCE, REST},
    id::WorkerId,
};

use crate::choices::Choices;

const WORKERS: u32 = 5;

/// Any workers join, leave, die, accept and refuse, in any order.
///
/// # Panics
///
/// When a connection is lost, sent twice, or sent to who did not ask for it; when turns are not kept;
/// when something waits without a time at which it goes on.
pub fn handover(bytes: &[u8]) {
    let mut play = Play::default();
    let mut choices = Choices::new(bytes);
    while !choices.is_over() {
        play.step(&mut choices);
        play.agree();
    }
    play.finish();
}

/// The queue, and what an onlooker knows who sees only the calls and their results.
struct Play {
    queue: HandOver<u32>,
    now: Instant,
    offered: u32,
    members: BTreeSet<WorkerId>,
    out: BTreeMap<WorkerId, (u32, Instant)>,
    accepted: BTreeSet<u32>,
    /// Their order is no longer that of their arrival.
    refused: BTreeSet<u32>,
    /// Come back from the dead: these go before all others, the last first.
    urgent: Vec<u32>,
    /// Workers in the order in which they became idle.
    idle: Vec<WorkerId>,
    last_fresh: Option<u32>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            queue: HandOver::default(),
            now: Instant::now(),
            offered: 0,
            members: BTreeSet::new(),
            out: BTreeMap::new(),
            accepted: BTreeSet::new(),
            refused: BTreeSet::new(),
            urgent: Vec::new(),
            idle: Vec::new(),
            last_fresh: None,
        }
    }
}

impl Play {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let what = choices.below(16);
        let id = WorkerId(u32::from(choices.byte()) % WORKERS);
        match what {
            0 => self.join(id),
            1 => self.leaving(id),
            2 => self.left(id),
            3..6 => self.connection(),
            6..10 => self.next(),
            10..13 => self.reply(id, true),
            13 | 14 => self.reply(id, false),
            _ => self.now += Duration::from_millis(u64::from(choices.byte())),
        }
    }

    fn join(&mut self, id: WorkerId) {
        self.queue.worker_joined(id);
        self.members.insert(id);
        self.rests(id);
    }

    fn leaving(&mut self, id: WorkerId) {
        self.queue.worker_leaving(id);
        self.members.remove(&id);
        self.idle.retain(|&other| other != id);
    }

    fn left(&mut self, id: WorkerId) {
        self.queue.worker_left(id);
        self.members.remove(&id);
        self.idle.retain(|&other| other != id);
        self.urgent.extend(self.out.remove(&id).map(|(connection, _)| connection));
    }

    fn connection(&mut self) {
        self.queue.connection(self.offered);
        self.offered += 1;
    }

    fn next(&mut self) {
        let Some((id, &connection)) = self.queue.next(self.now) else {
            return self.waits_for_something();
        };
        assert!(self.members.contains(&id), "{id} has left");
        self.sent(id, connection);
    }

    fn sent(&mut self, id: WorkerId, connection: u32) {
        assert!(!self.accepted.contains(&connection), "{connection} was accepted already");
        assert!(self.out.values().all(|&(out, _)| out != connection), "{connection} is out twice");
        assert!(self.out.insert(id, (connection, self.now)).is_none(), "{id} has one already");
        let place = self.idle.iter().position(|&idle| idle == id).expect("who gets one was idle");
        self.idle.remove(place);
        if self.was_urgent(connection) || self.refused.contains(&connection) {
            return;
        }
        assert_eq!(place, 0, "a connection that nobody refused goes to who waited longest");
        assert!(self.last_fresh < Some(connection), "fresh connections keep their order");
        self.last_fresh = Some(connection);
    }

    /// Whether it had come back from a dead worker. Before it go others that did so later, unless
    /// whoever is idle has refused them.
    fn was_urgent(&mut self, connection: u32) -> bool {
        let place = self.urgent.iter().position(|&urgent| urgent == connection);
        let before = &self.urgent[place.map_or(0, |place| place + 1)..];
        let excused = before.iter().all(|urgent| self.refused.contains(urgent));
        assert!(excused, "what a dead worker had comes first");
        place.map(|place| self.urgent.remove(place)).is_some()
    }

    /// Nothing can be sent now: there is nobody, there is nothing, or there is a time to come.
    fn waits_for_something(&self) {
        if self.idle.is_empty() || self.queue.pending() == 0 {
            return;
        }
        let until = self.queue.poll_timeout().expect("what rests goes on at some time");
        assert!(until > self.now, "it could be sent now");
        assert!(until <= self.now + REST, "it rests for longer than it should");
    }

    fn reply(&mut self, id: WorkerId, accepted: bool) {
        let result = self.queue.reply(id, accepted);
        let Some((out, _)) = self.out.remove(&id) else {
            return assert_eq!(result, None, "{id} was sent nothing");
        };
        assert_eq!(result, accepted.then_some(out));
        if accepted {
            assert!(self.accepted.insert(out), "{out} was accepted twice");
        } else {
            self.refused.insert(out);
        }
        if self.members.contains(&id) {
            self.rests(id);
        }
    }

    fn rests(&mut self, id: WorkerId) {
        if !self.idle.contains(&id) && !self.out.contains_key(&id) {
            self.idle.push(id);
        }
    }

    fn agree(&self) {
        assert_eq!(self.queue.in_flight(), self.out.len());
        let known = self.queue.pending() + self.queue.in_flight() + self.accepted.len();
        assert_eq!(known, self.offered as usize, "a connection was lost, or is there twice");
        assert_eq!(self.queue.wants_more(), self.queue.pending() < MOST_PENDING);
        assert_eq!(self.queue.has_taker(), !self.idle.is_empty());
        let owes = |(&id, &(_, since)): (&WorkerId, &(u32, Instant))| {
            (self.now >= since + PATIENCE).then_some(id)
        };
        let silent: Vec<WorkerId> = self.out.iter().filter_map(owes).collect();
        assert_eq!(self.queue.silent(self.now).collect::<Vec<_>>(), silent);
    }

    /// Whatever happened: one willing worker is enough for all that is left, in no time but what was
    /// announced.
    fn finish(mut self) {
        (0..WORKERS).for_each(|id| self.left(WorkerId(id)));
        self.join(WorkerId(WORKERS));
        while self.accepted.len() < self.offered as usize {
            self.next();
            if self.out.is_empty() {
                self.now = self.queue.poll_timeout().expect("something is to come");
            }
            self.reply(WorkerId(WORKERS), true);
        }
        assert_eq!((self.queue.pending(), self.queue.in_flight()), (0, 0));
    }
}
