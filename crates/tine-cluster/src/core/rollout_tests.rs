use proptest::prelude::*;

use super::*;

const A: Instance = Instance(0);
const B: Instance = Instance(1);
const C: Instance = Instance(2);

/// Places 0, 1, 2 … filled by workers 1, 2, 3 …
fn over(places: u32, pace: Pace) -> Rollout {
    Rollout::new((0..places).map(|n| (Instance(n), Some(WorkerId(n + 1)))), pace)
}

fn all(rollout: &mut Rollout) -> Vec<Action> {
    std::iter::from_fn(|| rollout.next_action()).collect()
}

fn replace(instance: Instance, new: u32, old: u32) -> Action {
    Action::Replace { instance, new: WorkerId(new), old: Some(WorkerId(old)) }
}

#[test]
fn the_old_worker_leaves_when_the_new_one_is_ready_and_the_next_place_follows_when_it_is_gone() {
    let (mut rollout, now) = (over(2, Pace::default()), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(3), now);
    assert_eq!(all(&mut rollout), []);
    rollout.ready(WorkerId(3));
    assert_eq!(all(&mut rollout), [replace(A, 3, 1)]);
    rollout.gone(WorkerId(1));
    assert_eq!(all(&mut rollout), [Action::Start(B)]);
    rollout.started(B, WorkerId(4), now);
    rollout.ready(WorkerId(4));
    assert_eq!(all(&mut rollout), [replace(B, 4, 2)]);
    assert_eq!(rollout.outcome(), None);
    rollout.gone(WorkerId(2));
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 2, failure: None }));
}

#[test]
fn a_canary_that_is_late_is_removed_and_nobody_else_is_touched() {
    let pace = Pace { parallel: 3, patience: Duration::from_secs(3) };
    let (mut rollout, now) = (over(3, pace), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(4), now);
    assert_eq!(rollout.poll_timeout(), Some(now + pace.patience));
    rollout.tick(now + pace.patience / 2);
    assert_eq!(all(&mut rollout), []);
    rollout.tick(now + pace.patience);
    assert_eq!(all(&mut rollout), [Action::Remove(WorkerId(4))]);
    let failure = Some(Failure::TooLate(A, WorkerId(4)));
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 0, failure }));
}

#[test]
fn after_the_canary_as_many_are_under_way_as_asked_for() {
    let pace = Pace { parallel: 2, ..Pace::default() };
    let (mut rollout, now) = (over(4, pace), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(5), now);
    rollout.ready(WorkerId(5));
    // The canary's predecessor still finishes its connections, and counts.
    assert_eq!(all(&mut rollout), [replace(A, 5, 1), Action::Start(B)]);
    rollout.gone(WorkerId(1));
    assert_eq!(all(&mut rollout), [Action::Start(C)]);
}

#[test]
fn a_later_failure_keeps_what_was_replaced_and_what_was_not_begun() {
    let pace = Pace { parallel: 2, ..Pace::default() };
    let (mut rollout, now) = (over(3, pace), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(4), now);
    rollout.ready(WorkerId(4));
    rollout.gone(WorkerId(1));
    assert_eq!(all(&mut rollout), [replace(A, 4, 1), Action::Start(B), Action::Start(C)]);
    rollout.started(B, WorkerId(5), now);
    rollout.started(C, WorkerId(6), now);
    rollout.gone(WorkerId(5));
    assert_eq!(all(&mut rollout), [Action::Remove(WorkerId(6))]);
    let failure = Some(Failure::Ended(B, WorkerId(5)));
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 1, failure }));
}

#[test]
fn predecessors_that_stay_are_not_waited_for() {
    let (mut rollout, now) = (over(2, Pace::default()).keeping_old(), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(3), now);
    rollout.ready(WorkerId(3));
    assert_eq!(all(&mut rollout), [replace(A, 3, 1), Action::Start(B)]);
    rollout.started(B, WorkerId(4), now);
    rollout.ready(WorkerId(4));
    assert_eq!(all(&mut rollout), [replace(B, 4, 2)]);
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 2, failure: None }));
}

#[test]
fn a_place_that_nobody_fills_gets_a_worker_and_waits_for_no_end() {
    let mut rollout = Rollout::new([(A, None)], Pace::default());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(7), Instant::now());
    rollout.ready(WorkerId(7));
    assert_eq!(all(&mut rollout), [Action::Replace { instance: A, new: WorkerId(7), old: None }]);
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 1, failure: None }));
}

#[test]
fn who_ended_before_the_replacement_was_ready_is_not_waited_for() {
    let (mut rollout, now) = (over(1, Pace::default()), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(2), now);
    rollout.gone(WorkerId(1));
    rollout.ready(WorkerId(2));
    assert_eq!(all(&mut rollout), [Action::Replace { instance: A, new: WorkerId(2), old: None }]);
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 1, failure: None }));
}

#[test]
fn who_has_taken_the_place_of_a_crashed_worker_is_replaced_like_any_other() {
    let (mut rollout, now) = (over(1, Pace::default()), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.started(A, WorkerId(2), now);
    rollout.gone(WorkerId(1));
    rollout.filled(A, WorkerId(3));
    rollout.ready(WorkerId(2));
    assert_eq!(all(&mut rollout), [replace(A, 2, 3)]);
}

#[test]
fn called_off_while_a_start_is_under_way_it_removes_that_worker() {
    let mut rollout = over(2, Pace::default());
    assert_eq!(all(&mut rollout), [Action::Start(A)]);
    rollout.cancel();
    assert_eq!(rollout.outcome(), None);
    rollout.started(A, WorkerId(3), Instant::now());
    assert_eq!(all(&mut rollout), [Action::Remove(WorkerId(3))]);
    let failure = Some(Failure::Cancelled);
    assert_eq!(rollout.outcome(), Some(Outcome { replaced: 0, failure }));
}

proptest! {
    /// Whatever happens to the new workers, an old one leaves only for a new one that is ready, no
    /// worker is both removed and kept, and given time there is an end.
    #[test]
    fn an_old_worker_leaves_only_for_one_that_is_ready(
        places in 0u32..6,
        parallel in 0usize..4,
        fates in prop::collection::vec(0u8..5, 0..64),
    ) {
        let pace = Pace { parallel, patience: Duration::from_secs(1) };
        let (mut rollout, mut now) = (over(places, pace), Instant::now());
        let (mut next_id, mut fates) = (100, fates.into_iter());
        let (mut trial, mut ready, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..200 {
            while let Some(action) = rollout.next_action() {
                match action {
                    Action::Start(place) if fates.next() == Some(0) => rollout.not_started(place),
                    Action::Start(place) => {
                        next_id += 1;
                        trial.push(WorkerId(next_id));
                        rollout.started(place, WorkerId(next_id), now);
                    }
                    Action::Replace { new, old, .. } => {
                        prop_assert!(ready.contains(&new));
                        leaving.extend(old);
                    }
                    Action::Remove(new) => {
                        prop_assert!(!ready.contains(&new));
                        trial.retain(|id| *id != new);
                    }
                }
            }
            let room = if rollout.outcome().is_some() { 0 } else { parallel.max(1) };
            prop_assert!(rollout.candidates().count() <= room);
            match fates.next() {
                Some(1) => now += Duration::from_secs(1),
                Some(2) => if let Some(id) = trial.pop() { rollout.gone(id) },
                Some(3) => if let Some(id) = leaving.pop() { rollout.gone(id) },
                Some(4) => rollout.cancel(),
                Some(_) | None => {
                    if let Some(id) = trial.pop() {
                        ready.push(id);
                        rollout.ready(id);
                    } else if let Some(id) = leaving.pop() {
                        rollout.gone(id);
                    }
                }
            }
            rollout.tick(now);
        }
        prop_assert!(rollout.outcome().is_some());
    }
}
