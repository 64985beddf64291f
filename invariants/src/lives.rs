//! Workers that come and go: each ends, is let go of once, and is followed as it should be.

use std::time::{Duration, Instant};

use tine_cluster::{
    core::{
        backoff::Limits,
        instance::{End, Filling, Next, Place},
        worker::{Action, Event, Life, Patience},
    },
    id::WorkerId,
};

use crate::choices::Choices;

/// Any news of one instance's workers, in any order, with any settings.
///
/// # Panics
///
/// When a worker serves again after it was told to go, is let go of other than once, or has no end;
/// when its successor comes early, late, beside it, or for ever.
pub fn lives(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut play = Play::new(&mut choices);
    while !choices.is_over() {
        play.step(&mut choices);
    }
    play.finish();
}

struct Play {
    now: Instant,
    patience: Patience,
    limits: Limits,
    place: Place,
    worker: Option<Worker>,
    workers: u32,
    early_ends: u32,
    last_wait: Duration,
}

/// A worker of which something is left.
struct Worker {
    life: Life,
    since: Instant,
    end: Told,
    exited: bool,
    released: bool,
}

/// What its successor depends on.
#[derive(Clone, Copy, Default)]
struct Told {
    asked: bool,
    listened: bool,
}

const ANY: [Event; 7] = [
    Event::Listening,
    Event::Stop,
    Event::Kill,
    Event::Drained,
    Event::Deadline,
    Event::Exited,
    Event::TreeGone,
];

/// Patience for ever is a setting like others.
fn duration(choices: &mut Choices<'_>) -> Duration {
    match choices.below(16) {
        0 => Duration::MAX,
        1 => Duration::ZERO,
        2 => Duration::from_secs(u64::MAX),
        _ => Duration::from_millis(choices.number().into()),
    }
}

impl Play {
    fn new(choices: &mut Choices<'_>) -> Self {
        let patience = Patience { drain: duration(choices), kill: duration(choices) };
        let limits = Limits {
            first: duration(choices),
            longest: duration(choices),
            min_uptime: duration(choices),
            max_restarts: choices.byte().into(),
        };
        let (place, now) = (Place::default(), Instant::now());
        let (worker, last_wait) = (None, Duration::ZERO);
        Self { now, patience, limits, place, worker, workers: 0, early_ends: 0, last_wait }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 => self.start(),
            1 => self.fail_to_start(),
            2 => self.cancel(),
            3 => self.now += Duration::from_millis(choices.number().into()),
            4 => self.wait_for_the_deadline(),
            _ => self.happens(choices.one_of(&ANY)),
        }
        self.agree();
    }

    /// As a primary does: at the beginning, and whenever one is due.
    fn start(&mut self) {
        let wanted = self.workers == 0 || self.place.is_due(self.now);
        if self.worker.is_some() || !wanted {
            return;
        }
        self.workers += 1;
        self.place.filled(WorkerId(self.workers));
        let (life, since) = (Life::Starting, self.now);
        let (end, exited, released) = (Told::default(), false, false);
        self.worker = Some(Worker { life, since, end, exited, released });
    }

    fn fail_to_start(&mut self) {
        if self.worker.is_none() && self.place.is_due(self.now) {
            let next = self.place.failed_to_start(self.now, &self.limits);
            self.follows(Duration::ZERO, next);
        }
    }

    fn cancel(&mut self) {
        let was = self.place.filling();
        self.place.cancel();
        let waited = matches!(was, Filling::Waiting { .. });
        assert_eq!(self.place.filling(), if waited { Filling::Empty } else { was });
    }

    fn wait_for_the_deadline(&mut self) {
        let life = self.worker.as_ref().and_then(|worker| worker.life.deadline());
        let due = match self.place.filling() {
            Filling::Waiting { until } => Some(until),
            Filling::Empty | Filling::Worker(_) | Filling::Finished | Filling::GivenUp => None,
        };
        self.now = life.or(due).unwrap_or(self.now).max(self.now);
    }

    fn happens(&mut self, event: Event) {
        let Some(worker) = &mut self.worker else { return };
        if event == Event::Exited && std::mem::replace(&mut worker.exited, true) {
            return;
        }
        worker.end.asked |= matches!(event, Event::Stop | Event::Kill);
        worker.end.listened |= event == Event::Listening;
        let before = worker.life;
        let (after, action) = before.step(event, self.now, &self.patience);
        worker.life = after;
        assert!(rank(after) >= rank(before), "{before:?} became {after:?} at {event:?}");
        follows_from(before, event, (after, action));
        if action == Action::Release {
            assert!(!std::mem::replace(&mut worker.released, true), "it was let go of twice");
        }
        if event == Event::Exited {
            self.ended();
        }
        if after == Life::Gone {
            self.gone();
        }
    }

    /// What the primary does at the end of a first process.
    fn ended(&mut self) {
        let Some(worker) = &self.worker else { return };
        let lived = self.now.duration_since(worker.since);
        let Told { asked, listened } = worker.end;
        let end = End { asked, clean: self.workers.is_multiple_of(3), listened, lived };
        let next = self.place.ended(end, self.now, &self.limits);
        if asked || (end.clean && !listened) {
            assert_eq!(next, Next::Rest);
            return assert!(!self.place.is_due(self.now + Duration::from_hours(1)));
        }
        self.follows(lived, next);
    }

    fn follows(&mut self, lived: Duration, next: Next) {
        let late = lived >= self.limits.min_uptime;
        self.early_ends = if late { 0 } else { self.early_ends + 1 };
        match next {
            Next::Restart(wait) => {
                assert!(wait <= self.limits.longest || wait.is_zero(), "{wait:?} is too long");
                assert!(late || self.early_ends < self.limits.max_restarts, "it never gives up");
                assert!(!late || wait.is_zero(), "a long life is followed at once");
                let grows = self.early_ends < 2 || wait >= self.last_wait;
                assert!(grows, "{wait:?} after {:?}", self.last_wait);
                self.last_wait = wait;
            }
            Next::GiveUp { early_ends } => {
                assert_eq!(early_ends, self.early_ends);
                assert!(early_ends >= self.limits.max_restarts, "it gives up too soon");
                assert_eq!(self.place.filling(), Filling::GivenUp);
            }
            Next::Rest => panic!("a crash is not the end"),
        }
    }

    fn gone(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        assert!(worker.released, "what it held was not let go of");
        // Its first process goes with the tree, though the news may come later.
        if !worker.exited {
            self.worker = Some(Worker { exited: true, ..worker });
            self.ended();
            self.worker = None;
        }
    }

    fn agree(&self) {
        if let Some(worker) = &self.worker {
            let longest = self.patience.drain.max(self.patience.kill);
            let bound = self.now.checked_add(longest);
            let within = |at: Instant| bound.is_none_or(|bound| at <= bound);
            assert!(worker.life.deadline().is_none_or(within), "patience is longer than asked for");
        }
        if let Filling::Waiting { until } = self.place.filling() {
            assert_eq!(self.place.is_due(self.now), until <= self.now);
            assert!(self.place.is_due(until.max(self.now)), "it is never due");
        } else {
            assert!(!self.place.is_due(self.now));
        }
    }

    /// Whatever happened: told to go, a worker that does nothing at all comes to its end.
    fn finish(mut self) {
        self.happens(Event::Stop);
        for _ in 0..3 {
            let deadline = self.worker.as_ref().and_then(|worker| worker.life.deadline());
            let Some(deadline) = deadline else { break };
            self.now = self.now.max(deadline);
            self.happens(Event::Deadline);
        }
        if let Some(worker) = &self.worker {
            assert_eq!(worker.life, Life::Killed, "it was asked for, and has no end");
        }
        self.happens(Event::TreeGone);
        assert!(self.worker.is_none());
    }
}

/// A life goes one way only.
fn rank(life: Life) -> u8 {
    match life {
        Life::Starting => 0,
        Life::Online => 1,
        Life::Draining { .. } => 2,
        Life::Stopping { .. } => 3,
        Life::Ended { .. } => 4,
        Life::Killed => 5,
        Life::Gone => 6,
    }
}

/// The actions are those of the step, and none is left out.
fn follows_from(before: Life, event: Event, (after, action): (Life, Action)) {
    let expected = match (rank(before), rank(after)) {
        (same, now) if same == now && event != Event::Kill => Action::None,
        (6, _) => Action::None,
        (_, 6) => Action::Release,
        (_, 5) => Action::Kill,
        (_, 3 | 4) => Action::Terminate,
        (_, 2) => Action::Drain,
        (_, _) => Action::None,
    };
    assert_eq!(action, expected, "{before:?} became {after:?} at {event:?}");
    assert!(!after.serves() || event == Event::Listening || before == after);
}
