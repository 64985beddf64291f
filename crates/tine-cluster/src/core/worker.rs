//! One worker's life: `Starting → Online → Draining → Stopping → Killed → gone`.
//!
//! What is *wanted* of a worker comes in as an event ([`Event::Stop`]); what it *is* is the state. The
//! whole machine is [`Life::step`].

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::after;

/// Where a worker is in its life. What belongs to one state only is kept in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The process runs; nothing was heard of a listener yet.
    Starting,
    /// It listens.
    Online,
    /// Out of rotation; finishes what it has accepted.
    Draining {
        /// When the finishing must have an end.
        until: Instant,
    },
    /// The stop signal was sent.
    Stopping {
        /// When patience ends.
        until: Instant,
    },
    /// `SIGKILL` was sent to all of it.
    Killed,
    /// Its first process has ended; others of its tree may still be there.
    Ended {
        /// When they are killed.
        until: Instant,
    },
    /// Nothing of it is left.
    Gone,
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It listens on an address.
    Listening,
    /// It shall go, kindly.
    Stop,
    /// It shall go, kindly, and was told so in words, which it may not have heard yet.
    Disconnect,
    /// It shall go, now.
    Kill,
    /// It holds no connection any more.
    Drained,
    /// The state's deadline has passed.
    Deadline,
    /// Its first process ended.
    Exited,
    /// No process of its tree is left.
    TreeGone,
}

/// What is to be done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an action that is dropped leaves the worker as it is"]
pub enum Action {
    /// Nothing.
    None,
    /// Take its seats out of rotation and watch its connections end.
    Drain,
    /// Send the stop signal to its tree.
    Terminate,
    /// Send `SIGKILL` to its tree.
    Kill,
    /// Give its seats to others: nothing can accept from them any more.
    Release,
}

/// How patient the manager is with a leaving worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For connections to finish.
    pub drain: Duration,
    /// Between the stop signal and `SIGKILL`.
    pub kill: Duration,
}

/// A worker's state in one word, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Runs, and has not listened yet.
    Starting,
    /// Listens.
    Online,
    /// Finishes its connections.
    Draining,
    /// Was told to stop.
    Stopping,
    /// Has ended, or all but.
    Gone,
}

impl Life {
    /// One step: the state afterwards, and what is to be done.
    pub fn step(self, event: Event, now: Instant, patience: &Patience) -> (Self, Action) {
        let stopping = Self::Stopping { until: after(now, patience.kill) };
        match (self, event) {
            (Self::Gone, _) => (self, Action::None),
            (_, Event::TreeGone) => (Self::Gone, Action::Release),
            (Self::Starting, Event::Listening) => (Self::Online, Action::None),
            // It serves nobody yet, so there is nothing to finish.
            (Self::Starting, Event::Stop) => (stopping, Action::Terminate),
            (Self::Online, Event::Stop) | (Self::Starting | Self::Online, Event::Disconnect) => {
                (Self::Draining { until: after(now, patience.drain) }, Action::Drain)
            }
            (Self::Draining { .. }, Event::Drained | Event::Deadline) => {
                (stopping, Action::Terminate)
            }
            (Self::Stopping { .. } | Self::Ended { .. }, Event::Deadline) => {
                (Self::Killed, Action::Kill)
            }
            // Killed by us or not: what is left of the tree gets the stop signal, then SIGKILL.
            (
                Self::Starting | Self::Online | Self::Draining { .. } | Self::Stopping { .. },
                Event::Exited,
            ) => (Self::Ended { until: after(now, patience.kill) }, Action::Terminate),
            (
                Self::Starting
                | Self::Online
                | Self::Draining { .. }
                | Self::Stopping { .. }
                | Self::Ended { .. }
                | Self::Killed,
                Event::Kill,
            ) => (Self::Killed, Action::Kill),
            // A second listener.
            (Self::Online, Event::Listening) => (self, Action::None),
            // Late news: it listens though it was told to go, or is told again to go, or the first
            // process ends after the signal that was for all.
            (
                Self::Draining { .. } | Self::Stopping { .. } | Self::Ended { .. } | Self::Killed,
                Event::Listening | Event::Stop | Event::Disconnect,
            ) => (self, Action::None),
            (Self::Ended { .. } | Self::Killed, Event::Exited | Event::Drained) => {
                (self, Action::None)
            }
            // A drain is watched in one state only, and only three states have a deadline. SIGKILL
            // cannot be refused, but a process may be slow to die (uninterruptible sleep).
            (Self::Starting | Self::Online | Self::Stopping { .. }, Event::Drained) => {
                (self, Action::None)
            }
            (Self::Starting | Self::Online | Self::Killed, Event::Deadline) => (self, Action::None),
        }
    }

    /// When [`Event::Deadline`] is due.
    #[must_use]
    pub const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Draining { until } | Self::Stopping { until } | Self::Ended { until } => {
                Some(until)
            }
            Self::Starting | Self::Online | Self::Killed | Self::Gone => None,
        }
    }

    /// Whether it may be given connections.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Starting | Self::Online)
    }

    /// In one word.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::Starting => Phase::Starting,
            Self::Online => Phase::Online,
            Self::Draining { .. } => Phase::Draining,
            Self::Stopping { .. } | Self::Killed => Phase::Stopping,
            Self::Ended { .. } | Self::Gone => Phase::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { drain: Duration::from_secs(30), kill: Duration::from_secs(2) };

    fn run(events: &[(u64, Event)]) -> (Life, Vec<Action>) {
        let start = Instant::now();
        let mut life = Life::Starting;
        let mut actions = Vec::new();
        for (second, event) in events {
            let (next, action) = life.step(*event, start + Duration::from_secs(*second), &PATIENCE);
            life = next;
            actions.push(action);
        }
        (life, actions)
    }

    #[test]
    fn a_worker_is_drained_before_it_is_told_to_stop() {
        use Action::{Drain, None, Release, Terminate};
        use Event::{Drained, Exited, Listening, Stop, TreeGone};
        let (life, actions) =
            run(&[(0, Listening), (5, Stop), (6, Drained), (6, Exited), (6, TreeGone)]);
        assert_eq!(life, Life::Gone);
        assert_eq!(actions, [None, Drain, Terminate, Terminate, Release]);
    }

    #[test]
    fn a_worker_that_ignores_the_signal_is_killed_at_its_deadline() {
        let start = Instant::now();
        let (life, _) = Life::Starting.step(Event::Stop, start, &PATIENCE);
        assert_eq!(life.deadline(), Some(start + PATIENCE.kill));
        let (life, action) = life.step(Event::Deadline, start + PATIENCE.kill, &PATIENCE);
        assert_eq!((life, action), (Life::Killed, Action::Kill));
    }

    #[test]
    fn connections_that_never_end_hold_a_worker_up_to_the_drains_end_only() {
        let start = Instant::now();
        let (life, _) = Life::Online.step(Event::Stop, start, &PATIENCE);
        assert_eq!(life.deadline(), Some(start + PATIENCE.drain));
        let (life, action) = life.step(Event::Deadline, start + PATIENCE.drain, &PATIENCE);
        assert_eq!((life.phase(), action), (Phase::Stopping, Action::Terminate));
    }

    #[test]
    fn what_a_crashed_worker_leaves_behind_is_stopped_and_then_killed() {
        let (life, actions) =
            run(&[(0, Event::Listening), (9, Event::Exited), (11, Event::Deadline)]);
        assert_eq!(life, Life::Killed);
        assert_eq!(actions, [Action::None, Action::Terminate, Action::Kill]);
    }

    #[test]
    fn patience_for_ever_is_patience_and_no_overflow() {
        let patience = Patience { drain: Duration::MAX, kill: Duration::MAX };
        let start = Instant::now();
        let (life, _) = Life::Online.step(Event::Stop, start, &patience);
        let year = Duration::from_hours(24 * 365);
        assert!(life.deadline().is_some_and(|deadline| deadline > start + year));
    }

    #[test]
    fn from_every_state_a_kill_and_the_end_of_the_tree_lead_to_gone() {
        let until = Instant::now();
        for life in [
            Life::Starting,
            Life::Online,
            Life::Draining { until },
            Life::Stopping { until },
            Life::Ended { until },
            Life::Killed,
        ] {
            let (killed, action) = life.step(Event::Kill, until, &PATIENCE);
            assert_eq!((killed, action), (Life::Killed, Action::Kill));
            assert_eq!(
                killed.step(Event::TreeGone, until, &PATIENCE),
                (Life::Gone, Action::Release)
            );
        }
        assert_eq!(Life::Gone.step(Event::Kill, until, &PATIENCE), (Life::Gone, Action::None));
    }
}
