//! Connections that are handed over: none is lost, none is delivered twice, none waits for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tine_cluster::{
    core::handover::{AHEAD, HandOver, MOST_PENDING, REST, Sent},
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

/// A connection that a worker was sent.
#[derive(Clone, Copy)]
struct Out {
    number: u64,
    connection: u32,
    /// Which of all moments it was when the worker came to have nothing else to do.
    since: u32,
}

/// The queue, and what an onlooker knows who sees only the calls and their results.
struct Play {
    queue: HandOver<u32>,
    now: Instant,
    offered: u32,
    members: BTreeSet<WorkerId>,
    /// What each worker has not answered for, the older first.
    out: BTreeMap<WorkerId, Vec<Out>>,
    accepted: BTreeSet<u32>,
    /// Their order is no longer that of their arrival.
    refused: BTreeSet<u32>,
    /// Come back from the dead: these go before all others, the last first.
    urgent: Vec<u32>,
    /// Workers in the order in which they became idle.
    idle: Vec<WorkerId>,
    last_fresh: Option<u32>,
    /// When each worker last answered. One that has left off and come back begins anew.
    answered: BTreeMap<WorkerId, Instant>,
    /// So many times a worker was sent something or answered.
    moments: u32,
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
            answered: BTreeMap::new(),
            moments: 0,
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
            10..13 => self.reply(id, choices.byte(), true),
            13 | 14 => self.reply(id, choices.byte(), false),
            _ => self.now += Duration::from_millis(u64::from(choices.byte())),
        }
    }

    fn join(&mut self, id: WorkerId) {
        self.queue.worker_joined(id);
        if self.members.insert(id) {
            self.answered.remove(&id);
        }
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
        let out = self.out.remove(&id).into_iter().flatten();
        self.urgent.extend(out.rev().map(|out| out.connection));
    }

    fn connection(&mut self) {
        self.queue.connection(self.offered);
        self.offered += 1;
    }

    fn next(&mut self) {
        let Some(Sent { to, number, connection }) = self.queue.next(self.now) else {
            return self.waits_for_something();
        };
        let out = Out { number, connection: *connection, since: 0 };
        assert!(self.members.contains(&to), "{to} has left");
        self.sent(to, out);
    }

    fn sent(&mut self, id: WorkerId, mut out: Out) {
        out.since = self.moment();
        let connection = out.connection;
        assert!(!self.accepted.contains(&connection), "{connection} was accepted already");
        let mut all = self.out.values().flatten();
        assert!(all.all(|other| other.connection != connection), "{connection} is out twice");
        let row = self.row();
        let place = row.iter().position(|&taker| taker == id).expect("it was idle, or nearly");
        self.idle.retain(|&other| other != id);
        self.out.entry(id).or_default().push(out);
        if self.was_urgent(connection) || self.refused.contains(&connection) {
            return;
        }
        assert_eq!(place, 0, "a connection that nobody refused goes to who is to have the next");
        assert!(self.last_fresh < Some(connection), "fresh connections keep their order");
        self.last_fresh = Some(connection);
    }

    const fn moment(&mut self) -> u32 {
        self.moments += 1;
        self.moments
    }

    /// Who may be sent something, in the order of their turns: those that are idle, then those that have
    /// one and have answered a short while ago, the one that has had it longest first.
    fn row(&self) -> Vec<WorkerId> {
        let lively = |(&id, out): (&WorkerId, &Vec<Out>)| match out[..] {
            [one] if self.members.contains(&id) => {
                let answered = *self.answered.get(&id)?;
                (self.now < answered + AHEAD).then_some((one.since, id))
            }
            _ => None,
        };
        let mut lively: Vec<_> = self.out.iter().filter_map(lively).collect();
        lively.sort_unstable();
        self.idle.iter().copied().chain(lively.into_iter().map(|(_, id)| id)).collect()
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

    /// It answers for the older, for the younger, or for what nobody sent it.
    fn reply(&mut self, id: WorkerId, which: u8, accepted: bool) {
        let mut out = self.out.remove(&id).unwrap_or_default();
        let place = usize::from(which % 3);
        let number = out.get(place).map_or(u64::MAX, |out| out.number);
        let result = self.queue.reply(id, number, accepted, self.now);
        if place >= out.len() {
            assert_eq!(result, None, "{id} was sent nothing like it");
        } else {
            self.answered.insert(id, self.now);
            self.was_answered(out.remove(place).connection, accepted, result);
            let since = self.moment();
            for other in &mut out {
                other.since = since;
            }
        }
        if !out.is_empty() {
            self.out.insert(id, out);
        } else if self.members.contains(&id) {
            self.rests(id);
        }
    }

    fn was_answered(&mut self, connection: u32, accepted: bool, result: Option<u32>) {
        assert_eq!(result, accepted.then_some(connection));
        if accepted {
            assert!(self.accepted.insert(connection), "{connection} was accepted twice");
        } else {
            self.refused.insert(connection);
        }
    }

    fn rests(&mut self, id: WorkerId) {
        if !self.idle.contains(&id) && !self.out.contains_key(&id) {
            self.idle.push(id);
        }
    }

    fn agree(&mut self) {
        let out: usize = self.out.values().map(Vec::len).sum();
        assert!(self.out.values().all(|out| out.len() <= 2), "a worker has more than two");
        assert_eq!(self.queue.in_flight(), out);
        let known = self.queue.pending() + self.queue.in_flight() + self.accepted.len();
        assert_eq!(known, self.offered as usize, "a connection was lost, or is there twice");
        assert_eq!(self.queue.wants_more(), self.queue.pending() < MOST_PENDING);
        assert_eq!(self.queue.has_taker(self.now), !self.row().is_empty());
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
            self.reply(WorkerId(WORKERS), 0, true);
        }
        assert_eq!((self.queue.pending(), self.queue.in_flight()), (0, 0));
    }
}
